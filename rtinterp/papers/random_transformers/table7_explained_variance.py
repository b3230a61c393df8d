"""Table 7: table 4 one width below the widest."""

from __future__ import annotations

from rtinterp.papers.random_transformers.table4_explained_variance import SELECTION_CAPTION, explained_variance_figure

FIGURE = explained_variance_figure(
    number=7,
    caption=(
        "As table 4, for transformers one width below the widest of the scale (the paper's 512), where it depends on "
        "the task whether a random one solves it: see figure 7. " + SELECTION_CAPTION
    ),
    experiment="table7",
)
