"""Parenthesis balancing: a string of parentheses, then whether it is balanced."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Int64
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import bracket_kinds, floors, parenthesis_strings
from rtinterp.tasks.base import SparePositions
from rtinterp.tasks.batch import Batch
from rtinterp.tasks.chosen_test_rows import TestRows
from rtinterp.tasks.official_list import OfficialListTask
from rtinterp.tasks.parenthesis_causal_model import ParenthesisCausalModel
from rtinterp.tasks.parenthesis_strings import CLOSE, OPEN

#: Up to this length most strings are on the official list, the frequent ones among them.
MAX_SHORT_SYMBOLS = 6


@strict(repr=False)
class ParenthesisBalancing(OfficialListTask, SparePositions, ParenthesisCausalModel):
    """A string of parentheses, "?", then the scored answer (paper section 3 and the official generator).

    A third of the strings are uniform noise of 1 to 2 max_pairs symbols; the others start out balanced, with 1 to
    max_pairs pairs, and most of those are then damaged by swaps and flips. The answer is the token of ")" for a
    balanced string and of "(" for any other. At other than the paper's size only strings of at least max_pairs
    symbols are held out: shorter ones are so common that a single one could be a quarter of the test set.

    With several kinds of brackets, those that belong together get one of these at random, and half of the strings have
    the kinds of two closings exchanged that differ: a string is balanced if every bracket is closed by one of its kind
    (rtinterp/tasks/bracket_kinds.py). The tokens of one kind stay what they are.

    Args:
        max_pairs: the most pairs of a balanced string, 30 in the paper.
        test_rows: which rows are tested: "official", "distinct", "drawn" or "validation"; unless given, the official
            list at the paper's parameters, elsewhere distinct held-out rows.
        short_strings: what becomes of the official list's 384 strings of up to 6 symbols: "held out", as officially,
            which leaves training the rarest ones of such lengths, in one sequence of a hundred; or "trained on", and
            tested all the same, with the rest of the list held out.
        n_kinds: kinds of brackets, 1 in the paper; the official list is of that.

    Raises:
        ValueError: if max_pairs is not an int from 3 to 200, below which the test set would hold no balanced string
            and below about 10 of which it has few; if n_kinds is not one from 1 to 30; or if short strings are
            "trained on" without the official list.
    """

    name: ClassVar[str] = "parenthesis_balancing"
    n_spare_positions: ClassVar[int] = 17
    PAD: ClassVar[int] = 0
    OPEN: ClassVar[int] = OPEN
    CLOSE: ClassVar[int] = CLOSE
    QUERY: ClassVar[int] = bracket_kinds.QUERY
    UNBALANCED: ClassVar[int] = OPEN
    BALANCED: ClassVar[int] = CLOSE
    pad_token: ClassVar[int | None] = PAD
    official_parameters: ClassVar[Mapping[str, int]] = {"max_pairs": 30, "n_kinds": 1}

    max_pairs: Annotated[int, Field(ge=3, le=200)] = 30
    test_rows: TestRows | None = dataclasses.field(default=None, kw_only=True)
    short_strings: Literal["held out", "trained on"] = dataclasses.field(default="held out", kw_only=True)
    n_kinds: Annotated[int, Field(ge=1, le=bracket_kinds.MAX_KINDS)] = dataclasses.field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.short_strings == "trained on" and not self._tests_the_list:
            raise ValueError(
                "short_strings='trained on' is about the official list, whose max_pairs is 30 and n_kinds 1; elsewhere "
                "short strings are always trained on: leave it out"
            )

    @classmethod
    def when_absent(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Before there was a choice, nothing of the official list was trained on, and brackets were of one kind."""
        return {**super().when_absent({"n_kinds": 1, **fields}), "short_strings": "held out", "n_kinds": 1}

    @property
    def d_vocab(self) -> int:
        return self.QUERY + 1 + 2 * (self.n_kinds - 1)

    @property
    def sequence_length(self) -> int:
        return 2 * self.max_pairs + 3

    def sequence(self, string: str) -> Int64[Tensor, " pos"]:
        """The padded sequence of one string, answer included.

        Raises:
            ValueError: if ``string`` is empty, too long or not made of the task's kinds of brackets.
        """
        return self._rows(*bracket_kinds.parse(string, self.n_kinds, 2 * self.max_pairs))[0]

    def query_position(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]:
        """Where ``?`` stands, which is also the length of the string; the prediction there is the scored one."""
        return self._scored(tokens).int().argmax(dim=1)

    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        symbols, length = parenthesis_strings.draw(self.max_pairs, n, generator)
        if self.n_kinds == 1:
            return self._rows(symbols, torch.zeros_like(symbols), length)
        return self._rows(symbols, bracket_kinds.draw(symbols, length, self.n_kinds, generator), length)

    def _rows(
        self,
        symbols: Int64[Tensor, "batch symbol"],
        kinds: Int64[Tensor, "batch symbol"],
        length: Int64[Tensor, " batch"],
    ) -> Int64[Tensor, "batch pos"]:
        """Token rows of strings, with the right answers."""
        is_balanced = parenthesis_strings.is_balanced(symbols, length)
        if self.n_kinds > 1:
            is_balanced &= bracket_kinds.match(symbols, kinds, length)
        answer = torch.where(is_balanced, self.BALANCED, self.UNBALANCED)
        end = length[:, None]
        tokens = bracket_kinds.to_tokens(symbols, kinds)
        tokens = torch.nn.functional.pad(tokens, (0, self.sequence_length - symbols.shape[1]))
        tokens.masked_fill_(torch.arange(self.sequence_length, device=tokens.device) >= end, self.PAD)
        return tokens.scatter_(1, end, self.QUERY).scatter_(1, end + 1, answer[:, None])

    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        return tokens == self.QUERY

    def _may_be_held_out(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        if self._tests_the_list:  # which has short ones
            return super()._may_be_held_out(tokens)
        return self.query_position(tokens) >= self.max_pairs

    def _is_for_tests(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        is_for_tests = super()._is_for_tests(tokens)
        if self.short_strings == "trained on":
            return is_for_tests & (self.query_position(tokens) > MAX_SHORT_SYMBOLS)
        return is_for_tests

    def _draw_officially(self, rng: random.Random) -> list[int]:
        return self.sequence(parenthesis_strings.draw_officially(self.max_pairs, rng)).tolist()

    def _label(self, token: int) -> str:
        return {self.PAD: "pad", self.QUERY: "?"}.get(token) or bracket_kinds.label(token)

    def _labels(self, tokens: list[int]) -> list[str]:
        """After the query a parenthesis is an answer."""
        labels = super()._labels(tokens)
        answer = tokens.index(self.QUERY) + 1 if self.QUERY in tokens else len(tokens)
        return labels[:answer] + [{"(": "no", ")": "yes"}.get(label, label) for label in labels[answer:]]

    def floors(self) -> dict[str, float]:
        """Three heuristics, on the test rows; four if there are several kinds.

        "majority" is the answer that is more frequent among the test rows themselves: no answer that is always the same
        does better. "length, first and last symbol" answers what is more frequent in training for the same three.
        "equal counts" says yes to as many openings as closings of every kind. "kinds ignored" says yes to what would
        be balanced if all brackets were of one kind.
        """
        return dict(_floors(self))


@cache
def _floors(task: ParenthesisBalancing) -> dict[str, float]:
    batch = task.test_set()
    answer, length = batch.scored_targets, task.query_position(batch.tokens)
    in_string = torch.arange(task.sequence_length) < length[:, None]
    symbols, kinds = bracket_kinds.to_symbols(batch.tokens), bracket_kinds.to_kinds(batch.tokens)
    steps = torch.where(symbols == OPEN, 1, -1) * in_string
    surplus = torch.zeros(len(batch), task.n_kinds, dtype=torch.int64).scatter_add_(1, kinds, steps)
    same_count = torch.where((surplus == 0).all(1), task.BALANCED, task.UNBALANCED)
    ignoring_kinds = torch.where(parenthesis_strings.is_balanced(symbols, length), task.BALANCED, task.UNBALANCED)
    trained, tested = (_contexts(task, one) for one in (task._training_sample(), batch))
    return {
        "majority": floors.accuracy(answer.mode().values, answer),
        "length, first and last symbol": floors.best_guess_accuracy(trained, tested),
        "equal counts": floors.accuracy(same_count, answer),
        **({"kinds ignored": floors.accuracy(ignoring_kinds, answer)} if task.n_kinds > 1 else {}),
    }


def _contexts(task: ParenthesisBalancing, batch: Batch) -> tuple[Int64[Tensor, " batch"], Int64[Tensor, " batch"]]:
    """Length, first and last symbol of every string, as one number, and the answer."""
    length = task.query_position(batch.tokens)
    first, last = batch.tokens[:, 0], batch.tokens.gather(1, length[:, None] - 1).squeeze(1)
    return (length * task.d_vocab + first) * task.d_vocab + last, batch.scored_targets
