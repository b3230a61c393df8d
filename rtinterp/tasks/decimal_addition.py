"""Decimal addition: two numbers of the same length, least significant digit first, then their sum."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from functools import cache
from typing import Annotated, ClassVar

import torch
from jaxtyping import Bool, Int64
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws, floors
from rtinterp.tasks.base import SparePositions
from rtinterp.tasks.batch import Batch
from rtinterp.tasks.chosen_test_rows import TestRows
from rtinterp.tasks.decimal_causal_model import DecimalCausalModel
from rtinterp.tasks.official_list import OfficialListTask

BASE = 10


@strict(repr=False)
class DecimalAddition(OfficialListTask, SparePositions, DecimalCausalModel):
    """A sum "a + b = sum ." with numbers written least significant digit first (paper section 3).

    Both numbers are uniform among those of n_digits digits, no leading zero. Digits of the sum have tokens of
    their own. The sum has n_digits or n_digits + 1 digits; the row is padded to the longer. As in the official code a
    prediction is scored where the *current* token belongs to the answer, so the first digit of the sum is neither
    trained nor scored, and n_digits + 1 predictions are: one of them is the pad after the stop of a shorter sum.

    Args:
        n_digits: digits of each summand, 10 in the paper. At most 18, the most whose sum int64 holds.
        score_first_digit: also score the prediction at "=". Tokens and test set stay the same.
        test_rows: which rows are tested: "official", "distinct", "drawn" or "validation"; unless given, the official
            list at the paper's parameters, elsewhere distinct held-out rows.

    Raises:
        ValueError: if n_digits is not an int from 2 to 18; one digit makes only 81 sequences.
    """

    name: ClassVar[str] = "decimal_addition"
    n_spare_positions: ClassVar[int] = 6
    PLUS: ClassVar[int] = 10
    EQUALS: ClassVar[int] = 11
    PAD: ClassVar[int] = 12
    OUTPUT_ZERO: ClassVar[int] = 20
    STOP: ClassVar[int] = 30
    pad_token: ClassVar[int | None] = PAD
    official_parameters: ClassVar[Mapping[str, int]] = {"n_digits": 10}

    n_digits: Annotated[int, Field(ge=2, le=18)] = 10
    score_first_digit: bool = False
    test_rows: TestRows | None = dataclasses.field(default=None, kw_only=True)

    @property
    def d_vocab(self) -> int:
        return self.STOP + 1

    @property
    def sequence_length(self) -> int:
        return 3 * self.n_digits + 4

    @property
    def equals_position(self) -> int:
        """Where ``=`` stands; the first digit of the sum is predicted there."""
        return 2 * self.n_digits + 1

    @property
    def n_outputs(self) -> int:
        """Tokens after ``=``, stop and padding included."""
        return self.sequence_length - self.equals_position - 1

    @property
    def n_scored(self) -> int:
        """Scored predictions in each sequence."""
        return self.n_outputs if self.score_first_digit else self.n_outputs - 1

    def sequence(self, a: int, b: int) -> Int64[Tensor, " pos"]:
        """The padded sequence of one sum, answer included.

        Raises:
            ValueError: if a summand does not have n_digits digits.
        """
        for number in (a, b):
            if number < 0 or len(str(number)) != self.n_digits:
                raise ValueError(f"summands have {self.n_digits} digits, got {number}")
        digits = torch.tensor([[int(digit) for digit in reversed(str(number))] for number in (a, b)])
        return self._rows(digits[:1], digits[1:])[0]

    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        # Digit by digit: whole numbers would need one wide draw, which torch versions do not all reduce alike.
        digits = draws.uniform(0, BASE - 1, (2, n, self.n_digits), generator)
        digits[:, :, -1] = draws.uniform(1, BASE - 1, (2, n), generator)
        return self._rows(digits[0], digits[1])

    def _rows(self, a: Int64[Tensor, "batch digit"], b: Int64[Tensor, "batch digit"]) -> Int64[Tensor, "batch pos"]:
        """Token rows of the sums of digits, least significant first."""
        place = torch.tensor([BASE**i for i in range(self.n_digits + 1)], device=a.device)
        total = ((a + b) * place[:-1]).sum(dim=1, keepdim=True)
        output = total // place % BASE + self.OUTPUT_ZERO
        is_longer = total >= BASE**self.n_digits
        output[:, -1:].masked_fill_(~is_longer, self.STOP)
        after = torch.where(is_longer, self.STOP, self.PAD)
        plus, equals = torch.full_like(total, self.PLUS), torch.full_like(total, self.EQUALS)
        return torch.cat([a, plus, b, equals, output, after], dim=1)

    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        position = torch.arange(self.sequence_length, device=tokens.device)
        first = self.sequence_length - 1 - self.n_scored
        return ((position >= first) & (position < self.sequence_length - 1)).repeat(len(tokens), 1)

    def _draw_officially(self, rng: random.Random) -> list[int]:
        summands = []
        for _ in range(2):
            # The official code draws a length, whose bounds are equal; the draw still consumes random bits.
            n_digits = rng.randint(self.n_digits, self.n_digits)
            summands.append(rng.randint(BASE ** (n_digits - 1), BASE**n_digits - 1))
        return self.sequence(*summands).tolist()

    def _label(self, token: int) -> str:
        symbols = {self.PLUS: "+", self.EQUALS: "=", self.PAD: "pad", self.STOP: "."}
        if token in symbols:
            return symbols[token]
        if token < BASE:
            return str(token)
        return str(token - self.OUTPUT_ZERO) if token >= self.OUTPUT_ZERO else f"unused{token}"

    def floors(self) -> dict[str, float]:
        """Guessing one of the twelve possible answers; and two heuristics, on the test rows.

        "position and current token" answers what follows them most often in training. "addition without carries" adds
        the digits of each column and lets only the leading column carry.
        """
        return dict(_floors(self))


@cache
def _floors(task: DecimalAddition) -> dict[str, float]:
    batch = task.test_set()
    answer = batch.scored_targets
    trained, tested = (_contexts(task, one) for one in (task._training_sample(), batch))
    return {
        "chance": 1 / trained[1].unique().numel(),
        "position and current token": floors.best_guess_accuracy(trained, tested),
        "addition without carries": floors.accuracy(_add_without_carries(task, batch.tokens).flatten(), answer),
    }


def _contexts(task: DecimalAddition, batch: Batch) -> tuple[Int64[Tensor, " answers"], Int64[Tensor, " answers"]]:
    """Position and current token of every scored prediction, as one number, and its answer."""
    position = torch.arange(task.sequence_length).expand_as(batch.tokens)
    return (position * task.d_vocab + batch.tokens)[batch.scored], batch.scored_targets


def _add_without_carries(task: DecimalAddition, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch scored"]:
    """The scored answers of someone who forgets every carry but the last."""
    a, b = tokens[:, : task.n_digits], tokens[:, task.n_digits + 1 : task.equals_position]
    columns = a + b
    is_longer = columns[:, -1:] >= BASE
    one, stop = task.OUTPUT_ZERO + 1, task.STOP
    ending = torch.cat([torch.where(is_longer, one, stop), torch.where(is_longer, stop, task.PAD)], dim=1)
    return torch.cat([columns % BASE + task.OUTPUT_ZERO, ending], dim=1)[:, -task.n_scored :]
