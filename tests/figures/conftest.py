"""A scale of models that train in a second, and a store with its runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus_references import made_up_corpus

from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_transformers import FIGURES, PAPER
from rtinterp.papers.random_transformers.budgets import ImitationBudget, LanguageBudget, Scale, TaskBudget
from rtinterp.papers.random_transformers.scales import MEMORIZATION_IN_CODE, SCALES
from rtinterp.store import RunStore
from rtinterp.store.training import train
from rtinterp.tasks import (
    Corpus,
    DecimalAddition,
    Memorization,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)
from rtinterp.training.run import Run
from rtinterp.training.spec import TrainSpec

TINY = "tiny"
N_SEEDS = 2
TRAINING = TrainSpec(n_steps=3, batch_size=16, n_warmup_steps=1, steps_per_evaluation=2)


@pytest.fixture(scope="session", autouse=True)
def tiny_scale() -> Iterator[str]:
    tasks = (ModularAddition(p=13), NeedleInAHaystack(4, 16), DecimalAddition(2), ParenthesisBalancing(5))
    SCALES[TINY] = Scale(
        algorithmic=tuple(tiny_budget(task) for task in tasks),
        memorization=tiny_budget(Memorization(n_keys=6)).with_training(**MEMORIZATION_IN_CODE),
        imitation=ImitationBudget((4, 8), 5, 16, ModelSpec(16, n_layers=3), TRAINING, TRAINING),
        language=LanguageBudget(300, 16, (8, 16), (2, 3), 4, TRAINING, TRAINING),
    )
    yield TINY
    del SCALES[TINY]


def tiny_budget(task: Task) -> TaskBudget:
    return TaskBudget(task, (16, 24), TRAINING, TRAINING, TRAINING)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """The made-up text of the language models, which the task opens."""
    return made_up_corpus()


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> RunStore:
    """Every run that a figure needs."""
    store = RunStore(tmp_path_factory.mktemp("runs"))
    specs = [spec for figure in FIGURES.values() for spec in PAPER.specs(figure, TINY, N_SEEDS, corpus)]
    train(specs, store=store, device="cpu", progress=False)
    return store


@pytest.fixture
def runs_of(tiny_store: RunStore, corpus: Corpus):
    def load(name: str) -> list[Run]:
        return [tiny_store.load(spec.run_id) for spec in PAPER.specs(FIGURES[name], TINY, N_SEEDS, corpus)]

    return load


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "figures"
