"""What a trained model looks like inside: measurements of models, tokens and tensors, as tensors or tidy tables.

Each kind of analysis is a module:

- ``ablations``: what stands in the place of what a head or an MLP writes.
- ``activations``: what stands at the sites of a model.
- ``alignment``: whether a subspace holds a variable of the task: interchange accuracy, and a learned subspace.
- ``attention``: where each head looks, and which head does a given job (paper, figure 2).
- ``batches``: one batch or several, with or without their targets.
- ``circuits``: what every subset of the heads and MLPs can do.
- ``circuit_values``: Shapley values, interactions, minimal circuits and their completeness, from those values.
- ``continuation``: what many interventions at one site do, without running what comes before it.
- ``dynamics``: any measure over the kept steps of a run, and how far each component has gone.
- ``embedding_geometry``: the circles that modular arithmetic leaves in an embedding matrix (paper, figure 3).
- ``explained_variance``: how few directions the residual stream occupies (paper, tables 4, 5 and 7).
- ``fourier``: which frequencies a model adds modulo p with: restricted and excluded loss.
- ``generation``: what a language model writes (paper, figure 5).
- ``hop_accuracy``: how accuracy in k-hop induction depends on the number of hops.
- ``imitation``: how much a target's predictions depend on what it reads (paper, figure 6).
- ``intervals``: how far an accuracy can be trusted, over test rows and seeds.
- ``interventions``: what a model would have said, had an activation been another.
- ``labelled_rows``: how accuracy differs between kinds of test rows.
- ``layer_lens``: what a model would predict after each layer, and what that may be made of.
- ``modular_addition_circuits``: whether a model adds modulo p like a clock or like a pizza.
- ``next_term_estimates``: what can be said of a sequence's next term without a model.
- ``extrapolation``: what a polynomial through the last terms says of the next.
- ``optimal_constants``: what does least harm in the place of an activation.
- ``patching``: what a patch at each layer and position brings back.
- ``paths``: what a head or an MLP changes through one reader of what it writes.
- ``predictions``: how good a model's predictions are, with or without an intervention.
- ``rank_curves``: how many directions of a site are sufficient, or necessary.
- ``rank_thresholds``: how few directions reach a share of the accuracy, and the area under a curve.
- ``retrieval_heads``: which heads look from values to their markers, and from the query to its value.
- ``signal_propagation``: how far tokens keep apart on their way through the layers.
- ``similarity_heads``: whether a head looks at terms like the present one, and with which sign it writes them.
- ``readers``: the part of a subspace that is read, and the part that nothing reads.
- ``readout``: an unembedding fitted anew to what a model ends with.
- ``role_replacements``: what stands in the place of activations, by the role of their positions.
- ``selection``: which numbers of an activation an intervention changes.
- ``site_statistics``: mean, covariance and sensitivity of activations, from which subspaces are found.
- ``slices``: how many sequences run at a time.
- ``stitching``: the embeddings of one body in another.
- ``subspaces``: what lies in a subspace of the residual stream, and how two compare.
- ``subspace_finding``: principal and sensitive subspaces, and random ones as controls.
- ``warm_start``: how many steps a start saves.

Nothing here plots, or reads or writes files, and only ``warm_start`` trains models.
"""

from rtinterp.analysis.ablations import (
    GivenAblation,
    MeanAblation,
    Node,
    ResampleAblation,
    mean_ablation,
    node_writes,
    nodes_of,
)
from rtinterp.analysis.activations import activations_at, activations_at_sites, means_by_role, residual_sites
from rtinterp.analysis.alignment import (
    PairsAtSite,
    interchange_accuracies,
    interchange_accuracy,
    learned_subspace,
    pairs_at,
)
from rtinterp.analysis.attention import attention_patterns, attention_score, best_head, pattern_table
from rtinterp.analysis.batches import positions_that_feed
from rtinterp.analysis.circuit_values import (
    incompleteness,
    minimal_circuits,
    most_disjoint,
    node_minimality,
    nodes_in,
    pair_interactions,
    shapley_values,
)
from rtinterp.analysis.circuits import subset_values
from rtinterp.analysis.continuation import Continuation
from rtinterp.analysis.dynamics import distances_travelled, first_step, models_of, over_steps
from rtinterp.analysis.embedding_geometry import dominant_frequencies, residue_circles
from rtinterp.analysis.explained_variance import residual_explained_variance
from rtinterp.analysis.extrapolation import extrapolations
from rtinterp.analysis.fourier import (
    excluded_logits,
    frequency_loss_table,
    key_frequencies,
    logits_of_all_pairs,
    restricted_logits,
    sum_frequency_power,
)
from rtinterp.analysis.generation import complete
from rtinterp.analysis.hop_accuracy import accuracy_by_hops
from rtinterp.analysis.imitation import TargetStatistics, target_statistics
from rtinterp.analysis.intervals import Interval, RowCount, bootstrap_median, count_rows, wilson
from rtinterp.analysis.interventions import (
    Intervention,
    interchange,
    intervene,
    project,
    remove,
    replace,
    replace_by_role,
)
from rtinterp.analysis.labelled_rows import accuracy_by_label
from rtinterp.analysis.layer_lens import layer_estimates, lens_table, share_explained
from rtinterp.analysis.modular_addition_circuits import (
    Estimate,
    bootstrap,
    correct_logits,
    correct_logits_at,
    distance_irrelevance,
    gradient_cosines,
    gradient_symmetricity,
    irrelevance_of,
)
from rtinterp.analysis.next_term_estimates import next_term_estimates, squared_errors
from rtinterp.analysis.optimal_constants import optimal_constants
from rtinterp.analysis.patching import recovery_table
from rtinterp.analysis.paths import Receiver, path, path_table, receivers_of, sender_changes, split_inputs
from rtinterp.analysis.predictions import (
    accuracy,
    cross_entropy,
    divergences,
    exact_match,
    is_right,
    kl_divergence,
    logit_difference,
    margins,
    nats,
    prediction_table,
    scored_logits,
)
from rtinterp.analysis.rank_curves import least_rank, rank_curve, ranks_up_to
from rtinterp.analysis.rank_thresholds import area, refined_curve
from rtinterp.analysis.readers import Split, split_by_readers, unembedding_readers
from rtinterp.analysis.readout import fitted_readout, with_fitted_unembedding
from rtinterp.analysis.retrieval_heads import retrieval_scores
from rtinterp.analysis.role_replacements import replacements, resampled_by_role
from rtinterp.analysis.signal_propagation import propagation_table
from rtinterp.analysis.similarity_heads import head_contributions, head_table, similarity_correlation
from rtinterp.analysis.site_statistics import (
    SiteStatistics,
    covariances_of_sites,
    site_statistics,
    statistics_of_sites,
)
from rtinterp.analysis.stitching import Stitch, affine_stitch, orthogonal_stitch, with_tensors
from rtinterp.analysis.subspace_finding import (
    coordinate_subspace,
    principal_subspace,
    random_subspace,
    sensitive_subspace,
    variance_matched_subspace,
)
from rtinterp.analysis.subspaces import (
    Subspace,
    expected_overlap,
    orthonormal,
    overlap,
    principal_angles,
    variance_share,
)
from rtinterp.analysis.warm_start import accuracies_from, step_of

__all__ = [
    "Continuation",
    "Estimate",
    "GivenAblation",
    "Interval",
    "Intervention",
    "MeanAblation",
    "Node",
    "PairsAtSite",
    "Receiver",
    "ResampleAblation",
    "RowCount",
    "SiteStatistics",
    "Split",
    "Stitch",
    "Subspace",
    "TargetStatistics",
    "accuracies_from",
    "accuracy",
    "accuracy_by_hops",
    "accuracy_by_label",
    "activations_at",
    "activations_at_sites",
    "affine_stitch",
    "area",
    "attention_patterns",
    "attention_score",
    "best_head",
    "bootstrap",
    "bootstrap_median",
    "complete",
    "coordinate_subspace",
    "correct_logits",
    "correct_logits_at",
    "count_rows",
    "covariances_of_sites",
    "cross_entropy",
    "distance_irrelevance",
    "distances_travelled",
    "divergences",
    "dominant_frequencies",
    "exact_match",
    "excluded_logits",
    "expected_overlap",
    "extrapolations",
    "first_step",
    "fitted_readout",
    "frequency_loss_table",
    "gradient_cosines",
    "gradient_symmetricity",
    "head_contributions",
    "head_table",
    "incompleteness",
    "interchange",
    "interchange_accuracies",
    "interchange_accuracy",
    "intervene",
    "irrelevance_of",
    "is_right",
    "key_frequencies",
    "kl_divergence",
    "layer_estimates",
    "learned_subspace",
    "least_rank",
    "lens_table",
    "logit_difference",
    "logits_of_all_pairs",
    "margins",
    "mean_ablation",
    "means_by_role",
    "minimal_circuits",
    "models_of",
    "most_disjoint",
    "nats",
    "next_term_estimates",
    "node_minimality",
    "node_writes",
    "nodes_in",
    "nodes_of",
    "optimal_constants",
    "orthogonal_stitch",
    "orthonormal",
    "over_steps",
    "overlap",
    "pair_interactions",
    "pairs_at",
    "path",
    "path_table",
    "pattern_table",
    "positions_that_feed",
    "prediction_table",
    "principal_angles",
    "principal_subspace",
    "project",
    "propagation_table",
    "random_subspace",
    "rank_curve",
    "ranks_up_to",
    "receivers_of",
    "recovery_table",
    "refined_curve",
    "remove",
    "replace",
    "replace_by_role",
    "replacements",
    "resampled_by_role",
    "residual_explained_variance",
    "residual_sites",
    "residue_circles",
    "restricted_logits",
    "retrieval_scores",
    "scored_logits",
    "sender_changes",
    "sensitive_subspace",
    "shapley_values",
    "share_explained",
    "similarity_correlation",
    "site_statistics",
    "split_by_readers",
    "split_inputs",
    "squared_errors",
    "statistics_of_sites",
    "step_of",
    "subset_values",
    "sum_frequency_power",
    "target_statistics",
    "unembedding_readers",
    "variance_matched_subspace",
    "variance_share",
    "wilson",
    "with_fitted_unembedding",
    "with_tensors",
]
