"""How far a random network reaches: tasks that grow harder step by step, other bodies, depth.

- ``rungs``: tasks with their dials, and budgets; ``bodies`` and ``initial_values``: what is compared.
- ``bisection``, ``climbing``, ``tables``: the least width that suffices, as ``rtinterp ladder`` looks for it.
- ``scales`` and ``grid``: which runs each experiment needs.
- ``figure_*``: a module for each figure; ``looks``: what they share.
"""

from rtinterp.figures.paper import Paper
from rtinterp.papers.ladder import figure_bodies, figure_depth_and_init, figure_map
from rtinterp.papers.ladder.grid import EXPERIMENTS
from rtinterp.papers.ladder.scales import SCALES

_MODULES = (figure_map, figure_bodies, figure_depth_and_init)
FIGURES = {module.FIGURE.name: module.FIGURE for module in _MODULES}

PAPER = Paper(
    name="ladder",
    title="How far does a random network reach?",
    figures=FIGURES,
    experiments=EXPERIMENTS,
    scales=SCALES,
)
