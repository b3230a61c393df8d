"""The training stream: endless, never a test sequence, never the same block twice."""

from __future__ import annotations

import hashlib

import pytest
import torch
from training_references import CPU, TASKS

from rtinterp.tasks import DecimalAddition, Memorization, Task
from rtinterp.training.stream import BLOCK_SEQUENCES, TrainingStream, stream_seed

#: So many sequences exist that none comes up twice by chance.
LARGE = DecimalAddition(n_digits=9)

#: sha256 of the first 300 batches of 16 sums of 3 digits, as uint8.
STREAM_OF_SEED_5 = "ec887eba7bc402bf40e3a6aa35f50a46b7199f21aaad234e284a0759d0a6da4c"


def take(task: Task, n_batches: int, batch_size: int, seed: int = 0) -> torch.Tensor:
    stream = TrainingStream(task, batch_size, seed, CPU)
    batches = [stream.next_batch() for _ in range(n_batches)]
    assert [len(batch) for batch in batches] == [batch_size] * n_batches
    return torch.cat([batch.tokens for batch in batches])


def rows(tokens: torch.Tensor) -> set[tuple[int, ...]]:
    return set(map(tuple, tokens.tolist()))


@pytest.mark.parametrize("task", [task for task in TASKS if not isinstance(task, Memorization)], ids=lambda t: t.name)
def test_no_test_sequence_is_trained_on(task: Task) -> None:
    trained = rows(take(task, 3, 5000))
    assert len(trained) > 50
    assert not trained & rows(task.test_set().tokens)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 9, 20])
def test_no_sequence_repeats_across_blocks(monkeypatch: pytest.MonkeyPatch, batch_size: int) -> None:
    monkeypatch.setattr("rtinterp.training.stream.BLOCK_SEQUENCES", {"cpu": 8})
    assert len(rows(take(LARGE, 60, batch_size))) == 60 * batch_size


def test_no_sequence_repeats_across_blocks_of_the_real_size() -> None:
    n_batches = 2 * BLOCK_SEQUENCES["cpu"] // 1000 + 3
    assert len(rows(take(LARGE, n_batches, 1000))) == 1000 * n_batches


def test_the_stream_is_a_function_of_its_seed() -> None:
    assert torch.equal(take(LARGE, 5, 100, seed=3), take(LARGE, 5, 100, seed=3))
    assert not rows(take(LARGE, 5, 100, seed=3)) & rows(take(LARGE, 5, 100, seed=4))
    assert len({stream_seed(seed) for seed in range(1000)}) == 1000


def test_the_stream_of_a_seed_stays_what_it_was() -> None:
    """On every machine, with any version of torch: a stored run is remade from it."""
    tokens = take(DecimalAddition(n_digits=3), 300, 16, seed=5).to(torch.uint8)
    assert hashlib.sha256(tokens.numpy().tobytes()).hexdigest() == STREAM_OF_SEED_5


def test_tokens_and_scored_positions_stay_together() -> None:
    stream = TrainingStream(TASKS[3], 7, 0, CPU)
    for _ in range(5):
        batch = stream.next_batch()
        assert torch.equal(batch.scored, batch.tokens == TASKS[3].QUERY)
