"""What the abstract's claims may mean: each reading is a number of a model, and a threshold that is ours."""

from __future__ import annotations

#: Attention scores that fall, or rise, with the similarity of terms: correlations.
LOOKS_AWAY, LOOKS_AT = -0.5, 0.5
#: Share of a layer's estimate that the last two terms explain, if the layer copies.
COPIES = 0.9
#: Mean attention of a head on the position before, if it makes pairs of neighbours.
LOOKS_BACK = 0.5
#: How many times smaller than copying's the error is, if the recurrence is learnt.
TIMES_BELOW_COPYING = 10.0
#: The layer of which the abstract says that it copies, and the one whose heads refine.
COPYING_LAYER, REFINING_LAYER = 0, 2
