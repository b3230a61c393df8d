"""Runs that nobody trained, with the histories that a test gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition, Task
from rtinterp.training.environment import Environment
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, TrainSpec

MakeRun = Callable[..., Run]
TASK = ModularAddition(p=13)


@pytest.fixture
def make_run() -> MakeRun:
    def make(
        history: dict[str, list[float]],
        *,
        task: Task = TASK,
        d_model: int = 16,
        seed: int = 0,
        **training: Any,
    ) -> Run:
        training = {"n_steps": 20, "batch_size": 8, **training}
        spec = RunSpec(task, ModelSpec(d_model), TrainSpec(**training), "embeddings", seed)
        return Run(spec, {}, pl.DataFrame(history), "", Environment.__new__(Environment))

    return make
