"""Circuits, exhaustively: what every subset of the heads and MLPs can do, and which nodes that makes matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import (
    Node,
    incompleteness,
    mean_ablation,
    minimal_circuits,
    most_disjoint,
    nodes_in,
    nodes_of,
    pair_interactions,
    shapley_values,
    subset_values,
)
from rtinterp.figures import style
from rtinterp.figures.accuracies import floor_columns
from rtinterp.figures.figure import TASK, Figure, with_run_columns
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.mechanism.bases import training_batches
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.papers.mechanism.rank_measurements import N_TEST_SEQUENCES, some_test_sequences
from rtinterp.plot.look import colour_bar
from rtinterp.tasks.causal_task import CausalTask
from rtinterp.training.run import Run

#: A circuit reaches this share of what lies between guessing and the intact accuracy.
ENOUGH = 0.9
#: Of what is null where nothing was learnt.
TYPES = {
    **dict.fromkeys(("n_minimal", "smallest", "n_disjoint"), pl.Int64),
    "first_circuit": pl.String,
    "incompleteness": pl.Float64,
}
#: Pixels of a row of panels.
ROW_HEIGHT = 400
#: Pixels above the panels, whose titles have five lines; the Shapley value of full colour.
TITLES_HEIGHT, MOST = 70, 0.5


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run and node; accuracies on test sequences are in [0, 1].

    A node that is ablated writes the mean of what it writes at positions of the same role, over training sequences.
    ``shapley`` is the node's share of what all nodes together add to the accuracy, ``without`` the accuracy where it
    alone is ablated. Of the run: ``intact``, and ``none`` where all are ablated; the minimal circuits that reach
    ``enough``, how many there are, how many nodes the smallest has, and how many share no node; ``incompleteness`` of
    the first of them; the pair of nodes that interact most, and how much. Circuits are null where nothing was learnt.
    """
    return pl.concat(with_run_columns(run, _nodes(run)) for run in runs)


def _nodes(run: Run) -> pl.DataFrame:
    model, task = run.model, run.spec.task
    assert isinstance(task, CausalTask)
    tokens = [batch.tokens for batch in training_batches(run)]
    ablation = mean_ablation(model, tokens, task.roles, len(task.role_names))
    batch = some_test_sequences(task)
    values, nodes = subset_values(model, batch, ablation), nodes_of(model)
    floors = floor_columns(task)
    whole = len(values) - 1
    table = pl.DataFrame(
        {
            "node": list(map(str, nodes)),
            "shapley": shapley_values(values).tolist(),
            "without": [values[whole & ~(1 << index)].item() for index in range(len(nodes))],
        }
    )
    of_run = {
        **_circuit_columns(values, nodes, float(floors["floor_accuracy"])),
        "n_test_rows": len(batch), **floors,
    }  # fmt: skip
    return table.with_columns(pl.lit(value, dtype=TYPES.get(name)).alias(name) for name, value in of_run.items())


def _circuit_columns(values: Float[Tensor, " subset"], nodes: Sequence[Node], floor: float) -> dict[str, Any]:
    intact, pairs = values[-1].item(), pair_interactions(values)
    one, other = divmod(int(pairs.abs().argmax()), len(nodes))
    enough = floor + ENOUGH * (intact - floor)
    circuits = minimal_circuits(values, enough) if intact > floor else []
    return {
        "intact": intact,
        "none": values[0].item(),
        "enough": enough,
        "n_minimal": len(circuits) or None,
        "smallest": len(nodes_in(circuits[0])) if circuits else None,
        "n_disjoint": len(most_disjoint(circuits)) if circuits else None,
        "first_circuit": " + ".join(str(nodes[node]) for node in nodes_in(circuits[0])) if circuits else None,
        "incompleteness": incompleteness(values, circuits[0]) if circuits else None,
        "strongest_pair": f"{nodes[min(one, other)]}, {nodes[max(one, other)]}",
        "interaction": pairs[one, other].item(),
    }


def plot(table: pl.DataFrame) -> go.Figure:
    tasks, regimes = (table[name].unique(maintain_order=True).to_list() for name in ("task", "trainable"))
    panels = [
        (row, column, table.filter(pl.col("task") == task, pl.col("trainable") == trainable))
        for row, trainable in enumerate(regimes, 1)
        for column, task in enumerate(tasks, 1)
    ]
    figure = make_subplots(
        len(regimes), len(tasks), subplot_titles=[_title(of_model) for *_, of_model in panels],
        horizontal_spacing=0.07, vertical_spacing=0.4 / len(regimes) ** 1.2,
    )  # fmt: skip
    for row, column, of_model in panels:
        if not of_model.is_empty():
            figure.add_trace(_heatmap(of_model), row=row, col=column)
    figure.update_yaxes(autorange="reversed").update_xaxes(type="category")
    figure.update_annotations(font_size=12)
    figure.update_layout(
        coloraxis={
            "colorscale": "RdBu",
            "cmin": -MOST,
            "cmax": MOST,
            "colorbar": colour_bar("Shapley value (accuracy)") | {"tickformat": ".0%"},
        }
    )
    text = (
        f"{style.subtitle(table)}<br>a column is a seed: each node's share (Shapley value) of what all nodes add to "
        "the accuracy, in %; head numbers of two seeds do not correspond"
    )
    title = "Which heads and MLPs matter, by all 1,024 subsets"
    style.finish_with(figure, title, text, width=1160, height=ROW_HEIGHT * len(regimes) + TITLES_HEIGHT)
    above = figure.to_dict()["layout"]["margin"]["t"]
    return figure.update_layout(margin_t=above + TITLES_HEIGHT)


def _heatmap(of_model: pl.DataFrame) -> go.Heatmap:
    seeds = of_model["seed"].unique().sort().to_list()
    nodes = of_model["node"].unique(maintain_order=True).to_list()
    values = [
        [of_model.filter(pl.col("node") == node, pl.col("seed") == seed)["shapley"][0] for seed in seeds]
        for node in nodes
    ]
    return go.Heatmap(
        x=[f"seed {seed}" for seed in seeds], y=nodes, z=values, coloraxis="coloraxis", texttemplate="%{text}",
        text=[[f"{round(100 * value)}" for value in row] for row in values],
    )  # fmt: skip


def _title(of_model: pl.DataFrame) -> str:
    """Name the model, and tell its circuits, from the seed that has fewest to the one that has most."""
    if of_model.is_empty():
        return ""
    runs = of_model.unique("seed")
    name = f"{style.task_title(of_model['task'][0])},<br>{regime_name(of_model['trainable'][0])}"
    known = runs.drop_nulls("n_minimal")
    if known.is_empty():
        return name + style.small("not learnt")
    counts = [
        f"minimal circuits: {_ends(known['n_minimal'])}",
        f"nodes of the smallest: {_ends(known['smallest'])}",
        f"disjoint: {_ends(known['n_disjoint'])}; no node: {known['none'].median():.0%}",
    ]
    return name + "".join(map(style.small, counts))


def _ends(counts: pl.Series) -> str:
    return style.ends(str(counts.min()), str(counts.max()))


FIGURE = Figure(
    name="figure_circuits",
    title="Which heads and MLPs matter, by all 1,024 subsets",
    caption=(
        "Claim tested: a random transformer solves its task by one small circuit of heads and MLPs. All subsets of the "
        "ten nodes are run; a node that is not in the subset writes, at every position, the mean of what it writes at "
        "positions of the same role, over training sequences. A node's Shapley value is what it adds to the accuracy "
        "on average when nodes are put back in random order. A minimal circuit reaches "
        f"{ENOUGH:.0%} of the accuracy above guessing while no proper subset of it does; several that share no node "
        f"are redundancy. <i>No node</i>: accuracy with all ablated. {N_TEST_SEQUENCES} test sequences; the csv has "
        "the pair of nodes that interact most, and what is lost when a node alone is ablated. Found: no. Models "
        "have up to 29 minimal circuits, which all overlap; the smallest of a random transformer has 3 to 8 nodes, by "
        "the task."
    ),
    experiment="subspaces",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK, "trainable"),
)
