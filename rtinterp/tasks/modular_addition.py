"""Modular addition: ``a b`` then ``(a + b) mod p``."""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Int64
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws, floors
from rtinterp.tasks.base import FIXED_SEED, SparePositions, check_sample_size
from rtinterp.tasks.batch import Batch
from rtinterp.tasks.chosen_test_rows import ChoosesTestRows, TestRows
from rtinterp.tasks.modular_causal_model import ModularCausalModel

TRAIN_SHARE = 0.95


@strict(repr=False)
class ModularAddition(ChoosesTestRows, SparePositions, ModularCausalModel):
    """[a, b, (a + b) mod p]; the sum is scored (paper section 3).

    All p^2 pairs are shuffled once by the official code's fixed seed; the first 95 % are the training set, the rest
    the test set, at every p and for every training seed.

    Args:
        p: the modulus, 199 in the paper.
        test_rows: "official", unless given, or "validation": the last twentieth of the training set, which is then not
            trained on.

    Raises:
        ValueError: if p is not an int from 2 to 1000.
    """

    name: ClassVar[str] = "modular_addition"
    n_spare_positions: ClassVar[int] = 2

    p: Annotated[int, Field(ge=2, le=1000)] = 199
    test_rows: Literal["official", "validation"] | None = dataclasses.field(default=None, kw_only=True)

    @classmethod
    def when_absent(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Before there was a choice, the official split was tested."""
        return {"test_rows": "official"}

    @property
    def _default_test_rows(self) -> TestRows:
        return "official"

    @property
    def d_vocab(self) -> int:
        return self.p

    @property
    def sequence_length(self) -> int:
        return 3

    @property
    def pairs(self) -> Int64[Tensor, "pair 2"]:
        """All p^2 inputs ``(a, b)``, ``b`` fastest: row ``a * p + b``."""
        return torch.cartesian_prod(torch.arange(self.p), torch.arange(self.p))

    def rows(self, pairs: Int64[Tensor, "pair 2"]) -> Batch:
        """The sequences of given pairs, on their device."""
        tokens = torch.cat([pairs, pairs.sum(dim=1, keepdim=True) % self.p], dim=1)
        return Batch(tokens, _second_position(tokens))

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        check_sample_size(n)
        train_pairs, _ = _split(self, generator.device)
        return self.rows(train_pairs[draws.uniform(0, len(train_pairs) - 1, (n,), generator)])

    def test_set(self) -> Batch:
        return _test_set(self)

    def twin_is_trained(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        """True where the commuted pair ``(b, a)`` is a training pair; ``tokens`` begin with ``a`` and ``b``."""
        train_pairs, _ = _split(self, tokens.device)
        return torch.isin(tokens[:, 1] * self.p + tokens[:, 0], train_pairs[:, 0] * self.p + train_pairs[:, 1])

    def floors(self) -> dict[str, float]:
        """Guessing one residue in p; and two heuristics, on the test pairs.

        "best guess from b" answers what is most frequent in training with the same b. Every sum comes up once with
        every b, in training or in the test set, so it is never right. "commuted twin" is the share of test pairs whose
        sum can be read off the training pair (b, a).
        """
        return dict(_floors(self))


@functools.cache
def _floors(task: ModularAddition) -> dict[str, float]:
    train_pairs, _ = _split(task, torch.device("cpu"))
    trained, tested = (batch.tokens for batch in (task.rows(train_pairs), task.test_set()))
    return {
        "chance": 1 / task.p,
        "best guess from b": floors.best_guess_accuracy((trained[:, 1], trained[:, 2]), (tested[:, 1], tested[:, 2])),
        "commuted twin": task.twin_is_trained(tested).double().mean().item(),
    }


def _second_position(tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
    return (torch.arange(tokens.shape[1], device=tokens.device) == 1).repeat(len(tokens), 1)


@functools.cache
def _split(task: ModularAddition, device: torch.device) -> tuple[Int64[Tensor, "train 2"], Int64[Tensor, "test 2"]]:
    """The training and the test pairs."""
    order = list(range(task.p * task.p))
    random.Random(FIXED_SEED).shuffle(order)
    pairs = task.pairs[torch.tensor(order)].to(device)
    n_train = int(TRAIN_SHARE * len(pairs))
    if task.test_rows == "validation":
        pairs, n_train = pairs[:n_train], int(TRAIN_SHARE * n_train)
    return pairs[:n_train], pairs[n_train:]


@functools.cache
def _test_set(task: ModularAddition) -> Batch:
    _, test_pairs = _split(task, torch.device("cpu"))
    return task.rows(test_pairs)
