"""Figure 2: where the heads look that look most at the marker and at the value asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Float, Int64
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

    ``score`` is the head's mean weight in that role over test sequences, and ``weight_on_other_values`` what it gives,
    from the same positions, to all other values together. The head of a role is the one that scores highest after
    training, in layer 0 for ``marker`` and in layer 1 for ``retrieval``.
    """
    return pl.concat(with_run_columns(run, _heads(run)) for run in runs)


def _heads(run: Run) -> pl.DataFrame:
    task = task_of(run, NeedleInAHaystack)
    example = task.sequence(**EXAMPLE)
    labels = task.decode(example).split()[:-1]
    models = {"trained": run.model, "initial": run.initial_model}
    scores = {state: role_scores(task, model) for state, model in models.items()}
    on_others = {state: scores_of_other_values(task, model) for state, model in models.items()}
    tables = []
    for role_layer, role in enumerate(ROLES):
        layer, head, _ = best_head(scores["trained"][role], layer=role_layer)
        for state, model in models.items():
            patterns = attention_patterns(model, example[: len(labels)])[:, 0]
            table = pattern_table(patterns, labels).filter(pl.col("layer") == layer, pl.col("head") == head)
            score, on_other = (of[state][role][layer, head].item() for of in (scores, on_others))
            columns = {"role": role, "state": state, "score": score, "weight_on_other_values": on_other}
            tables.append(table.select(*(pl.lit(v).alias(k) for k, v in columns.items()), *table.columns))
    return pl.concat(tables)


def role_scores(task: NeedleInAHaystack, model: HookedModel) -> dict[str, Float[Tensor, "layer head"]]:
    """Measure how well each head does each role, over test sequences."""
    tokens = task.test_set().tokens[:N_SCORED_SEQUENCES]
    patterns = attention_patterns(model, tokens)
    return {
        role: attention_score(patterns, batch_index=one.batch_index, query_pos=one.query_pos, key_pos=one.key_pos)
        for role, one in _occurrences(task, tokens).items()
    }


def scores_of_other_values(task: NeedleInAHaystack, model: HookedModel) -> dict[str, Float[Tensor, "layer head"]]:
    """Measure how much each head gives, in each role, to all values but the one that attends or is asked for."""
    tokens = task.test_set().tokens[:N_SCORED_SEQUENCES]
    patterns = attention_patterns(model, tokens)
    row, _, value_pos = task.key_value_positions(tokens)
    is_value = torch.zeros(tokens.shape, dtype=torch.bool)
    is_value[row, value_pos] = True
    scores = {}
    for role, one in _occurrences(task, tokens).items():
        is_other = is_value[one.batch_index, : patterns.shape[-1]].clone()
        is_other[torch.arange(len(is_other)), one.own_value_pos] = False
        weights = patterns[:, one.batch_index, :, one.query_pos]  # [occurrence layer head key_pos]
        scores[role] = (weights * is_other[:, None, None].to(weights.device)).sum(-1).mean(0)
    return scores


class _Occurrences(NamedTuple):
    """Where each role is played in a batch: who attends to what, and the value that is no other one."""

    batch_index: Int64[Tensor, " occurrence"]
    query_pos: Int64[Tensor, " occurrence"]
    key_pos: Int64[Tensor, " occurrence"]
    own_value_pos: Int64[Tensor, " occurrence"]


def _occurrences(task: NeedleInAHaystack, tokens: Int64[Tensor, "batch pos"]) -> dict[str, _Occurrences]:
    row, marker_pos, value_pos = task.key_value_positions(tokens)
    asked_for = task.queried_value_position(tokens)
    return {
        "marker": _Occurrences(row, value_pos, marker_pos, value_pos),
        "retrieval": _Occurrences(row.unique(), task.query_position(tokens), asked_for, asked_for),
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
    runs = table.filter(pl.col("role") == role, pl.col("state") == state).unique("seed")
    over_seeds = "" if len(runs) == 1 else f" (medians of {len(runs)} seeds)"
    heading = f"layer {layer}, head {head}, {STATES[state]}"
    return heading + style.small(f"{ROLES[role]}: {runs['score'].median():.2f}{_on_others(runs)}{over_seeds}")


def _on_others(runs: pl.DataFrame) -> str:
    """Tables of earlier drawings do not tell."""
    known = runs["weight_on_other_values"].drop_nulls() if "weight_on_other_values" in runs.columns else pl.Series()
    return "" if known.is_empty() else f", other values {known.median():.2f}"


FIGURE = Figure(
    name="figure2_attention",
    title="Figure 2: attention patterns",
    caption=(
        "Of the first seed, on the paper's example: the head of layer 0 whose values attend most to the marker before "
        "them, and the head of layer 1 whose query attends most to the value of its marker. Below, the same heads "
        "before training. The numbers are mean weights, on what the role asks for and on all other values together, "
        f"over {N_SCORED_SEQUENCES} test sequences. The heads are those of the highest score after training; what they "
        "contribute to the answer, attention alone does not tell."
    ),
    experiment="figure2",
    compute=compute,
    plot=plot,
)
