"""The word problem of a finite group: the product of all elements so far, at every position."""

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
from rtinterp.tasks.groups import Group, GroupName, named_group
from rtinterp.tasks.held_out import check_distinct_sequences
from rtinterp.tasks.word_causal_model import WordCausalModel

#: Training sequences that floors are fitted on: each has as many predictions as positions.
N_FLOOR_SEQUENCES = 20_000


@strict(repr=False)
class GroupWordProblem(DistinctRowsTask, WordCausalModel):
    """Elements g_1 ... g_n of a finite group; the answer at position i is the product g_1 g_2 ... g_i.

    Elements are uniform and independent, and so is the product at every position. All positions are scored, and the
    answers are ``Batch.targets``, not next tokens. A token is the number of an element, 0 the identity. Permutations
    are multiplied from left to right, the first factor acting first (rtinterp/tasks/groups.py). With Z2 the task is
    parity.

    Args:
        length: elements of a sequence.
        group: "Z2" and "Z60" are cyclic, "A4xZ5" is solvable but not commutative, "A5" is not solvable; all but Z2 have
            order 60.
        test_rows: which rows are tested: "distinct" held-out ones, also unless given, or "validation".

    Raises:
        ValueError: if length is not an int from 2 to 2000, the group is not one of these, or fewer than 100 distinct
            sequences exist, as of Z2 with a length below 7.
    """

    name: ClassVar[str] = "group_word_problem"

    length: Annotated[int, Field(ge=2, le=2000)] = 16
    group: GroupName = "A5"
    test_rows: Literal["distinct", "validation"] | None = dataclasses.field(default=None, kw_only=True)

    @pydantic.model_validator(mode="after")
    def _is_large_enough(self) -> GroupWordProblem:
        check_distinct_sequences(self.elements.order**self.length, "use a larger length or group")
        return self

    @property
    def elements(self) -> Group:
        """The group's elements and their multiplication table."""
        return named_group(self.group)

    @property
    def d_vocab(self) -> int:
        return self.elements.order

    @property
    def sequence_length(self) -> int:
        return self.length

    def answers(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        """The product up to every position; those of a beginning of a sequence are the beginning of its answers."""
        return self.elements.prefix_products(tokens)

    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        return draws.uniform(0, self.d_vocab - 1, (n, self.length), generator)

    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        return torch.ones_like(tokens, dtype=torch.bool)

    def _batch(self, tokens: Int64[Tensor, "batch pos"]) -> Batch:
        return Batch(tokens, self._scored(tokens), self.answers(tokens))

    def _training_sample(self) -> Batch:
        return self.sample(N_FLOOR_SEQUENCES, torch.Generator().manual_seed(FIXED_SEED))

    def _label(self, token: int) -> str:
        return self.elements.labels[token]

    def floors(self) -> dict[str, float]:
        """Any element; the best guess from position and element; and the product of the last two elements.

        All are accuracies over all positions, and the last two are of the test rows. Whoever sees one element is right
        at the first position, and whoever multiplies the last two at the second as well: where sequences are short,
        these are a good part of all.
        """
        return dict(_floors(self))


@functools.cache
def _floors(task: GroupWordProblem) -> dict[str, float]:
    batch = task.test_set()
    last_two = batch.tokens.clone()
    last_two[:, 1:] = task.elements.table[batch.tokens[:, :-1], batch.tokens[:, 1:]]
    trained, tested = (_contexts(task, one) for one in (task._training_sample(), batch))
    return {
        "chance": 1 / task.d_vocab,
        "position and element": floors.best_guess_accuracy(trained, tested),
        "product of the last two": floors.accuracy(last_two.flatten(), batch.scored_targets),
    }


def _contexts(
    task: GroupWordProblem, batch: Batch
) -> tuple[Int64[Tensor, " prediction"], Int64[Tensor, " prediction"]]:
    """Position and element of every prediction, as one number, and the answer."""
    place = torch.arange(task.length, device=batch.tokens.device)
    return (place * task.d_vocab + batch.tokens).flatten(), batch.scored_targets
