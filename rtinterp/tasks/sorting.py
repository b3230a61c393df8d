"""Sorting: some small numbers, then the same numbers in ascending order."""

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
from rtinterp.tasks.base import FIXED_SEED
from rtinterp.tasks.batch import Batch
from rtinterp.tasks.distinct_test_rows import DistinctRowsTask
from rtinterp.tasks.held_out import check_distinct_sequences
from rtinterp.tasks.sorting_causal_model import SortingCausalModel

#: Training sequences that floors are fitted on: each has as many predictions as numbers.
N_FLOOR_SEQUENCES = 20_000


@strict(repr=False)
class Sorting(DistinctRowsTask, SortingCausalModel):
    """Numbers x_1 ... x_n, "=", then the same numbers in ascending order (bucket sort; Delétang et al. 2023).

    Numbers are uniform and independent. The sorted ones are scored, each predicted from what stands before it, so that
    the answers before it can be read. The same numbers in another order may be both trained on and tested.

    Args:
        length: how many numbers.
        vocabulary: how many different numbers there are, from 0; 5 as published.
        test_rows: which rows are tested: "distinct" held-out ones, also unless given, or "validation".

    Raises:
        ValueError: if a parameter is not an int in its range (length 2 to 1000, vocabulary 2 to 1000), or if fewer than
            100 distinct sequences exist.
    """

    name: ClassVar[str] = "sorting"

    length: Annotated[int, Field(ge=2, le=1000)] = 10
    vocabulary: Annotated[int, Field(ge=2, le=1000)] = 5
    test_rows: Literal["distinct", "validation"] | None = dataclasses.field(default=None, kw_only=True)

    @pydantic.model_validator(mode="after")
    def _is_large_enough(self) -> Sorting:
        check_distinct_sequences(self.vocabulary**self.length, "use a larger length or vocabulary")
        return self

    @property
    def d_vocab(self) -> int:
        return self.equals_token + 1

    @property
    def sequence_length(self) -> int:
        return 2 * self.length + 1

    @property
    def equals_token(self) -> int:
        """The token of "=", behind those of the numbers."""
        return self.vocabulary

    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        return self._rows(draws.uniform(0, self.vocabulary - 1, (n, self.length), generator))

    def _rows(self, numbers: Int64[Tensor, "batch number"]) -> Int64[Tensor, "batch pos"]:
        equals = torch.full_like(numbers[:, :1], self.equals_token)
        return torch.cat([numbers, equals, numbers.sort(dim=1).values], 1)

    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        position = torch.arange(self.sequence_length, device=tokens.device)
        return ((position >= self.length) & (position < 2 * self.length)).repeat(len(tokens), 1)

    def _training_sample(self) -> Batch:
        return self.sample(N_FLOOR_SEQUENCES, torch.Generator().manual_seed(FIXED_SEED))

    def _label(self, token: int) -> str:
        return "=" if token == self.equals_token else str(token)

    def floors(self) -> dict[str, float]:
        """Any number; the last answer again, 0 at first; and the best guess from position and last answer.

        The last two are of the test rows. They come far where there are many numbers and few different ones.
        """
        return dict(_floors(self))


@functools.cache
def _floors(task: Sorting) -> dict[str, float]:
    batch = task.test_set()
    again = batch.tokens.masked_fill(batch.tokens == task.equals_token, 0)[batch.scored]
    trained, tested = (_contexts(task, one) for one in (task._training_sample(), batch))
    return {
        "chance": 1 / task.vocabulary,
        "last answer again": floors.accuracy(again, batch.scored_targets),
        "position and last answer": floors.best_guess_accuracy(trained, tested),
    }


def _contexts(task: Sorting, batch: Batch) -> tuple[Int64[Tensor, " answers"], Int64[Tensor, " answers"]]:
    """Position and current token of every scored prediction, as one number, and its answer."""
    position = torch.arange(task.sequence_length).expand_as(batch.tokens)
    return (position * task.d_vocab + batch.tokens)[batch.scored], batch.scored_targets
