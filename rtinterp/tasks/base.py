"""What a task is: a distribution of token sequences of which some predictions are scored."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

N_TEST_SEQUENCES = 4000

#: Seed of every fixed choice: the official code calls ``random.seed(12345)`` before it builds a data set.
FIXED_SEED = 12345


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

    #: Rows of the positional embedding that no token ever reaches; the official code has them.
    n_spare_positions: ClassVar[int]

    #: The token that fills a sequence up to ``sequence_length``; None where every sequence is full.
    pad_token: ClassVar[int | None] = None

    @property
    @abc.abstractmethod
    def d_vocab(self) -> int:
        """Number of token ids, used or not."""

    @property
    @abc.abstractmethod
    def sequence_length(self) -> int:
        """Tokens per sequence, padding included: the ``pos`` axis of every Batch."""

    @property
    def n_ctx(self) -> int:
        """Rows of the positional embedding; the official code has spare ones."""
        return self.sequence_length + self.n_spare_positions

    @abc.abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """Draw ``n`` training sequences, none of them in the test set, on the generator's device.

        The same generator state gives the same batch on the same kind of device; torch's global generator is
        neither read nor moved. Memorization alone trains on its test set.

        Raises:
            ValueError: if ``n`` is less than 1.
        """

    @abc.abstractmethod
    def test_set(self) -> Batch:
        """The fixed test sequences, on the CPU: the same on every machine and for every seed.

        The batch is cached and shared between callers: do not modify its tensors.
        """

    @abc.abstractmethod
    def _label(self, token: int) -> str:
        """The printed form of a token id that is known to be in the vocabulary."""

    def token_label(self, token: int) -> str:
        """The printed form of one token id, without spaces, as for an axis label.

        Raises:
            ValueError: if ``token`` is not in ``[0, d_vocab)``.
        """
        token = int(token)
        if not 0 <= token < self.d_vocab:
            raise ValueError(f"token {token} is not in the vocabulary of {self.name}: 0 to {self.d_vocab - 1}")
        return self._label(token)

    def decode(self, tokens: Int64[Tensor, " pos"]) -> str:
        """Render one sequence as text, one label per token, separated by spaces; padding is dropped.

        Raises:
            ValueError: if ``tokens`` is not one-dimensional or holds an id outside the vocabulary.
        """
        if tokens.ndim != 1:
            raise ValueError(f"decode takes one sequence, tokens of shape [pos], got shape {list(tokens.shape)}")
        labels = [(token, self.token_label(token)) for token in tokens.tolist()]
        return " ".join(label for token, label in labels if token != self.pad_token)

    @abc.abstractmethod
    def floors(self) -> dict[str, float]:
        """Accuracies, in [0, 1], that need no understanding: chance and simple heuristics."""


def check_sample_size(n: int) -> None:
    """Raise ValueError unless ``n`` sequences can be drawn."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
