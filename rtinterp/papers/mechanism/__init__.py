"""Is it the cause? What random transformers use, tested by interventions, with bodies as the unit of observation.

- ``grid``: which runs each experiment needs; task sizes, widths and budgets are those of ``random_transformers``.
- ``figure_*``: a module for each figure.
"""

from rtinterp.figures.paper import Paper
from rtinterp.papers.mechanism import figure_dynamics, figure_rank_curves, figure_transplants
from rtinterp.papers.mechanism.grid import EXPERIMENTS
from rtinterp.papers.random_transformers.scales import SCALES

MODULES = (
    figure_rank_curves,
    figure_transplants,
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
