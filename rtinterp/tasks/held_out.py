"""Which sequences are kept out of the training stream."""

from __future__ import annotations

import abc
import functools
import random
from collections.abc import Callable

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks.base import FIXED_SEED, N_TEST_SEQUENCES, Task, check_sample_size
from rtinterp.tasks.batch import Batch

#: One distinct sequence in this many is a test sequence, the share the paper uses for modular addition.
HELD_OUT_ODDS = 20

#: Which of the twentieths is for tests.
TEST_TWENTIETH = 0

#: A task with fewer distinct sequences could end up with an empty test set.
MIN_DISTINCT_SEQUENCES = 100

#: Training sequences from which a heuristic learns what is most frequent.
N_FLOOR_SEQUENCES = 100_000

#: Rounds of rejection before giving up; at these odds a second round is already rare.
MAX_ROUNDS = 100


class HeldOutTask(Task):
    """A task whose training stream is the full distribution minus the test set.

    A sequence belongs to the test set if its hash says so, which keeps training and test distributions alike even where
    the task has only a few hundred distinct sequences. Subclasses say how to draw from the full distribution and which
    predictions are scored.
    """

    @abc.abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        """Draw token rows from the full distribution, test sequences included."""

    @abc.abstractmethod
    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        """The scored positions of token rows."""

    def _may_be_held_out(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        """False for rows so common that, once held out, they would make up much of the test set."""
        return torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)

    def is_held_out(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        """True for rows kept out of the training stream; ``tokens`` are whole rows, padding included."""
        return self._is_in_twentieth(TEST_TWENTIETH, tokens)

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        check_sample_size(n)
        return self._batch(_draw_where(self, lambda rows: ~self.is_held_out(rows), n, n + self._n_more(n), generator))

    def test_set(self) -> Batch:
        """The fixed test sequences, on the CPU: the same on every machine and for every seed.

        They are 4000 draws from the task's distribution restricted to the held-out twentieth of its sequences; a
        sequence may come up more than once, as it does in training. The batch is cached and shared between callers: do
        not modify its tensors.
        """
        return rows_drawn_for_tests(self)

    def _is_in_twentieth(self, number: int, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        """True for rows of one of the twenty parts into which a hash divides those that may be held out."""
        return (row_hash(tokens) % HELD_OUT_ODDS == number) & self._may_be_held_out(tokens)

    def _n_more(self, n: int) -> int:
        """Rows to draw beyond ``n``, so that there are enough after rejection."""
        return n // 8 + 16

    def _batch(self, tokens: Int64[Tensor, "batch pos"]) -> Batch:
        return Batch(tokens, self._scored(tokens))

    def _training_sample(self) -> Batch:
        """Sequences that floors are fitted on, where there is something to fit: those that training draws."""
        return self.sample(N_FLOOR_SEQUENCES, torch.Generator().manual_seed(FIXED_SEED))


@functools.cache
def rows_drawn_for_tests(task: HeldOutTask) -> Batch:
    """4000 draws from what a task holds out, as ``HeldOutTask.test_set`` has them."""
    generator = torch.Generator().manual_seed(FIXED_SEED)
    n_per_round = N_TEST_SEQUENCES * HELD_OUT_ODDS
    return task._batch(_draw_where(task, task.is_held_out, N_TEST_SEQUENCES, n_per_round, generator))


def _draw_where(
    task: HeldOutTask,
    accept: Callable[[Int64[Tensor, "batch pos"]], Bool[Tensor, " batch"]],
    n: int,
    n_per_round: int,
    generator: torch.Generator,
) -> Int64[Tensor, "n pos"]:
    """The first ``n`` accepted rows of a stream drawn ``n_per_round`` rows at a time, then as few as are missing."""
    kept: list[Tensor] = []
    missing = n
    for _ in range(MAX_ROUNDS):
        rows = task._draw(n_per_round * missing // n + 1 if kept else n_per_round, generator)
        rows = rows[accept(rows)][:missing]
        kept.append(rows)
        missing -= len(rows)
        if missing == 0:
            return torch.cat(kept)
    raise ValueError(
        f"{task} has too few distinct sequences: after {MAX_ROUNDS} rounds of draws {missing} of {n} are still missing "
        "on this side of the train/test split; choose larger parameters"
    )


def check_distinct_sequences(n_distinct: int, fix: str) -> None:
    """Raise ValueError, naming the ``fix``, where a task is too small to hold sequences out."""
    if n_distinct < MIN_DISTINCT_SEQUENCES:
        raise ValueError(
            f"only {n_distinct} distinct sequences exist and at least {MIN_DISTINCT_SEQUENCES} are needed "
            f"to hold 1 in {HELD_OUT_ODDS} out for testing: {fix}"
        )


def row_hash(tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]:
    """A 64-bit hash of each row, the same on every device and machine.

    A sum with fixed odd weights, one per position, then the finaliser of splitmix64; int64 wraps around throughout.
    """
    mixed = (tokens * _hash_weights(tokens.shape[1], tokens.device)).sum(dim=1)
    mixed = (mixed ^ _shift_right(mixed, 30)) * _as_int64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ _shift_right(mixed, 27)) * _as_int64(0x94D049BB133111EB)
    return mixed ^ _shift_right(mixed, 31)


@functools.cache
def _hash_weights(n_positions: int, device: torch.device) -> Int64[Tensor, " pos"]:
    rng = random.Random(FIXED_SEED)
    return torch.tensor([_as_int64(rng.getrandbits(64) | 1) for _ in range(n_positions)], device=device)


def _shift_right(values: Int64[Tensor, " batch"], n_bits: int) -> Int64[Tensor, " batch"]:
    """Shift zeros in from the left, where ``>>`` on a signed integer copies the sign."""
    return (values >> n_bits) & ((1 << (64 - n_bits)) - 1)


def _as_int64(value: int) -> int:
    """Read 64 bits as a signed integer."""
    return value - (1 << 64) if value >> 63 else value
