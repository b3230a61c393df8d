from __future__ import annotations

import time
from pathlib import Path

import pytest
from store_references import tiny_spec

from rtinterp.store import RunStore
from rtinterp.store.training import train
from rtinterp.training.run import Run


@pytest.fixture(scope="session")
def runs() -> dict[str, Run]:
    """A finished run of each kind; do not modify."""
    specs = [tiny_spec("embeddings"), tiny_spec("all", seed=1), tiny_spec("token_embedding+unembedding")]
    return {run.spec.trainable: run for run in train(specs, device="cpu", progress=False)}


@pytest.fixture(scope="session")
def keeping() -> Run:
    """A finished run that has kept steps; do not modify."""
    return train(tiny_spec(seed=2, kept_steps=(0, 1, 2)), device="cpu", progress=False)


@pytest.fixture
def store(tmp_path: Path, runs: dict[str, Run]) -> RunStore:
    """All of the runs, saved."""
    store = RunStore(tmp_path / "runs")
    for run in runs.values():
        store.save(run)
    return store


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What ``time.monotonic`` returns is its only element."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now
