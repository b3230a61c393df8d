"""Tasks on sequences of vectors: read the terms so far, and say the next one at every position."""

from __future__ import annotations

import abc
import functools
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.tasks.base import FIXED_SEED, N_TEST_SEQUENCES, LossName, Reads, Task, check_sample_size
from rtinterp.tasks.batch import Batch


class SequenceTask(Task):
    """A task whose sequences are drawn anew each time from a continuous law, and of which every next term is scored.

    A subclass has a ``dimension`` and a number of terms, ``n_terms``, and draws them. The last term is only expected,
    so a sequence has a position less than terms. Test sequences are drawn by a seed of their own: that training meets
    one of them has probability 0.
    """

    loss: ClassVar[LossName] = "mean_squared_error"
    reads: ClassVar[Reads] = "values"

    dimension: int
    n_terms: int

    @property
    def d_vocab(self) -> int:
        """The dimension of the terms: rows of W_E, columns of W_U."""
        return self.dimension

    @property
    def sequence_length(self) -> int:
        return self.n_terms - 1

    @abc.abstractmethod
    def terms(self, n: int, generator: torch.Generator) -> Float[Tensor, "batch term dimension"]:
        """Draw the terms of ``n`` sequences, on the generator's device."""

    def batch(self, terms: Float[Tensor, "batch term dimension"]) -> Batch:
        """Make the batch that reads all terms but the last, and expects all but the first.

        Args:
            terms: of this task or of a law of one's own; fewer of them make a shorter batch.

        Raises:
            ValueError: there are not two terms at least, they have another dimension, or one is not a number.
        """
        if terms.ndim != 3 or terms.shape[1] < 2 or terms.shape[2] != self.dimension:
            raise ValueError(f"terms have the shape {list(terms.shape)}; pass [batch, 2 or more, {self.dimension}]")
        terms = terms.float()
        scored = torch.ones(terms.shape[0], terms.shape[1] - 1, dtype=torch.bool, device=terms.device)
        return Batch(terms[:, :-1], scored, terms[:, 1:])

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        check_sample_size(n)
        return self.batch(self.terms(n, generator))

    def test_set(self) -> Batch:
        return _test_set(self)


@functools.lru_cache(maxsize=8)
def _test_set(task: SequenceTask) -> Batch:
    return task.batch(task.terms(N_TEST_SEQUENCES, torch.Generator().manual_seed(FIXED_SEED)))
