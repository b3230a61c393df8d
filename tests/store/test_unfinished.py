"""What is in training, and what waits to be gone on with, is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_references import tiny_spec

from rtinterp.store import RunStore
from rtinterp.store.checkpoints import StackCheckpoints
from rtinterp.store.failures import Failure
from rtinterp.store.locks import Claim
from rtinterp.store.training import train
from rtinterp.training.checkpoint import Checkpoint, CheckpointFacts
from rtinterp.training.run import Run

STACK = [tiny_spec(seed=0), tiny_spec(seed=3)]
IDS = [spec.run_id for spec in STACK]


@pytest.fixture
def begun(tmp_path: Path) -> RunStore:
    """A store with a stack of which one checkpoint waits."""
    store = RunStore(tmp_path / "runs")
    checkpoints = StackCheckpoints(store.unfinished_folder, STACK)
    checkpoints.begin()
    for step in (1, 2):
        checkpoints.save(Checkpoint(CheckpointFacts(1, tuple(IDS), "cpu", step, (0, 0), 8, 8, 1.0, {}), {}))
    return store


def claimed(store: RunStore) -> Claim:
    claim = store.locks.claim(IDS, 4)
    assert isinstance(claim, Claim)
    return claim


def told(store: RunStore) -> list[tuple[object, ...]]:
    return [
        (run.spec, run.step, run.n_steps, run.train_loss, run.in_training is not None) for run in store.unfinished()
    ]


def test_a_checkpoint_waits_for_its_runs(begun: RunStore, runs: dict[str, Run]) -> None:
    assert told(begun) == [(spec, 2, 4, None, False) for spec in STACK]
    begun.save(runs["embeddings"])
    assert told(begun) == [(STACK[1], 2, 4, None, False)]
    begun.failures.record(Failure(STACK[1], 3, "nan", runs["embeddings"].environment))
    assert told(begun) == []


def test_what_is_in_training_says_how_far_it_is(begun: RunStore, runs: dict[str, Run]) -> None:
    with claimed(begun) as claim:
        assert told(begun) == [(spec, 2, 4, None, True) for spec in STACK], "the checkpoint, until it says more"
        claim.tell(3, 0.5)
        claim._write()
        assert told(begun) == [(spec, 3, 4, 0.5, True) for spec in STACK]
        for spec in STACK:
            begun.failures.record(Failure(spec, 3, "nan", runs["embeddings"].environment))
        assert [run.spec for run in begun.unfinished()] == STACK, "they are being tried again"
    assert told(begun) == []


def test_a_run_in_training_needs_no_checkpoint(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    StackCheckpoints(store.unfinished_folder, STACK).begin()
    assert told(store) == []
    with claimed(store):
        assert told(store) == [(spec, 0, 4, None, True) for spec in STACK]


def test_it_is_the_training_itself_that_tells(tmp_path: Path) -> None:
    store, seen = RunStore(tmp_path, checkpoint_minutes=0), []
    train(STACK, store=store, device="cpu", progress=False, on_evaluation=lambda _: seen.append(store.unfinished()))
    assert {(run.spec, run.in_training is not None) for runs in seen for run in runs} == {(s, True) for s in STACK}
    assert max(run.step for runs in seen for run in runs) == 3
    assert store.unfinished() == []
