"""Multiplication: two numbers, least significant digit first, then their product."""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, ClassVar, Literal

import pydantic
import torch
from jaxtyping import Bool, Int64
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws, floors
from rtinterp.tasks.batch import Batch
from rtinterp.tasks.distinct_test_rows import DistinctRowsTask
from rtinterp.tasks.held_out import check_distinct_sequences
from rtinterp.tasks.product_causal_model import BASE, ProductCausalModel

#: What can be answered: a digit or the stop.
N_ANSWERS = BASE + 1


@strict(repr=False)
class Multiplication(DistinctRowsTask, ProductCausalModel):
    """A product "a * b = product ." with numbers written least significant digit first, as decimal addition has them.

    Both factors are uniform among the numbers of so many digits, no leading zero. Digits of the product have tokens of
    their own. The product has as many digits as both factors or one less; the row is padded to the longer. All that
    follows "=" is scored, the stop included and padding not.

    Args:
        n_digits_a: digits of the first factor.
        n_digits_b: digits of the second factor.
        test_rows: which rows are tested: "distinct" held-out ones, also unless given, or "validation". Where both
            factors have as many digits, a product may be trained on with them exchanged.

    Raises:
        ValueError: if a parameter is not an int from 1 to 20, or both are 1: that makes only 81 sequences.
    """

    name: ClassVar[str] = "multiplication"
    TIMES: ClassVar[int] = 10
    EQUALS: ClassVar[int] = 11
    PAD: ClassVar[int] = 12
    OUTPUT_ZERO: ClassVar[int] = 13
    STOP: ClassVar[int] = 23
    pad_token: ClassVar[int | None] = PAD

    n_digits_a: Annotated[int, Field(ge=1, le=20)] = 4
    n_digits_b: Annotated[int, Field(ge=1, le=20)] = 2
    test_rows: Literal["distinct", "validation"] | None = dataclasses.field(default=None, kw_only=True)

    @pydantic.model_validator(mode="after")
    def _is_large_enough(self) -> Multiplication:
        n_each = [(BASE - 1) * BASE ** (n_digits - 1) for n_digits in (self.n_digits_a, self.n_digits_b)]
        check_distinct_sequences(n_each[0] * n_each[1], "use a larger n_digits_a or n_digits_b")
        return self

    @property
    def d_vocab(self) -> int:
        return self.STOP + 1

    @property
    def sequence_length(self) -> int:
        return 2 * (self.n_digits_a + self.n_digits_b) + 3

    @property
    def equals_position(self) -> int:
        """Where ``=`` stands; the first digit of the product is predicted there."""
        return self.n_digits_a + self.n_digits_b + 1

    def sequence(self, a: int, b: int) -> Int64[Tensor, " pos"]:
        """The padded sequence of one product, answer included.

        Raises:
            ValueError: if a factor does not have its number of digits.
        """
        for number, n_digits in ((a, self.n_digits_a), (b, self.n_digits_b)):
            if number < 1 or len(str(number)) != n_digits:
                raise ValueError(f"factors have {self.n_digits_a} and {self.n_digits_b} digits, got {a} and {b}")
        digits = (torch.tensor([[int(digit) for digit in reversed(str(number))]]) for number in (a, b))
        return self._rows(*digits)[0]

    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        factors = [draws.uniform(0, BASE - 1, (n, size), generator) for size in (self.n_digits_a, self.n_digits_b)]
        for factor in factors:
            factor[:, -1] = draws.uniform(1, BASE - 1, (n,), generator)
        return self._rows(*factors)

    def _rows(self, a: Int64[Tensor, "batch a_digit"], b: Int64[Tensor, "batch b_digit"]) -> Int64[Tensor, "batch pos"]:
        """Token rows of the products of digits, least significant first."""
        digits = _carried(_columns(a, b))
        is_longer = digits[:, -1:] > 0
        output = digits + self.OUTPUT_ZERO
        output[:, -1:].masked_fill_(~is_longer, self.STOP)
        after = torch.where(is_longer, self.STOP, self.PAD)
        times, equals = torch.full_like(after, self.TIMES), torch.full_like(after, self.EQUALS)
        return torch.cat([a, times, b, equals, output, after], dim=1)

    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        scored = torch.zeros_like(tokens, dtype=torch.bool)
        scored[:, self.equals_position : -1] = tokens[:, self.equals_position + 1 :] != self.PAD
        return scored

    def _label(self, token: int) -> str:
        if token >= self.OUTPUT_ZERO:
            return "." if token == self.STOP else str(token - self.OUTPUT_ZERO)
        return {self.TIMES: "*", self.EQUALS: "=", self.PAD: "pad"}.get(token, str(token))

    def floors(self) -> dict[str, float]:
        """A digit or the stop at random; the best guess from position and current token; and no carries.

        The second answers what is most frequent in training; the third forgets every carry but that of the two leading
        digits. Both are of the test rows.
        """
        return dict(_floors(self))


def _columns(
    a: Int64[Tensor, "batch a_digit"], b: Int64[Tensor, "batch b_digit"]
) -> Int64[Tensor, "batch product_digit"]:
    """What comes to stand in each column before anything is carried."""
    columns = torch.nn.functional.pad(torch.zeros_like(a), (0, b.shape[1]))
    for place in range(b.shape[1]):
        columns[:, place : place + a.shape[1]] += a * b[:, place : place + 1]
    return columns


def _carried(columns: Int64[Tensor, "batch product_digit"]) -> Int64[Tensor, "batch product_digit"]:
    """One digit in each column, and the rest handed on to the next."""
    digits, carry = torch.empty_like(columns), torch.zeros_like(columns[:, 0])
    for place in range(columns.shape[1]):
        total = columns[:, place] + carry
        digits[:, place], carry = total % BASE, total // BASE
    return digits


@functools.cache
def _floors(task: Multiplication) -> dict[str, float]:
    batch = task.test_set()
    trained, tested = (_contexts(task, one) for one in (task._training_sample(), batch))
    guess = _without_carries(task, batch.tokens)[batch.scored[:, task.equals_position : -1]]
    return {
        "chance": 1 / N_ANSWERS,
        "position and current token": floors.best_guess_accuracy(trained, tested),
        "multiplication without carries": floors.accuracy(guess, batch.scored_targets),
    }


def _contexts(task: Multiplication, batch: Batch) -> tuple[Int64[Tensor, " answers"], Int64[Tensor, " answers"]]:
    """Position and current token of every scored prediction, as one number, and its answer."""
    position = torch.arange(task.sequence_length).expand_as(batch.tokens)
    return (position * task.d_vocab + batch.tokens)[batch.scored], batch.scored_targets


def _without_carries(task: Multiplication, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch output"]:
    """The answers of someone who forgets every carry but that of the two leading digits."""
    columns = _columns(*task.factors(tokens))
    columns[:, -1] = columns[:, -2] // BASE
    columns[:, -1:].masked_fill_(columns[:, -1:] == 0, task.STOP - task.OUTPUT_ZERO)
    digits = torch.cat([columns[:, :-1] % BASE, columns[:, -1:]], 1) + task.OUTPUT_ZERO
    return torch.nn.functional.pad(digits, (0, 1), value=task.STOP)
