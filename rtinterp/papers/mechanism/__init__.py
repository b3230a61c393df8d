"""Is it the cause? What random transformers use, tested by interventions, with bodies as the unit of observation.

- ``grid``: which runs each experiment needs; task sizes, widths and budgets are those of ``random_transformers``.
- ``bases`` and ``rank_measurements``: what several figures show.
- ``figure_*`` and ``table_*``: a module for each figure and table.
"""

from rtinterp.figures.paper import Paper
from rtinterp.papers.mechanism import (
    figure_circuits,
    figure_dynamics,
    figure_fourier,
    figure_interchange,
    figure_rank_curves,
    figure_rank_dial,
    figure_replacements,
    figure_transplants,
    figure_warm_starts,
    table_ranks,
    table_references,
    table_variance_and_use,
)
from rtinterp.papers.mechanism.grid import EXPERIMENTS
from rtinterp.papers.random_transformers.scales import SCALES

MODULES = (
    figure_rank_curves,
    table_ranks,
    table_variance_and_use,
    figure_interchange,
    figure_circuits,
    figure_replacements,
    table_references,
    figure_rank_dial,
    figure_transplants,
    figure_warm_starts,
    figure_fourier,
    figure_dynamics,
)
FIGURES = {module.FIGURE.name: module.FIGURE for module in MODULES}

PAPER = Paper(
    name="mechanism",
    title="From correlation to cause",
    figures=FIGURES,
    experiments=EXPERIMENTS,
    scales=SCALES,
)
