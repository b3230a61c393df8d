"""The search for budgets: the same trials for every kind of model, judged by rows and seeds that are not reported."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl
import torch
from rich.console import Console

from rtinterp.executors.slurm import SlurmOptions
from rtinterp.executors.sweep import Report, Sweep, train
from rtinterp.executors.workers import plan_workers
from rtinterp.figures.figure import run_columns
from rtinterp.figures.render import write_table
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.papers.random_transformers.budgets import Scale, TaskBudget
from rtinterp.store import RunStore
from rtinterp.tasks.chosen_test_rows import ChoosesTestRows
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

#: Seeds of trials are from here on; those that are reported are far below.
FIRST_SEED = 100
LEARNING_RATES = (1e-3, 3e-3, 5e-3, 1e-2)
BETA2S = (0.98, 0.999)
#: A trial is one of these for each seed; the training is otherwise that of the scale.
GRID = tuple({"learning_rate": rate, "adam_beta2": beta2} for rate, beta2 in itertools.product(LEARNING_RATES, BETA2S))
#: What a trial is compared within.
MODEL = ["task", "body", "d_model", "trainable"]


def trials(scale: Scale, tasks: Sequence[str] = (), n_seeds: int = 1) -> list[RunSpec]:
    """List the trials of the wide models of a scale's algorithmic tasks: random, fully trained and LSTM, as many each.

    Args:
        tasks: names of tasks, all if not given.

    Raises:
        ValueError: the scale has no such task, or a task has no validation rows.
    """
    known = [budget.task.name for budget in scale.algorithmic]
    unknown = set(tasks).difference(known)
    if unknown:
        raise ValueError(f"no task {', '.join(sorted(unknown))} at this scale; tasks: {', '.join(known)}")
    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds)
    wanted = [budget for budget in scale.algorithmic if not tasks or budget.task.name in tasks]
    return [spec for budget in wanted for spec in _trials_of(budget, seeds)]


def _trials_of(budget: TaskBudget, seeds: Iterable[int]) -> Iterator[RunSpec]:
    if not isinstance(budget.task, ChoosesTestRows):
        raise ValueError(f"{budget.task.name} has no validation rows")
    budget = dataclasses.replace(budget, task=budget.task.for_validation())
    for fields in GRID:
        trial = budget.with_training(**fields)
        yield from trial.runs(budget.wide, "embeddings", seeds)
        yield from trial.runs(budget.wide, "all", seeds)
        yield from trial.runs(RecurrentSpec(budget.wide), "all", seeds)


def trial_table(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per finished trial, the best of each model first.

    ``n_trials`` counts the finished trials of the model, ``rank`` is 1 for the one of highest validation accuracy, and
    of equal ones for that of lower loss.
    """
    rows = [
        {
            **run_columns(run),
            **{name: getattr(run.spec.training, name) for name in ("learning_rate", "adam_beta2", "n_warmup_steps")},
            "validation_accuracy": run.test_accuracy,
            "validation_loss": run.test_loss,
            "seconds": run.environment.duration_seconds,
        }
        for run in runs
    ]
    better = pl.struct(-pl.col("validation_accuracy"), "validation_loss").rank("ordinal").over(MODEL)
    return (
        pl.DataFrame(rows)
        .with_columns(n_trials=pl.len().over(MODEL), rank=better.cast(pl.Int64))
        .sort(*MODEL, "rank", maintain_order=True)
    )


def best_lines(table: pl.DataFrame) -> Iterator[str]:
    """Say which trial of each model is the best."""
    for row in table.filter(pl.col("rank") == 1).iter_rows(named=True):
        yield (
            f"{row['task']}, {row['body']} {row['trainable']} d{row['d_model']}: {row['validation_accuracy']:.1%} with "
            f"rate {row['learning_rate']:g}, beta2 {row['adam_beta2']:g}, {row['n_steps']:,} steps x "
            f"{row['batch_size']:,}; best of {row['n_trials']}"
        )


def search(
    scale: str,
    specs: Sequence[RunSpec],
    store: RunStore,
    out: Path,
    device: torch.device,
    minutes: float | None = None,
) -> pl.DataFrame:
    """Train the trials that the store lacks, write the table of those that are finished, and tell the best.

    What the time did not suffice for is left for the next call. Trials that diverged are told and have no row.

    Raises:
        ValueError: no trial is finished.
    """
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    deadline = None if minutes is None else time.time() + 60 * minutes
    here = plan_workers("local", device, None, None, SlurmOptions(), n_gpus=torch.cuda.device_count())
    report: Report = train(Sweep(store, specs, device, deadline), here, console)
    for line in report.errors:
        console.print(f"not trained: {line}")
    finished = [store.load(spec) for spec in specs if spec in store]
    if not finished:
        raise ValueError(f"no trial of {len(specs)} is finished; call again, with more minutes")
    table = trial_table(finished)
    path = write_table(table, f"search_{scale}", out)
    for line in best_lines(table):
        console.print(line)
    console.print(f"{len(finished)} of {len(specs)} trials finished: {path}")
    return table
