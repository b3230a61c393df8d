"""Algorithmic Capabilities of Random Transformers (Zhong and Andreas, NeurIPS 2024, arXiv 2410.04368).

- ``grid``: the paper's experiments: which runs each needs.
- ``scales``: task sizes, widths and budgets.
- ``published``, ``comparison`` and ``claims``: the paper's numbers and claims, and how they stand beside ours.
- ``figure*`` and ``table*``: a module for each figure and table, under the paper's own number if it has one.
"""

from rtinterp.figures.paper import Paper
from rtinterp.papers.random_transformers import (
    figure2_attention,
    figure3_embeddings,
    figure4_language_loss,
    figure5_completions,
    figure6_imitation,
    figure7_width,
    figure8_memorization,
    figure_parentheses_lengths,
    table1_accuracy,
    table2_subsets,
    table3_memorization,
    table4_explained_variance,
    table5_language_variance,
    table6_parameters,
    table7_explained_variance,
    table9_linearised,
)
from rtinterp.papers.random_transformers.claims import CLAIMS
from rtinterp.papers.random_transformers.comparison import COMPARED
from rtinterp.papers.random_transformers.grid import EXPERIMENTS, ON_LANGUAGE
from rtinterp.papers.random_transformers.scales import SCALES

FIGURES = {
    module.FIGURE.name: module.FIGURE
    for module in (
        figure3_embeddings,
        figure2_attention,
        table1_accuracy,
        table4_explained_variance,
        table2_subsets,
        figure7_width,
        figure_parentheses_lengths,
        table7_explained_variance,
        table3_memorization,
        figure8_memorization,
        figure6_imitation,
        table9_linearised,
        figure4_language_loss,
        table5_language_variance,
        figure5_completions,
        table6_parameters,
    )
}

PAPER = Paper(
    name="random_transformers",
    title="Algorithmic Capabilities of Random Transformers",
    figures=FIGURES,
    experiments=EXPERIMENTS,
    scales=SCALES,
    on_language=ON_LANGUAGE,
    compared=COMPARED,
    claims=CLAIMS,
    cost="about 154 V100-days",
)
