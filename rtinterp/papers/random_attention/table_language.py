"""Language: test loss by what trains."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import style
from rtinterp.figures.figure import Figure, run_columns, task_of
from rtinterp.papers.random_attention import published
from rtinterp.papers.random_attention.regimes import regime_of
from rtinterp.papers.random_attention.table_regimes import n_trainable
from rtinterp.tasks import LanguageModelling
from rtinterp.training.run import Run

HEADER = ["regime", "test loss,<br>nats per token", "trainable<br>parameters"]


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: test loss, and what n-gram models of its corpus reach there, in nats per token.

    Raises:
        ValueError: the corpus is not open.
    """
    rows = []
    for run in runs:
        task = task_of(run, LanguageModelling)
        rows.append(
            {
                **run_columns(run),
                "regime": regime_of(run.spec),
                "test_loss": run.test_loss,
                "n_trainable": n_trainable(run),
                "unigram_entropy": task.unigram_entropy(),
                "bigram_entropy": task.bigram_entropy(),
            }
        )
    return pl.DataFrame(rows)


def plot(table: pl.DataFrame) -> go.Figure:
    rows = []
    for name in table["regime"].unique(maintain_order=True):
        runs = table.filter(pl.col("regime") == name)
        loss = style.median_and_range_of(runs["test_loss"], ".3f")
        of_paper = [published.LANGUAGE[corpus].get(name) for corpus in published.LANGUAGE]
        cells = ["" if one is None else f"<i>{one.value}</i>" for one in of_paper]
        rows.append([name, loss, f"{runs['n_trainable'][0]:,}", *cells])
    for kind in ("unigram", "bigram"):
        rows.append([f"{kind} model", f"{table[f'{kind}_entropy'][0]:.3f}", "", *[""] * len(published.LANGUAGE)])
    header = [*HEADER, *(f"<i>the paper:</i><br>{corpus}" for corpus in published.LANGUAGE)]
    figure = style.table_figure(header, rows, [1.4, 1.2, 1.0, 1.2, 1.2])
    return style.finish_table(figure, "Language, by what trains", table, width=900)


FIGURE = Figure(
    name="table_language",
    title="Language, by what trains",
    caption=(
        "Test loss of small language models in nats per token, all at one size and budget: median over seeds, minimum "
        "to maximum below; under them what unigram and bigram models of the same training text reach. MixiT keeps a "
        "quarter of the squared norm in the residual stream here, as released. In italics the paper's log-perplexities "
        "of models of width 512 and 12 layers on other corpora: single runs, quoted from others."
    ),
    experiment="language",
    compute=compute,
    plot=plot,
    more_columns={"regime": regime_of},
)
