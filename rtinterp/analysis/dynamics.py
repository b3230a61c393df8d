"""What comes about when: any measure of a model over the kept steps of its training.

A run that was trained with ``TrainSpec(kept_steps=...)`` gives its models; so do other pairs of a step and a model,
such as those of a training loop of one's own, in the order of their steps::

    table = over_steps(models_of(run), lambda model: accuracy(model, test_set))
    distances_travelled(models_of(run))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import polars as pl
import torch
from torch import Tensor

from rtinterp.models.regimes import COMPONENT_GROUPS

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel
    from rtinterp.training.run import Run

#: A model at each of some steps, rising.
Models: TypeAlias = "Iterable[tuple[int, HookedModel]]"
#: What a measure gives: a number, numbers by name, or a table.
Measured: TypeAlias = float | Mapping[str, float] | pl.DataFrame


def models_of(run: Run) -> Iterator[tuple[int, HookedModel]]:
    """Build the model of a run at each kept step and at its last one, one at a time.

    Raises:
        ValueError: the run kept no step.
    """
    if not run.kept_steps:
        raise ValueError(f'{run.run_id} kept no step; train it with TrainSpec(kept_steps="log"), or steps of your own')
    for step in sorted({*run.kept_steps, run.last_step}):
        yield step, run.at(step).model


def over_steps(models: Models, measure: Callable[[HookedModel], Measured]) -> pl.DataFrame:
    """Measure a model at every step.

    Args:
        measure: of one model; a number becomes the column ``value``, numbers by name a column each, and the columns of
            a table stay.

    Returns:
        the column ``step``, then those of the measure; a row for every step, or as many as the measure's tables have.

    Raises:
        ValueError: no model, or steps that do not rise.
    """
    return pl.concat(
        _table(measure(model)).select(pl.lit(step, pl.Int64).alias("step"), pl.all()) for step, model in _rising(models)
    )


def distances_travelled(models: Models) -> pl.DataFrame:
    """Measure how far the tensors of each component group have gone from where they were at the first step.

    Returns:
        columns ``step``, ``group``, ``distance`` (Frobenius norm of the difference from the first step), ``relative``
        (to the norm at the first step; NaN for a group that began at zero) and ``path`` (sum of the distances between
        neighbouring steps, at least ``distance``).

    Raises:
        ValueError: no model, or steps that do not rise.
    """
    rows: list[tuple[int, str, float, float, float]] = []
    first: dict[str, Tensor] = {}
    before: dict[str, Tensor] = {}
    paths: dict[str, float] = {}
    for step, model in _rising(models):
        now = _by_group(model)
        first = first or now
        for group, values in now.items():
            paths[group] = paths.get(group, 0.0) + (values - before.get(group, values)).norm().item()
            distance, began = (values - first[group]).norm().item(), first[group].norm().item()
            rows.append((step, group, distance, distance / began if began else math.nan, paths[group]))
        before = now
    return pl.DataFrame(rows, schema=["step", "group", "distance", "relative", "path"], orient="row")


def first_step(table: pl.DataFrame, at_least: float, column: str = "value") -> int | None:
    """Find the first step from which on a value is reached at every later one too; None if it is not at the last.

    Args:
        table: a row for every step.

    Raises:
        ValueError: a step has several rows; filter the table first.
    """
    if table["step"].is_duplicated().any():
        raise ValueError("a step has several rows; filter the table down to one value a step")
    found = None
    for step, value in table.sort("step", descending=True).select("step", column).iter_rows():
        if not value >= at_least:
            break
        found = step
    return found


def _rising(models: Models) -> Iterator[tuple[int, HookedModel]]:
    last = None
    for step, model in models:
        if last is not None and step <= last:
            raise ValueError(f"step {step} comes after step {last}; pass models in the order of their steps")
        last = step
        yield step, model
    if last is None:
        raise ValueError("there is no model to measure; pass at least one step")


def _table(measured: Measured) -> pl.DataFrame:
    if isinstance(measured, pl.DataFrame):
        return measured
    return pl.DataFrame(measured if isinstance(measured, Mapping) else {"value": float(measured)})


def _by_group(model: HookedModel) -> dict[str, Tensor]:
    """All tensors of a component group that some regime trains, as one vector in double precision; a copy."""
    group_of: dict[str, str] = getattr(model, COMPONENT_GROUPS)
    tensors: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if name in group_of:
            tensors.setdefault(group_of[name], []).append(parameter.detach().double().flatten())
    return {group: torch.cat(flat) for group, flat in tensors.items()}
