"""Where the two heads of retrieval look in one sequence."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.analysis import attention_patterns, pattern_table
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, task_of, with_run_columns
from rtinterp.papers.random_attention.grid import WITH_HEADS
from rtinterp.papers.random_attention.regimes import regime_of
from rtinterp.papers.random_attention.textbook_heads import head_scores, pair_of
from rtinterp.plot.heatmaps import add_heatmap, weight_colours
from rtinterp.tasks import NeedleInAHaystack
from rtinterp.training.run import Run

#: a 1 b 2 c 3 d 4 b?
EXAMPLE = {"markers": [0, 1, 2, 3], "values": [1, 2, 3, 4], "query": 1}
ROLES = {"previous": "values to their markers", "retrieval": "the query to its value"}
#: Pixels of a row of panels.
ROW_HEIGHT = 330


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, role and attention weight of the example, of the head that plays the role best.

    The heads are those of ``pair_of`` after training: in layer 0 for ``previous``, in layer 1 for ``retrieval``.
    """
    return pl.concat(with_run_columns(run, _patterns(run)) for run in runs)


def _patterns(run: Run) -> pl.DataFrame:
    task = task_of(run, NeedleInAHaystack)
    example = task.sequence(**EXAMPLE)
    labels = task.decode(example).split()[: 2 * len(EXAMPLE["markers"]) + 1]
    patterns = attention_patterns(run.model, example[: len(labels)])[:, 0]
    table, pair = pattern_table(patterns, labels), pair_of(head_scores(run, run.model))
    tables = []
    for role, node in zip(ROLES, pair, strict=True):
        of_head = table.filter(pl.col("layer") == node.layer, pl.col("head") == node.head)
        columns = {"regime": regime_of(run.spec), "role": role}
        tables.append(of_head.select(*(pl.lit(v).alias(k) for k, v in columns.items()), *of_head.columns))
    return pl.concat(tables)


def plot(table: pl.DataFrame) -> go.Figure:
    first_seed = table.filter(pl.col("seed") == table["seed"].min())
    found = [name for name in WITH_HEADS if name in first_seed["regime"].to_list()]
    panels = [
        (row, column, first_seed.filter(pl.col("regime") == name, pl.col("role") == role))
        for row, role in enumerate(ROLES, 1)
        for column, name in enumerate(found, 1)
    ]
    titles = [_title(panel) for *_, panel in panels]
    figure = make_subplots(2, len(found), subplot_titles=titles, horizontal_spacing=0.07, vertical_spacing=0.16)
    for row, column, panel in panels:
        weights = panel.pivot(on="key_pos", index="query_pos", values="weight").drop("query_pos").rows()
        labels = panel.filter(pl.col("query_pos") == 0)["key_label"].to_list()
        add_heatmap(figure, weights, labels, labels, row=row, col=column)
    figure.update_xaxes(title_text="attended to", row=2).update_yaxes(title_text="attending", col=1)
    figure.update_layout(coloraxis=weight_colours())
    title = f"The two heads on a 1 b 2 c 3 d 4 b, seed {first_seed['seed'][0]}"
    style.finish(figure, title, table, width=1080, height=2 * ROW_HEIGHT)
    above = figure.to_dict()["layout"]["margin"]["t"]
    return figure.update_layout(margin_t=above + 20)


def _title(panel: pl.DataFrame) -> str:
    regime, role, layer, head = panel.select("regime", "role", "layer", "head").row(0)
    return regime + style.small(f"layer {layer}, head {head}: {ROLES[role]}")


FIGURE = Figure(
    name="figure_retrieval_patterns",
    title="The two heads on one sequence",
    caption=(
        "Of the first seed of each regime, on a short sequence: the head of layer 0 whose values look most at the "
        "position before them, and the head of layer 1 whose query looks most at the value asked for. The csv has all "
        "seeds."
    ),
    experiment="retrieval",
    compute=compute,
    plot=plot,
    more_columns={"regime": regime_of},
)
