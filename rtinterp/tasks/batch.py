"""Sequences, and which predictions on them count."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from rtinterp.cards import Token, card, sequences
from rtinterp.tasks.numbers import as_numbers

#: Of a card.
MAX_SEQUENCES, MAX_POSITIONS, MAX_NUMBERS = 4, 64, 3


@dataclasses.dataclass(frozen=True)
class Batch:
    """Sequences, the positions whose predictions count, and what is expected there.

    Attributes:
        tokens: what a model reads: token ids, or real-valued vectors.
        scored: True where the prediction enters loss and metrics.
        targets: what is expected at each position, whatever it be where nothing is scored: a token; or, as the task's
            loss has it, values, or log-probabilities of all tokens in nats. None where it is the next token.

    Whole numbers become int64 tensors, whatever type they have and whether a tensor, an array or a list holds them.
    All go to the device of ``tokens``.

    Raises:
        TypeError: tokens or targets are no numbers, or ``scored`` is not of truth values.
        ValueError: the shapes do not fit, values or targets are not numbers, or there is nothing that could be expected
            at a scored position.
    """

    tokens: Int64[Tensor, "batch pos"] | Float[Tensor, "batch pos dimension"]
    scored: Bool[Tensor, "batch pos"]
    targets: Int64[Tensor, "batch pos"] | Float[Tensor, "batch pos d_vocab_out"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", as_numbers(self.tokens, "tokens"))
        if self.targets is not None:
            object.__setattr__(self, "targets", as_numbers(self.targets, "targets").to(self.tokens.device))
        object.__setattr__(self, "scored", torch.as_tensor(self.scored).to(self.tokens.device))
        if self.scored.dtype != torch.bool:
            raise TypeError(f"scored is of {self.scored.dtype}; pass True where a prediction counts, False elsewhere")
        shape = self.tokens.shape
        if len(shape) != 2 + self.tokens.is_floating_point():
            raise ValueError(f"give token ids [batch pos] or float vectors [batch pos dimension], got {list(shape)}")
        for name in ("scored", "targets"):
            tensor = getattr(self, name)
            if tensor is not None and tensor.shape[:2] != shape[:2]:
                raise ValueError(f"{name} has shape {list(tensor.shape)}, which does not begin with {list(shape[:2])}")
        for name in ("tokens", "targets"):
            tensor = getattr(self, name)
            if tensor is not None and tensor.is_floating_point() and bool(tensor.isnan().any()):
                sequence, position = tensor.isnan().nonzero()[0, :2].tolist()
                raise ValueError(f"{name} of sequence {sequence} at position {position} are not numbers (NaN)")
        if self.targets is not None:
            return
        if self.tokens.is_floating_point():
            raise ValueError("no next token can be expected where inputs are vectors; pass targets")
        if bool(self.scored[:, -1].any()):
            raise ValueError("the last position is scored, but no token follows it; pass targets, or do not score it")

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        return self._with(lambda tensor: tensor.to(device))

    def __getitem__(self, rows: slice | Tensor) -> Batch:
        return self._with(lambda tensor: tensor[rows])

    def expected(self, n_pos: int) -> Shaped[Tensor, "batch n_pos ..."]:
        """What is expected at each of the first ``n_pos`` positions; without targets, at all but the last at most."""
        return self.tokens[:, 1 : n_pos + 1] if self.targets is None else self.targets[:, :n_pos]

    @property
    def scored_targets(self) -> Shaped[Tensor, "prediction ..."]:
        """What is expected at the scored positions, sequence after sequence."""
        expected = self.expected(self.scored.shape[1])
        return expected[self.scored[:, : expected.shape[1]]]

    def marked(self, row: int, labels: Callable[[list[int]], list[str]] | None = None) -> list[Token]:
        """One sequence as a card shows it.

        Args:
            labels: the printed forms of the token ids of a sequence; the ids themselves if None.
        """
        tokens, n_positions = self.tokens[row].tolist(), self.scored.shape[1]
        shown = map(_numbers if self.tokens.is_floating_point() else str, tokens) if labels is None else labels(tokens)
        has_answers = self.targets is not None and not self.targets.is_floating_point()
        expected = map(str, self.expected(n_positions)[row].tolist()) if has_answers else [""] * n_positions
        positions = zip(shown, self.scored[row].tolist(), expected, strict=True)
        return [Token(label, counts, answer if counts else "") for label, counts, answer in positions]

    def _repr_html_(self) -> str:
        n, n_positions = self.scored.shape
        title = f"Batch: {n:,} sequences of {n_positions} positions, {int(self.scored.sum()):,} predictions count"
        return card(title, sequences(self.marked(row)[:MAX_POSITIONS] for row in range(min(n, MAX_SEQUENCES))))

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch of changed tensors, which needs no check: this one had it."""
        batch = object.__new__(Batch)
        for name in ("tokens", "scored", "targets"):
            tensor = getattr(self, name)
            object.__setattr__(batch, name, None if tensor is None else change(tensor))
        return batch


def _numbers(vector: list[float]) -> str:
    more = ", …" if len(vector) > MAX_NUMBERS else ""
    return f"({', '.join(f'{number:.2g}' for number in vector[:MAX_NUMBERS])}{more})"
