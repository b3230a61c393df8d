"""How far a random network reaches: tasks that grow harder step by step, other bodies, depth.

- ``rungs``: tasks with their dials, and budgets; ``bodies`` and ``initial_values``: what is compared.
- ``bisection``, ``climbing``, ``tables``: the least width that suffices, as ``rtinterp ladder`` looks for it.
- ``scales`` and ``grid``: which runs each experiment needs.
- ``figure_*``: a module for each figure; ``looks``: what they share.
"""

from rtinterp.figures.figure import Figure
from rtinterp.figures.paper import Paper
from rtinterp.papers.ladder import figure_bodies, figure_depth_and_init, figure_map
from rtinterp.papers.ladder.grid import EXPERIMENTS
from rtinterp.papers.ladder.scales import SCALES

FIGURES: dict[str, Figure] = {}
#: Their runs are not trained yet, so nothing of them ships. Move them to the others with the tables.
TO_COME = {module.FIGURE.name: module.FIGURE for module in (figure_map, figure_bodies, figure_depth_and_init)}

PAPER = Paper(
    name="ladder",
    title="How far does a random network reach?",
    figures=FIGURES,
    experiments=EXPERIMENTS,
    scales=SCALES,
)
