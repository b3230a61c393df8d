"""Table 4: how few directions the residual stream occupies; table 7 asks the same of narrower models."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Sequence

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.analysis import positions_that_feed, residual_explained_variance
from rtinterp.figures import certainty, style
from rtinterp.figures.accuracies import columns_of
from rtinterp.figures.figure import TASK, Figure, with_run_columns
from rtinterp.figures.regime_style import regime_name
from rtinterp.tasks import LanguageModelling, Task
from rtinterp.tasks.base import FIXED_SEED
from rtinterp.training.run import Run

N_SEQUENCES = 1000
SEQUENCES_PER_PASS = 200

KINDS = {"principal_components": "PCs", "coordinates": "neurons"}
#: Ends the names of columns of initial models.
UNTRAINED = "_untrained"
#: Marks shares that training has not raised in every seed.
NOT_GROWN = "°"
MARKS_NOTE = (
    f"{certainty.NOT_ABOVE_GUESSING} accuracy not above guessing, "
    f"{certainty.NOT_ABOVE_HEURISTIC} not above the best heuristic"
)


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run and site; shares of variance are in [0, 1].

    Columns that end in ``_untrained`` are of the same seed's initial model, on the same activations. Accuracy, or the
    loss of language models, stands there with what needs no understanding: a share says how a task is done only if it
    is done.
    """
    return pl.concat(with_run_columns(run, _shares(run)) for run in runs)


def _shares(run: Run) -> pl.DataFrame:
    activations = list(_test_activations(run.spec.task))
    trained, initial = (residual_explained_variance(model, activations) for model in (run.model, run.initial_model))
    before = initial.select(pl.col("^share_.*$").name.suffix(UNTRAINED))
    return trained.with_columns(*before, **{name: pl.lit(value) for name, value in _success(run).items()})


def _success(run: Run) -> dict[str, str | int | float | None]:
    """How well the task is done, and what is no success."""
    task = run.spec.task
    if isinstance(task, LanguageModelling):
        return {"test_loss": run.test_loss, "bigram_entropy": task.bigram_entropy()}
    return {"test_accuracy": run.test_accuracy, **columns_of(task)}


def _test_activations(task: Task) -> Iterator[tuple[Int64[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]]:
    """Test sequences, and which of their positions count: pads and the final answer do not.

    They are drawn at random, since not every test set is in random order: memorization's goes through its pairs.
    """
    test_set = task.test_set()
    chosen = random.Random(FIXED_SEED).sample(range(len(test_set)), min(N_SEQUENCES, len(test_set)))
    for start in range(0, len(chosen), SEQUENCES_PER_PASS):
        batch = test_set[torch.tensor(chosen[start : start + SEQUENCES_PER_PASS])]
        yield batch.tokens, positions_that_feed(batch.scored)


def plot(table: pl.DataFrame, number: int) -> go.Figure:
    sites = table["site"].unique(maintain_order=True).to_list()
    rows = [
        [
            _label(task, trainable, group),
            *(share_cell(group.filter(pl.col("site") == site), f"share_{kind}") for kind in KINDS for site in sites),
        ]
        for (task, trainable), group in table.group_by(["task", "trainable"], maintain_order=True)
    ]
    k = table["k"][0]
    header = ["task", *(f"top {k} {kind}<br>{site}" for kind in KINDS.values() for site in sites)]
    figure = style.table_figure(header, rows, [2.0, *[1.0] * (len(header) - 1)])
    title = f"Table {number}: residual variance in {k} directions, %"
    text = f"{style.subtitle(table)}<br>{before_note(table)}<br>{MARKS_NOTE}"
    return style.finish_table_with(figure, title, text, width=1080)


def _label(task: str, trainable: str, group: pl.DataFrame) -> str:
    runs = group.unique("seed", maintain_order=True)
    mark = certainty.mark(runs, certainty.interval_of(runs))
    model = style.small(f"{regime_name(trainable)} {mark}".rstrip())
    return style.task_title(task) + model + style.small(of_anything(group)) + style.standing(group)


def of_anything(group: pl.DataFrame) -> str:
    """Tell the share that the best k directions hold at least, whatever the activations are."""
    k, d_model = group["k"][0], group["d_model"][0]
    return f"{k} of {d_model} directions: ≥ {k / d_model:.1%} of anything"


def share_cell(runs: pl.DataFrame, column: str) -> str:
    """Write the median of a share, minimum to maximum, and what the initial models have, in %.

    The share is marked where it has not grown in every seed; an older table may not say what it was before training.
    """
    cell = style.median_and_range(runs[column])
    before = f"{column}{UNTRAINED}"
    if before not in runs.columns or runs[before].null_count():
        return cell
    median, *spread = cell.split("<br>", 1)
    grown = (runs[column] > runs[before]).all()
    marked = median if grown else f"{median} {NOT_GROWN}"
    return "<br>".join([marked, *spread]) + style.small(f"before: {style.median_of(runs[before])}")


def before_note(table: pl.DataFrame) -> str:
    """Say what the smaller lines and their mark mean, or that an older table lacks them."""
    known = [column for column in table.columns if column.endswith(UNTRAINED)]
    n_known = table[known[0]].count() if known else 0
    meaning = f"before: the same seeds before training; {NOT_GROWN} not higher than before in every seed"
    lacking = "without <i>before</i>: drawn before untrained models and success were measured beside the shares"
    return "<br>".join([meaning] * (n_known > 0) + [lacking] * (n_known < len(table)))


def explained_variance_figure(number: int, caption: str, experiment: str) -> Figure:
    """Make one of the paper's tables of explained variance, by its number."""
    return Figure(
        name=f"table{number}_explained_variance",
        title=f"Table {number}: explained variance",
        caption=caption,
        experiment=experiment,
        compute=compute,
        plot=functools.partial(plot, number=number),
        rows=(TASK, "trainable"),
    )


SELECTION_CAPTION = (
    "<i>Before</i> is the same on models of the same seeds that are not trained. Training has concentrated the stream "
    "where the share has grown; a share marked "
    f"{NOT_GROWN} has not grown in every seed, and is no evidence that training selects a subspace. Any k of d_model "
    "directions can be chosen to hold k/d_model of whatever there is, so large shares of narrow models mean little. "
    f"Models marked {certainty.NOT_ABOVE_GUESSING} or {certainty.NOT_ABOVE_HEURISTIC} have not learnt the task, and "
    "their shares say nothing of how it is done."
)

FIGURE = explained_variance_figure(
    number=4,
    caption=(
        "Share of the residual stream's variance in its ten largest principal components, and in the ten residual "
        "coordinates of largest variance (the paper's <i>neurons</i>). Where the first is large and the second is not, "
        "few directions suffice, and they are not the coordinate axes. Centred; test sequences without padding and "
        "answers, each at most once; the last layer before the final LayerNorm. Median over seeds, minimum to maximum "
        f"below. {SELECTION_CAPTION}"
    ),
    experiment="table4",
)
