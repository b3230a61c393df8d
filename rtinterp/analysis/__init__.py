"""What a trained model looks like inside: measurements of models, tokens and tensors, as tensors or tidy tables.

Each kind of analysis is a module:

- ``attention``: where each head looks, and which head does a given job (paper, figure 2).
- ``embedding_geometry``: the circles that modular arithmetic leaves in an embedding matrix (paper, figure 3).
- ``explained_variance``: how few directions the residual stream occupies (paper, tables 4, 5 and 7).
- ``generation``: what a language model writes (paper, figure 5).
- ``imitation``: how much a target's predictions depend on what it reads (paper, figure 6).
- ``intervals``: how far an accuracy can be trusted, over test rows and seeds.
- ``modular_addition_circuits``: whether a model adds modulo p like a clock or like a pizza.
- ``patching``: what a patch at each layer and position brings back.
- ``predictions``: how good a model's predictions are, with or without an intervention.

Nothing here trains, plots, or reads or writes files.
"""

from rtinterp.analysis.attention import attention_patterns, attention_score, best_head, pattern_table
from rtinterp.analysis.embedding_geometry import dominant_frequencies, residue_circles
from rtinterp.analysis.explained_variance import positions_that_feed, residual_explained_variance
from rtinterp.analysis.generation import complete
from rtinterp.analysis.imitation import TargetStatistics, target_statistics
from rtinterp.analysis.intervals import Interval, RowCount, bootstrap_median, count_rows, wilson
from rtinterp.analysis.modular_addition_circuits import correct_logits, distance_irrelevance, gradient_symmetricity
from rtinterp.analysis.patching import recovery_table
from rtinterp.analysis.predictions import (
    accuracy,
    cross_entropy,
    exact_match,
    kl_divergence,
    logit_difference,
    prediction_table,
    scored_logits,
)

__all__ = [
    "Interval",
    "RowCount",
    "TargetStatistics",
    "accuracy",
    "attention_patterns",
    "attention_score",
    "best_head",
    "bootstrap_median",
    "complete",
    "correct_logits",
    "count_rows",
    "cross_entropy",
    "distance_irrelevance",
    "dominant_frequencies",
    "exact_match",
    "gradient_symmetricity",
    "kl_divergence",
    "logit_difference",
    "pattern_table",
    "positions_that_feed",
    "prediction_table",
    "recovery_table",
    "residual_explained_variance",
    "residue_circles",
    "scored_logits",
    "target_statistics",
    "wilson",
]
