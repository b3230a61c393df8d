"""Parenthesis balancing: a string of parentheses, then whether it is balanced."""

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
from rtinterp.tasks import floors, parenthesis_strings
from rtinterp.tasks.base import SparePositions
from rtinterp.tasks.chosen_test_rows import TestRows
from rtinterp.tasks.official_list import OfficialListTask
from rtinterp.tasks.parenthesis_causal_model import ParenthesisCausalModel
from rtinterp.tasks.parenthesis_strings import CLOSE, OPEN


@strict(repr=False)
class ParenthesisBalancing(OfficialListTask, SparePositions, ParenthesisCausalModel):
    """A string of parentheses, "?", then the scored answer (paper section 3 and the official generator).

    A third of the strings are uniform noise of 1 to 2 max_pairs symbols; the others start out balanced, with 1 to
    max_pairs pairs, and most of those are then damaged by swaps and flips. The answer is the token of ")" for a
    balanced string and of "(" for any other. At other than the paper's size only strings of at least max_pairs
    symbols are held out: shorter ones are so common that a single one could be a quarter of the test set.

    Args:
        max_pairs: the most pairs of a balanced string, 30 in the paper.
        test_rows: which rows are tested: "official", "distinct", "drawn" or "validation"; unless given, the official
            list at the paper's parameters, elsewhere distinct held-out rows.

    Raises:
        ValueError: if max_pairs is not an int from 3 to 200; below 3 the test set would hold no
            balanced string. Below about 10 it has few distinct ones, and the commonest makes up much of it.
    """

    name: ClassVar[str] = "parenthesis_balancing"
    n_spare_positions: ClassVar[int] = 17
    PAD: ClassVar[int] = 0
    OPEN: ClassVar[int] = OPEN
    CLOSE: ClassVar[int] = CLOSE
    QUERY: ClassVar[int] = 3
    UNBALANCED: ClassVar[int] = OPEN
    BALANCED: ClassVar[int] = CLOSE
    pad_token: ClassVar[int | None] = PAD
    official_parameters: ClassVar[Mapping[str, int]] = {"max_pairs": 30}

    max_pairs: Annotated[int, Field(ge=3, le=200)] = 30
    test_rows: TestRows | None = dataclasses.field(default=None, kw_only=True)

    @property
    def d_vocab(self) -> int:
        return self.QUERY + 1

    @property
    def sequence_length(self) -> int:
        return 2 * self.max_pairs + 3

    def sequence(self, string: str) -> Int64[Tensor, " pos"]:
        """The padded sequence of one string, answer included.

        Raises:
            ValueError: if ``string`` is empty, too long or not made of parentheses.
        """
        if not 1 <= len(string) <= 2 * self.max_pairs or set(string) - set("()"):
            raise ValueError(f"give 1 to {2 * self.max_pairs} parentheses, got {string!r}")
        symbols = torch.full((1, 2 * self.max_pairs), OPEN)
        symbols[0, : len(string)] = torch.tensor([OPEN if symbol == "(" else CLOSE for symbol in string])
        return self._rows(symbols, torch.tensor([len(string)]))[0]

    def query_position(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]:
        """Where ``?`` stands, which is also the length of the string; the prediction there is the scored one."""
        return self._scored(tokens).int().argmax(dim=1)

    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        return self._rows(*parenthesis_strings.draw(self.max_pairs, n, generator))

    def _rows(
        self, symbols: Int64[Tensor, "batch symbol"], length: Int64[Tensor, " batch"]
    ) -> Int64[Tensor, "batch pos"]:
        """Token rows of strings, with the right answers."""
        answer = torch.where(parenthesis_strings.is_balanced(symbols, length), self.BALANCED, self.UNBALANCED)
        end = length[:, None]
        tokens = torch.nn.functional.pad(symbols, (0, self.sequence_length - symbols.shape[1]))
        tokens.masked_fill_(torch.arange(self.sequence_length, device=tokens.device) >= end, self.PAD)
        return tokens.scatter_(1, end, self.QUERY).scatter_(1, end + 1, answer[:, None])

    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        return tokens == self.QUERY

    def _may_be_held_out(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        if self._tests_the_list:  # which has short ones
            return super()._may_be_held_out(tokens)
        return self.query_position(tokens) >= self.max_pairs

    def _draw_officially(self, rng: random.Random) -> list[int]:
        return self.sequence(parenthesis_strings.draw_officially(self.max_pairs, rng)).tolist()

    def _label(self, token: int) -> str:
        return {self.PAD: "pad", OPEN: "(", CLOSE: ")", self.QUERY: "?"}[token]

    def _labels(self, tokens: list[int]) -> list[str]:
        """After the query a parenthesis is an answer."""
        labels = super()._labels(tokens)
        answer = tokens.index(self.QUERY) + 1 if self.QUERY in tokens else len(tokens)
        return labels[:answer] + [{"(": "no", ")": "yes"}.get(label, label) for label in labels[answer:]]

    def floors(self) -> dict[str, float]:
        """The more frequent answer, the best guess from length and end symbols, and comparing counts alone."""
        return dict(_floors(self))


@cache
def _floors(task: ParenthesisBalancing) -> dict[str, float]:
    batch = task._floor_sample()
    answer = batch.scored_targets
    length = task.query_position(batch.tokens)
    first, last = batch.tokens[:, 0], batch.tokens.gather(1, length[:, None] - 1).squeeze(1)
    context = (length * task.d_vocab + first) * task.d_vocab + last
    in_string = torch.arange(task.sequence_length) < length[:, None]
    counts = [((batch.tokens == symbol) & in_string).sum(dim=1) for symbol in (OPEN, CLOSE)]
    same_count = torch.where(counts[0] == counts[1], task.BALANCED, task.UNBALANCED)
    return {
        "majority": floors.best_guess_accuracy(torch.zeros_like(answer), answer),
        "length, first and last symbol": floors.best_guess_accuracy(context, answer),
        "equal counts": floors.accuracy(same_count, answer),
    }
