"""What a task is: a distribution of token sequences of which some predictions are scored."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import ClassVar

import torch
from jaxtyping import Bool, Int64
from pydantic import ConfigDict
from torch import Tensor

from rtinterp.tasks.held_out import HeldOut

#: Every configuration in this package: immutable, exact types only, no unknown fields.
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

N_TEST_SEQUENCES = 4000


@dataclasses.dataclass(frozen=True)
class Batch:
    """Token sequences and the positions whose next-token prediction counts.

    Attributes:
        tokens: input and target tokens; position ``i`` predicts ``tokens[:, i + 1]``.
        scored: True where the prediction of the NEXT token enters loss and accuracy.
    """

    tokens: Int64[Tensor, "batch pos"]
    scored: Bool[Tensor, "batch pos"]

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        return Batch(self.tokens.to(device), self.scored.to(device))

    def __getitem__(self, rows: slice | Tensor) -> Batch:
        return Batch(self.tokens[rows], self.scored[rows])


class Task(abc.ABC):
    """A next-token prediction task (paper section 3). Subclasses are frozen pydantic dataclasses."""

    name: ClassVar[str]

    @property
    @abc.abstractmethod
    def d_vocab(self) -> int:
        """Number of token ids, used or not."""

    @property
    @abc.abstractmethod
    def sequence_length(self) -> int:
        """Tokens per sequence, padding included: the ``pos`` axis of every Batch."""

    @property
    @abc.abstractmethod
    def n_ctx(self) -> int:
        """Rows of the positional embedding; the official code has spare ones."""

    @abc.abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """Draw ``n`` training sequences, none of them in the test set, on the generator's device."""

    @abc.abstractmethod
    def test_set(self) -> Batch:
        """The fixed test sequences, on the CPU: the same on every machine and for every seed."""

    @abc.abstractmethod
    def decode(self, tokens: Int64[Tensor, " pos"]) -> str:
        """Render one sequence as text, one label per token, separated by spaces."""

    @abc.abstractmethod
    def floors(self) -> dict[str, float]:
        """Accuracies, in [0, 1], that need no understanding: chance and simple heuristics."""
