"""What a trained model looks like inside: measurements of models, tokens and tensors, as tensors or tidy tables.

Each kind of analysis is a module:

- ``accuracy``: how often a model is right, with or without an intervention.
- ``attention``: where each head looks, and which head does a given job (paper, figure 2).
- ``embedding_geometry``: the circles that modular arithmetic leaves in an embedding matrix (paper, figure 3).
- ``explained_variance``: how few directions the residual stream occupies (paper, tables 4, 5 and 7).

Nothing here trains, plots, or reads or writes files.
"""

from rtinterp.analysis.accuracy import accuracy
from rtinterp.analysis.attention import (
    BestHead,
    attention_patterns,
    attention_score,
    best_head,
    marker_score,
    other_values_score,
    pattern_table,
    retrieval_score,
    self_score,
)
from rtinterp.analysis.embedding_geometry import (
    CircleFit,
    PrincipalComponents,
    best_circle,
    circle_fits,
    dominant_frequencies,
    effective_dimension,
    fourier_spectrum,
    phase_locking,
    principal_components,
    radius_spread,
)
from rtinterp.analysis.explained_variance import (
    StreamingCovariance,
    positions_that_feed,
    residual_explained_variance,
    top_k_component_share,
    top_k_coordinate_share,
)

__all__ = [
    "BestHead",
    "CircleFit",
    "PrincipalComponents",
    "StreamingCovariance",
    "accuracy",
    "attention_patterns",
    "attention_score",
    "best_circle",
    "best_head",
    "circle_fits",
    "dominant_frequencies",
    "effective_dimension",
    "fourier_spectrum",
    "marker_score",
    "other_values_score",
    "pattern_table",
    "phase_locking",
    "positions_that_feed",
    "principal_components",
    "radius_spread",
    "residual_explained_variance",
    "retrieval_score",
    "self_score",
    "top_k_component_share",
    "top_k_coordinate_share",
]
