"""How many hops a regime follows."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl
import torch

from rtinterp.analysis import accuracy_by_hops, prediction_table
from rtinterp.figures import style
from rtinterp.figures.curves import add_curve, add_floor
from rtinterp.figures.figure import Figure, task_of, with_run_columns
from rtinterp.papers.random_attention.regimes import COLOUR_OF, regime_of
from rtinterp.plot.look import axes
from rtinterp.tasks import KHopInduction
from rtinterp.training.run import Run


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run and number of hops: the columns of ``accuracy_by_hops``, and two floors of it.

    ``chance`` is one in as many as there are characters, ``best_guess`` what is earned by who knows hops, position and
    character alone; null where so many hops lead nowhere.
    """
    return pl.concat(with_run_columns(run, _by_hops(run)) for run in runs)


def _by_hops(run: Run) -> pl.DataFrame:
    task = task_of(run, KHopInduction)
    table = hops_table(run, task)
    return table.with_columns(
        regime=pl.lit(regime_of(run.spec)),
        chance=pl.lit(1 / task.alphabet),
        best_guess=pl.col("hops").replace_strict(task.defined_floors(), default=None, return_dtype=pl.Float64),
    )


def hops_table(run: Run, task: KHopInduction) -> pl.DataFrame:
    """Measure the run's accuracy on test sequences, by number of hops."""
    batch = task.test_set()
    right = torch.tensor(prediction_table(run.model, batch)["right"].to_list())
    return accuracy_by_hops(right, batch, task)


def plot(table: pl.DataFrame) -> go.Figure:
    figure = go.Figure()
    for name, colour in COLOUR_OF.items():
        runs = table.filter(pl.col("regime") == name)
        if len(runs):
            add_curve(figure, runs, "hops", "defined_accuracy", name=name, colour=colour)
    add_floor(figure, table["chance"][0], "any<br>character")
    floors = table.unique("hops").sort("hops")
    line = {"color": style.FLOOR_COLOUR, "dash": "dot"}
    x, y = floors["hops"].to_list(), floors["best_guess"].to_list()
    figure.add_scatter(x=x, y=y, mode="lines", line=line, name="hops, position and character alone")
    axes(figure).update_yaxes(title_text="accuracy where hops lead somewhere", tickformat=".0%", range=[0, 1.03])
    figure.update_xaxes(title_text="hops", dtick=1)
    style.finish(figure, "How many hops a regime follows", table, width=820, height=380)
    return figure.update_layout(margin_r=90, margin_b=110, legend={"orientation": "h", "x": 0, "y": -0.2})


FIGURE = Figure(
    name="figure_hops",
    title="How many hops a regime follows",
    caption=(
        "k-hop induction: the share of right answers among positions from which k hops lead somewhere, so that who "
        "always answers “~” gets none. One hop is what an induction head does; no hop is the character itself. Dotted: "
        "guessing, and who answers what training has most often for this number of hops, position and character; that "
        "earns more, as no character follows an equal one, and two hops often lead back to the same one. "
        "Points are seeds, lines medians."
    ),
    experiment="hops",
    compute=compute,
    plot=plot,
    more_columns={"regime": regime_of},
)
