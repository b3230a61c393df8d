"""Memorization: a fixed random label for every pair of keys."""

from __future__ import annotations

import functools
import random
from typing import Annotated, ClassVar

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws
from rtinterp.tasks.base import FIXED_SEED, SparePositions, check_sample_size
from rtinterp.tasks.batch import Batch


@strict
class Memorization(SparePositions):
    """[x, y, label]; the label is scored, and test set and training set are the same (paper section 3).

    First keys and labels share the tokens 0 .. n_keys - 1; second keys are n_keys .. 2 n_keys - 1. Labels are
    uniform and drawn once, by the official code's fixed seed.

    Args:
        n_keys: number of first keys, of second keys and of labels, 512 in the paper.

    Raises:
        ValueError: if n_keys is not an int from 2 to 2048.
    """

    name: ClassVar[str] = "memorization"
    n_spare_positions: ClassVar[int] = 2

    n_keys: Annotated[int, Field(ge=2, le=2048)] = 512

    @property
    def d_vocab(self) -> int:
        return 2 * self.n_keys

    @property
    def sequence_length(self) -> int:
        return 3

    def rows(self, pairs: Int64[Tensor, " batch"]) -> Batch:
        """The sequences of given pairs, on their device: ``i`` is ``x = i % n_keys``, ``y = n_keys + i // n_keys``."""
        x, y = pairs % self.n_keys, self.n_keys + pairs // self.n_keys
        tokens = torch.stack([x, y, _labels(self.n_keys, pairs.device)[pairs]], dim=1)
        scored = torch.arange(self.sequence_length, device=pairs.device) == 1
        return Batch(tokens, scored.repeat(len(tokens), 1))

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """Draw ``n`` pairs, uniformly and with replacement, on the generator's device.

        Raises:
            ValueError: if ``n`` is less than 1.
        """
        check_sample_size(n)
        return self.rows(draws.uniform(0, self.n_keys**2 - 1, (n,), generator))

    def test_set(self) -> Batch:
        """All n_keys^2 sequences, ``x`` fastest, on the CPU: what is memorized is what is tested.

        The batch is cached and shared between callers: do not modify its tensors.
        """
        return _test_set(self)

    def _label(self, token: int) -> str:
        return str(token) if token < self.n_keys else f"y{token - self.n_keys}"

    def floors(self) -> dict[str, float]:
        """``chance``: one label in n_keys."""
        return {"chance": 1 / self.n_keys}


@functools.cache
def _labels(n_keys: int, device: torch.device) -> Int64[Tensor, " pair"]:
    rng = random.Random(FIXED_SEED)
    return torch.tensor([rng.randint(0, n_keys - 1) for _ in range(n_keys**2)], device=device)


@functools.cache
def _test_set(task: Memorization) -> Batch:
    return task.rows(torch.arange(task.n_keys**2))
