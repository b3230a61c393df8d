"""Every head as a previous-token head and as a retrieval head, before and after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.figures import style
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.papers.random_attention.grid import WITH_HEADS
from rtinterp.papers.random_attention.regimes import regime_of
from rtinterp.papers.random_attention.textbook_heads import (
    LEAST_ACCURACY,
    LEAST_SCORE,
    N_SCORED_SEQUENCES,
    frozen_unchanged,
    has_pair,
    head_scores,
)
from rtinterp.plot.look import COLOURS, axes
from rtinterp.training.run import Run

STATES = {"initial": "circle-open", "trained": "circle"}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, state (initial or trained) and head: ``prev_score`` and ``retr_score`` in [0, 1].

    Of the run: ``test_accuracy``, whether what is frozen is bit by bit what was drawn (``frozen_unchanged``), and
    whether accuracy, heads and this together make the paper's finding ``reproduced``.
    """
    return pl.concat(with_run_columns(run, _scores(run)) for run in runs)


def _scores(run: Run) -> pl.DataFrame:
    models = {"initial": run.initial_model, "trained": run.model}
    scores = {state: head_scores(run, model) for state, model in models.items()}
    unchanged = frozen_unchanged(run)
    accuracy = run.test_metric("accuracy")
    reproduced = accuracy >= LEAST_ACCURACY and has_pair(scores["trained"]) and unchanged
    tables = [table.select(pl.lit(state).alias("state"), *table.columns) for state, table in scores.items()]
    return pl.concat(tables).select(
        pl.lit(regime_of(run.spec)).alias("regime"),
        *tables[0].columns,
        test_accuracy=pl.lit(accuracy),
        frozen_unchanged=pl.lit(unchanged),
        reproduced=pl.lit(reproduced),
    )


def plot(table: pl.DataFrame) -> go.Figure:
    found = [name for name in WITH_HEADS if name in table["regime"].to_list()]
    titles = [_title(table.filter(pl.col("regime") == name), name) for name in found]
    figure = make_subplots(1, len(found), subplot_titles=titles, horizontal_spacing=0.06)
    for column, name in enumerate(found, 1):
        place: dict[str, Any] = {"row": 1, "col": column}
        of_regime = table.filter(pl.col("regime") == name)
        for (state, layer), heads in of_regime.group_by("state", "layer", maintain_order=True):
            label = f"layer {layer}, {'before' if state == 'initial' else 'after'} training"
            texts = [f"L{layer}H{head}, seed {seed}" for head, seed in heads.select("head", "seed").iter_rows()]
            colour = COLOURS[int(str(layer)) % len(COLOURS)]
            figure.add_scatter(
                x=heads["prev_score"].to_list(), y=heads["retr_score"].to_list(), mode="markers", hovertext=texts,
                name=label, legendgroup=label, showlegend=column == 1,
                marker={"color": colour, "size": 9, "opacity": 0.75, "symbol": STATES[str(state)]}, **place,
            )  # fmt: skip
        dotted = {"line": {"color": style.FLOOR_COLOUR, "dash": "dot"}}
        figure.add_vline(x=LEAST_SCORE, **dotted, **place).add_hline(y=LEAST_SCORE, **dotted, **place)
    axes(figure).update_xaxes(title_text="from values to the position before", range=[-0.03, 1.03])
    figure.update_yaxes(range=[-0.03, 1.03]).update_yaxes(title_text="from the query to its value", col=1)
    style.finish(figure, "The two heads of retrieval", table, width=1080, height=380)
    above = figure.to_dict()["layout"]["margin"]["t"]
    legend = {"orientation": "h", "x": 0, "y": -0.2}
    return figure.update_layout(margin_t=above + 20, margin_b=110, legend=legend)


def _title(runs: pl.DataFrame, name: str) -> str:
    by_seed = runs.unique("seed")
    n_reproduced = int(by_seed["reproduced"].sum())
    accuracy = f"accuracy {by_seed['test_accuracy'].median():.1%}"
    return name + style.small(f"{accuracy}; reproduced in {n_reproduced} of {len(by_seed)} seeds")


FIGURE = Figure(
    name="figure_retrieval_heads",
    title="The two heads of retrieval",
    caption=(
        "Claim tested: with frozen queries and keys a head of layer 0 still learns to look from each value to its "
        "marker, and one of layer 1 from the query to the value asked for. Every head of every seed: mean attention in "
        f"the one role against that in the other, over {N_SCORED_SEQUENCES} test sequences. Reproduced: accuracy at "
        f"least {LEAST_ACCURACY:.0%}, a head of layer 0 right of the dotted line ({LEAST_SCORE}), one of layer 1 above "
        "the other, and what is frozen is bit by bit what was drawn. That heads look there is no evidence that the "
        "answer comes from them."
    ),
    experiment="retrieval",
    compute=compute,
    plot=plot,
    more_columns={"regime": regime_of},
)
