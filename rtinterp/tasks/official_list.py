"""Test sets that are the official code's lists, at the paper's parameters."""

from __future__ import annotations

import abc
import functools
import random
from collections.abc import Callable

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks.base import FIXED_SEED, N_TEST_SEQUENCES
from rtinterp.tasks.batch import Batch
from rtinterp.tasks.held_out import HeldOutTask, row_hash


class OfficialListTask(HeldOutTask):
    """A task whose test set is the official 4000 sequences at the paper's parameters, and held out by hash at others.

    What is on the list, training rejects; membership is looked up by a sequence's 64-bit hash.
    """

    @abc.abstractmethod
    def _official_row(self) -> Callable[[random.Random], list[int]] | None:
        """The official code's draw of one row, at the paper's parameters; None at any other."""

    def is_held_out(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        """True for rows kept out of the training stream; ``tokens`` are whole rows, padding included."""
        if self._official_row() is None:
            return super().is_held_out(tokens)
        hashes, listed = row_hash(tokens), _listed_hashes(self, tokens.device)
        return listed[torch.searchsorted(listed, hashes).clamp(max=len(listed) - 1)] == hashes

    def test_set(self) -> Batch:
        """The fixed test sequences, on the CPU: the same on every machine and for every seed.

        The official 4000 at the paper's parameters, else as ``HeldOutTask`` has them. The batch is cached and shared
        between callers: do not modify its tensors.
        """
        return super().test_set() if self._official_row() is None else _listed(self)

    def _n_more(self, n: int) -> int:
        return super()._n_more(n) if self._official_row() is None else 0

    def _floor_sample(self) -> Batch:
        """The sequences floors are measured on: at the paper's parameters, all that the official code draws.

        The training stream lacks the short ones there, most of which are in the test set.
        """
        return super()._floor_sample() if self._official_row() is None else self._batch(self._draw_for_floors())


@functools.cache
def _listed(task: OfficialListTask) -> Batch:
    official_row = task._official_row()
    assert official_row is not None
    rng = random.Random(FIXED_SEED)
    rows = [official_row(rng) for _ in range(N_TEST_SEQUENCES)]
    rng.shuffle(rows)
    return task._batch(torch.tensor(rows))


@functools.cache
def _listed_hashes(task: OfficialListTask, device: torch.device) -> Int64[Tensor, " rows"]:
    return row_hash(_listed(task).tokens).sort().values.to(device)
