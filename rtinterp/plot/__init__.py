"""Plotly figures that fit a notebook's cell, of any task and body, a user's own included.

Each returns a ``plotly.graph_objects.Figure``. Layers and heads count from 0, as in TransformerLens.

- ``history``: a measure of runs over their training steps.
- ``attention``: where every head looks in one sequence.
- ``heads``: a number for every head, such as a score or what its ablation costs.
- ``patching``: how much a patch at each layer and position brings back.
- ``circles``: the residues of modular arithmetic in the embedding's principal components.
- ``explained_variance``: how few directions the residual stream occupies.

``show_pictures_too`` lets what a notebook shows be pictures as well, for whoever reads it on the web.
"""

from rtinterp.plot.circles import circles
from rtinterp.plot.explained_variance import explained_variance
from rtinterp.plot.heatmaps import attention, heads, patching
from rtinterp.plot.history import history
from rtinterp.plot.pictures import show_pictures_too

__all__ = ["attention", "circles", "explained_variance", "heads", "history", "patching", "show_pictures_too"]
