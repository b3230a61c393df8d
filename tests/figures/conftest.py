"""A scale of models that train in a second, and a store with its runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rtinterp import experiments
from rtinterp.experiments import Experiment
from rtinterp.figures import FIGURES
from rtinterp.store import RunStore
from rtinterp.tasks import DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing
from rtinterp.training.run import Run
from rtinterp.training.spec import TrainSpec

TINY = "tiny"
N_SEEDS = 2
TRAINING = TrainSpec(n_steps=3, batch_size=16, n_warmup_steps=1, steps_per_evaluation=2)


@pytest.fixture(scope="session", autouse=True)
def tiny_scale() -> Iterator[str]:
    tasks = (ModularAddition(p=13), NeedleInAHaystack(4, 16), DecimalAddition(2), ParenthesisBalancing(5))
    experiments.SCALES[TINY] = tuple(Experiment(task, (16, 24), TRAINING, TRAINING) for task in tasks)
    yield TINY
    del experiments.SCALES[TINY]


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """Every run that a figure needs."""
    store = RunStore(tmp_path_factory.mktemp("runs"))
    specs = [spec for figure in FIGURES.values() for spec in figure.specs(TINY, N_SEEDS)]
    store.train_missing(specs, device="cpu", progress=False)
    return store


@pytest.fixture
def runs_of(tiny_store: RunStore):
    def load(name: str) -> list[Run]:
        return [tiny_store.load(spec.run_id) for spec in FIGURES[name].specs(TINY, N_SEEDS)]

    return load


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "figures"
