"""What bfloat16 in the blocks does to what is learned: accuracy and geometry, beside float32 on the same seeds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl

from rtinterp import RunSpec, train
from rtinterp.papers.random_transformers import FIGURES, SCALES
from rtinterp.tasks import ModularAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.train_spec import Precision

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
#: Of which tasks the wide random transformers of the quick scale are compared.
TASKS: tuple[type[Task], ...] = (ParenthesisBalancing, NeedleInAHaystack, ModularAddition)
VARIANCE = FIGURES["table4_explained_variance"]


def compare_precisions(tasks: tuple[type[Task], ...], n_seeds: int, runs: Path, device: str) -> pl.DataFrame:
    """One row per run and site: accuracy and explained variance in either precision; runs are kept in a store."""
    specs = [spec for task in tasks for precision in PRECISIONS for spec in precision_specs(task, precision, n_seeds)]
    return pl.concat(
        VARIANCE.compute([run]).with_columns(
            precision=pl.lit(run.spec.training.precision), test_accuracy=pl.lit(run.test_accuracy)
        )
        for run in train(specs, store=runs, device=device)
    )


def precision_specs(task: type[Task], precision: Precision, n_seeds: int) -> list[RunSpec]:
    """The quick scale's wide random transformers of a task, in a precision."""
    budget = SCALES["quick"].budget_of(task)
    return [
        dataclasses.replace(spec, training=dataclasses.replace(spec.training, precision=precision))
        for spec in budget.runs(budget.wide, "embeddings", range(n_seeds))
    ]


def differences(table: pl.DataFrame) -> pl.DataFrame:
    """One row per task and site: the largest change that bfloat16 makes to a seed, beside what seeds change."""
    values = ("test_accuracy", "share_principal_components", "share_coordinates")
    key = ["task", "site"]
    by_seed = table.pivot("precision", index=[*key, "seed"], values=values)
    of_seeds = [
        (pl.col(f"{name}_float32").max() - pl.col(f"{name}_float32").min()).alias(f"{name}_over_seeds")
        for name in values
    ]
    of_precision = [
        (pl.col(f"{name}_bfloat16") - pl.col(f"{name}_float32")).abs().max().alias(f"{name}_over_precisions")
        for name in values
    ]
    counted = pl.len().alias("n_seeds")
    return by_seed.group_by(key, maintain_order=True).agg(counted, *of_precision, *of_seeds)
