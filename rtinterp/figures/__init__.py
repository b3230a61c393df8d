"""The paper's figures and tables: each a module with the runs it needs, its computation and its plot."""

from rtinterp.figures import (
    figure2_attention,
    figure3_embeddings,
    figure7_width,
    table1_accuracy,
    table4_explained_variance,
)
from rtinterp.figures.figure import Figure

#: Every figure and table by name, in the order in which they are drawn.
FIGURES: dict[str, Figure] = {
    module.FIGURE.name: module.FIGURE
    for module in (
        figure3_embeddings,
        figure2_attention,
        table4_explained_variance,
        table1_accuracy,
        figure7_width,
    )
}

__all__ = ["FIGURES", "Figure"]
