"""The tables of the ladder: a row for every trained run, and a row for every least width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch

from rtinterp.analysis import prediction_table
from rtinterp.figures.accuracies import columns_of
from rtinterp.figures.figure import SPEC_COLUMNS
from rtinterp.models.build import hooked_model
from rtinterp.papers.ladder.bisection import bracket
from rtinterp.papers.ladder.bodies import kind_of
from rtinterp.papers.ladder.rungs import DIALS, value_of
from rtinterp.store.failures import Failure
from rtinterp.tasks import KHopInduction, Task
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

#: The accuracy that a task counts as solved from.
BAR = 0.99
#: What one least width is of; a budget has no effect on which models are compared.
SEARCH = ["task", "dial", "value", "kind", "n_layers", "trainable"]


def runs_table(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: the accuracy that counts, the task's dial and its floors.

    ``accuracy`` is that of all scored predictions on the test set; in k-hop induction, of those that at least one hop
    leads to a character from. ``test_accuracy`` is of all scored predictions everywhere. Both are in [0, 1].
    """
    return pl.DataFrame([run_row(run) for run in runs], infer_schema_length=None)


def run_row(run: Run) -> dict[str, Any]:
    """Make the row of a run."""
    return spec_row(run.spec, run.environment.device, _accuracy(run), run.test_accuracy)


def failed_row(failure: Failure) -> dict[str, Any]:
    """Make the row of a run that diverged, without an accuracy."""
    return spec_row(failure.spec, failure.environment.device, None, None)


def spec_row(spec: RunSpec, device: str, accuracy: float | None, test_accuracy: float | None) -> dict[str, Any]:
    """Make the row of a run of which this was measured."""
    return {
        **{name: read(spec) for name, read in SPEC_COLUMNS.items()},
        "device": device,
        "learning_rate": spec.training.learning_rate,
        "kind": kind_of(spec.model),
        "dial": DIALS[spec.task.name].name,
        "value": value_of(spec.task),
        "accuracy": accuracy,
        "test_accuracy": test_accuracy,
        **_floors(spec.task),
    }


def _accuracy(run: Run) -> float | None:
    task = run.spec.task
    if not isinstance(task, KHopInduction):
        return run.test_accuracy
    device = "cuda" if torch.cuda.is_available() and run.environment.device_type == "cuda" else "cpu"
    model, batch = hooked_model(task, run.spec.model, run.tensors(), device), task.test_set()
    right = torch.tensor(prediction_table(model, batch)["right"].to_list())
    sequence, position = batch.scored.nonzero().unbind(1)
    leads_somewhere = (batch.scored_targets != task.undefined_token) & (position > 0)
    return right[leads_somewhere & (batch.tokens[sequence, 0] > 0)].double().mean().item()


def _floors(task: Task) -> dict[str, str | int | float]:
    """What the accuracy that counts is judged by; of hops that lead somewhere, guessing alone is known."""
    columns = columns_of(task)
    if isinstance(task, KHopInduction):
        chance = {"": "any character", "_accuracy": 1 / task.alphabet}
        columns |= {f"{kind}{end}": value for kind in ("floor", "heuristic") for end, value in chance.items()}
    return columns


def medians(runs: pl.DataFrame) -> dict[int, float]:
    """Return the median accuracy of every width; a run that diverged has none, and counts as nothing right."""
    at_width = runs.group_by("d_model").agg(pl.col("accuracy").fill_null(0.0).median()).sort("d_model")
    return dict(at_width.iter_rows())


def suffices(runs: pl.DataFrame) -> dict[int, bool]:
    """Tell of every width whether the median of its runs reaches the bar."""
    return {width: median >= BAR for width, median in medians(runs).items()}


def threshold_table(runs: pl.DataFrame, widths: Sequence[int]) -> pl.DataFrame:
    """Make one row per task, dial value, kind of body and what trains: the least width whose median reaches the bar.

    Args:
        runs: as ``runs_table`` makes them.
        widths: among which the least was looked for, ascending.

    Returns:
        ``status`` ("reached", "not reached" or "open"), ``width`` (the narrowest known to suffice), ``below`` (the
        widest known not to), ``accuracy_at`` and ``accuracy_below`` (their medians), ``least_at`` and ``most_at`` (the
        seeds at ``width``), ``best_accuracy`` (the best median of any width), ``is_monotone``, ``n_seeds``,
        ``n_widths`` (trained), ``narrowest`` and ``widest`` (of those looked among), budgets and floors.
    """
    rows = [_threshold(of_search, widths) for of_search in runs.partition_by(SEARCH, maintain_order=True)]
    return pl.DataFrame(rows, infer_schema_length=None)


def _threshold(runs: pl.DataFrame, widths: Sequence[int]) -> dict[str, Any]:
    found = bracket(widths, suffices(runs))
    median_of = medians(runs)
    at = runs.filter(pl.col("d_model") == (found.at or 0))["accuracy"]
    first = runs.row(0, named=True)
    carried = (*SEARCH, "n_steps", "batch_size", "learning_rate", "device", "floor", "floor_accuracy")
    return {
        **{name: first[name] for name in carried},
        "heuristic": first["heuristic"],
        "heuristic_accuracy": first["heuristic_accuracy"],
        "n_test_rows": first["n_test_rows"],
        "status": found.status,
        "width": found.at,
        "below": found.below,
        "accuracy_at": None if found.at is None else median_of[found.at],
        "accuracy_below": None if found.below is None else median_of[found.below],
        "least_at": at.min(),
        "most_at": at.max(),
        "best_accuracy": max(median_of.values()),
        "is_monotone": found.is_monotone,
        "n_seeds": runs["seed"].n_unique(),
        "n_widths": runs["d_model"].n_unique(),
        "narrowest": widths[0],
        "widest": widths[-1],
    }
