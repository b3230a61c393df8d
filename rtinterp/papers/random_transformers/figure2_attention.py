"""Figure 2: the two heads that find the needle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import polars as pl
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import attention_patterns, attention_score, best_head, pattern_table
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, task_of, with_run_columns
from rtinterp.plot.heatmaps import add_heatmap, weight_colours
from rtinterp.tasks import NeedleInAHaystack
from rtinterp.training.run import Run

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel
N_SCORED_SEQUENCES = 500
#: The paper's example: a 1 b 2 c 3 d 4 b?
EXAMPLE = {"markers": [0, 1, 2, 3], "values": [1, 2, 3, 4], "query": 1}
ROLES = {"marker": "values attend to their marker", "retrieval": "the query attends to its value"}
STATES = {"trained": "after training", "initial": "at initialisation"}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, role, model state and attention weight of the example sequence.

    ``score`` is the head's mean weight in that role over test sequences. The head of a role is the one that scores
    highest after training, in layer 0 for ``marker`` and in layer 1 for ``retrieval``.
    """
    return pl.concat(with_run_columns(run, _heads(run)) for run in runs)


def _heads(run: Run) -> pl.DataFrame:
    task = task_of(run, NeedleInAHaystack)
    example = task.sequence(**EXAMPLE)
    labels = task.decode(example).split()[:-1]
    scores = {
        "trained": role_scores(task, run.model),
        "initial": role_scores(task, run.initial_model),
    }
    tables = []
    for role_layer, role in enumerate(ROLES):
        layer, head, _ = best_head(scores["trained"][role], layer=role_layer)
        for state, model in (("trained", run.model), ("initial", run.initial_model)):
            patterns = attention_patterns(model, example[: len(labels)])[:, 0]
            table = pattern_table(patterns, labels).filter(pl.col("layer") == layer, pl.col("head") == head)
            columns = {"role": role, "state": state, "score": scores[state][role][layer, head].item()}
            tables.append(table.select(*(pl.lit(v).alias(k) for k, v in columns.items()), *table.columns))
    return pl.concat(tables)


def role_scores(task: NeedleInAHaystack, model: HookedModel) -> dict[str, Float[Tensor, "layer head"]]:
    """Measure how well each head does each role, over test sequences."""
    tokens = task.test_set().tokens[:N_SCORED_SEQUENCES]
    patterns = attention_patterns(model, tokens)
    row, marker_pos, value_pos = task.key_value_positions(tokens)
    occurrences = {
        "marker": (row, value_pos, marker_pos),
        "retrieval": (row.unique(), task.query_position(tokens), task.queried_value_position(tokens)),
    }
    return {
        role: attention_score(patterns, batch_index=batch_index, query_pos=query_pos, key_pos=key_pos)
        for role, (batch_index, query_pos, key_pos) in occurrences.items()
    }


def plot(table: pl.DataFrame) -> go.Figure:
    first_seed = table.filter(pl.col("seed") == table["seed"].min())
    panels = [
        (row, column, first_seed.filter(pl.col("state") == state, pl.col("role") == role))
        for row, state in enumerate(STATES, 1)
        for column, role in enumerate(ROLES, 1)
    ]
    titles = [_panel_title(panel, table) for _, _, panel in panels]
    figure = make_subplots(2, 2, subplot_titles=titles, horizontal_spacing=0.12, vertical_spacing=0.14)
    for row, column, panel in panels:
        weights = panel.pivot(on="key_pos", index="query_pos", values="weight").drop("query_pos").rows()
        labels = panel.filter(pl.col("query_pos") == 0)["key_label"].to_list()
        add_heatmap(figure, weights, labels, labels, row=row, col=column)
        figure.update_xaxes(title_text="attended to" if row == 2 else None, row=row, col=column)
        if column == 1:
            figure.update_yaxes(title_text="attending", row=row, col=column)
    figure.update_layout(coloraxis=weight_colours())
    title = "Figure 2: attention of a random transformer on a 1 b 2 c 3 d 4 b"
    return style.finish(figure, title, table, width=960, height=800)


def _panel_title(panel: pl.DataFrame, table: pl.DataFrame) -> str:
    layer, head, role, state = panel.select("layer", "head", "role", "state").row(0)
    scores = table.filter(pl.col("role") == role, pl.col("state") == state).unique("seed")["score"]
    over_seeds = "" if len(scores) == 1 else f" (median of {len(scores)} seeds)"
    heading = f"layer {layer}, head {head}, {STATES[state]}"
    return heading + style.small(f"{ROLES[role]}: mean weight {scores.median():.2f}{over_seeds}")


FIGURE = Figure(
    name="figure2_attention",
    title="Figure 2: attention patterns",
    caption=(
        "The two heads of the first seed that do most of the work, on the paper's example: in layer 0 every value "
        "attends to the marker before it, in layer 1 the query attends to the value of its marker. Below, the same "
        f"heads before training. The mean weights are over {N_SCORED_SEQUENCES} test sequences."
    ),
    experiment="figure2",
    compute=compute,
    plot=plot,
)
