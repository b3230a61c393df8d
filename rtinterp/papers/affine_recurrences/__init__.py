"""Affine recurrences in context, after "Interpreting Affine Recurrence Learning in GPT-style Transformers".

Only the abstract of Bhargav and Gu (arXiv 2410.17438) is public: a transformer of three layers learns to predict
affine recurrences; its layer 0 makes a first estimate by copying, and negative similarity heads in layer 2 refine it.
How these words are to be measured, sizes and budgets are our design.

- ``scales``: tasks, widths and budgets.
- ``grid``: which runs each experiment needs.
- ``readings``: what the abstract's claims may mean, each as a number and a threshold.
- ``figure_*``, ``table_*``: a module for each figure or table.
"""

from rtinterp.figures.paper import Paper
from rtinterp.papers.affine_recurrences import (
    figure_ablated_parts,
    figure_comparing_heads,
    figure_layer_lens,
    figure_next_term_errors,
    figure_regimes,
    figure_tasks,
    table_readings,
)
from rtinterp.papers.affine_recurrences.grid import EXPERIMENTS
from rtinterp.papers.affine_recurrences.scales import SCALES

_MODULES = (
    figure_next_term_errors,
    figure_layer_lens,
    figure_comparing_heads,
    figure_ablated_parts,
    figure_regimes,
    figure_tasks,
    table_readings,
)
FIGURES = {module.FIGURE.name: module.FIGURE for module in _MODULES}

PAPER = Paper(
    name="affine_recurrences",
    title="Interpreting Affine Recurrence Learning in GPT-style Transformers",
    figures=FIGURES,
    experiments=EXPERIMENTS,
    scales=SCALES,
)
