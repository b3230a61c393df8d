"""k-hop induction: which character is reached by a number of hops, each behind the last character equal to this one."""

from __future__ import annotations

import dataclasses
import functools
from string import ascii_lowercase
from typing import Annotated, ClassVar, Literal

import pydantic
import torch
from jaxtyping import Bool, Int64
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws, floors, k_hop_strings
from rtinterp.tasks.base import FIXED_SEED
from rtinterp.tasks.batch import Batch
from rtinterp.tasks.distinct_test_rows import DistinctRowsTask
from rtinterp.tasks.held_out import check_distinct_sequences
from rtinterp.tasks.k_hop_causal_model import KHopCausalModel

#: The number of hops, and what stands before the first character that a hop leads to, and behind it up to the origin.
POSITIONS_WITHOUT_HOPS = 3

#: Training sequences that floors are fitted on: each has as many predictions as positions.
N_FLOOR_SEQUENCES = 20_000


@strict(repr=False)
class KHopInduction(DistinctRowsTask, KHopCausalModel):
    """A number of hops k, then a string without equal neighbours (Sanford, Hsu and Telgarsky 2024).

    One hop leads from a character behind the last equal one before it. At every character, the answer is the one that k
    hops lead to, or "~" where they lead nowhere; at the number itself it is "_". All positions are scored, and the
    answers are ``Batch.targets``, not next tokens. k is uniform in 0 .. max_hops. Token ids: the numbers of hops, the
    characters, "~", "_".

    Args:
        max_hops: the largest k, 16 as published.
        alphabet: the number of characters, 4 as published.
        length: positions of a sequence, the number of hops included, 99 as published.
        test_rows: which rows are tested: "distinct" held-out ones, also unless given, or "validation". A string is
            held out with every number of hops.

    Raises:
        ValueError: if a parameter is not an int in its range (max_hops 1 to 200, alphabet 3 to 26, length 4 to 2000),
            if no sequence of that length has so many hops, or if fewer than 100 distinct strings exist.
    """

    name: ClassVar[str] = "k_hop_induction"

    max_hops: Annotated[int, Field(ge=1, le=200)] = 16
    alphabet: Annotated[int, Field(ge=3, le=len(ascii_lowercase))] = 4
    length: Annotated[int, Field(ge=4, le=2000)] = 99
    test_rows: Literal["distinct", "validation"] | None = dataclasses.field(default=None, kw_only=True)

    @pydantic.model_validator(mode="after")
    def _is_large_enough(self) -> KHopInduction:
        if self.max_hops > self.length - POSITIONS_WITHOUT_HOPS:
            raise ValueError(
                f"max_hops={self.max_hops} lead nowhere in {self.length} positions; "
                f"use a length of at least {self.max_hops + POSITIONS_WITHOUT_HOPS}"
            )
        n_strings = self.alphabet * (self.alphabet - 1) ** (self.length - 2)
        check_distinct_sequences(n_strings, "use a larger alphabet or length")
        return self

    @property
    def d_vocab(self) -> int:
        return self.blank_token + 1

    @property
    def sequence_length(self) -> int:
        return self.length

    @property
    def undefined_token(self) -> int:
        """The answer "~", where the hops lead nowhere."""
        return self.character_token(0) + self.alphabet

    @property
    def blank_token(self) -> int:
        """The answer "_" at the number of hops."""
        return self.undefined_token + 1

    def answers(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        """What is expected at every position; those of a beginning of a sequence are the beginning of its answers."""
        reached = self.reached(tokens)
        characters = tokens[:, 1:].gather(1, reached.clamp(min=0)).masked_fill(reached < 0, self.undefined_token)
        return torch.cat([torch.full_like(tokens[:, :1], self.blank_token), characters], 1)

    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        n_hops = draws.uniform(0, self.max_hops, (n, 1), generator)
        characters = k_hop_strings.draw(n, self.length - 1, self.alphabet, generator)
        return torch.cat([n_hops, characters + self.character_token(0)], 1)

    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        return torch.ones_like(tokens, dtype=torch.bool)

    def _batch(self, tokens: Int64[Tensor, "batch pos"]) -> Batch:
        return Batch(tokens, self._scored(tokens), self.answers(tokens))

    def _is_in_twentieth(self, number: int, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        """Of the string alone, so that no string is both trained on and tested, with other hops."""
        return super()._is_in_twentieth(number, tokens[:, 1:])

    def _training_sample(self) -> Batch:
        return self.sample(N_FLOOR_SEQUENCES, torch.Generator().manual_seed(FIXED_SEED))

    def _label(self, token: int) -> str:
        if token <= self.max_hops:
            return str(token)
        if token >= self.undefined_token:
            return "~" if token == self.undefined_token else "_"
        return ascii_lowercase[token - self.character_token(0)]

    def floors(self) -> dict[str, float]:
        """Any character; "~" wherever there is a character; and the best guess from hops, position and character.

        The last answers what is most frequent in training. Both are accuracies of all positions of the test rows, the
        first of them, where the answer is always "_", included.
        """
        return dict(_floors(self))

    def defined_floors(self) -> dict[int, float]:
        """The best guess from hops, position and character where hops lead somewhere, by the number of hops.

        It is fitted on the sequences that ``floors`` are fitted on, and an accuracy of test rows. Numbers of hops that
        lead nowhere in one of them are left out.
        """
        return dict(_defined_floors(self))


@functools.cache
def _floors(task: KHopInduction) -> dict[str, float]:
    batch = task.test_set()
    nowhere = torch.full_like(batch.tokens, task.undefined_token)
    nowhere[:, 0] = task.blank_token
    trained, tested = (_contexts(task, one) for one in (task._training_sample(), batch))
    return {
        "chance": 1 / task.alphabet,
        "always undefined": floors.accuracy(nowhere[batch.scored], batch.scored_targets),
        "hops, position and character": floors.best_guess_accuracy(trained, tested),
    }


@functools.cache
def _defined_floors(task: KHopInduction) -> dict[int, float]:
    trained, tested = task._training_sample(), task.test_set()
    found = {}
    for n_hops in range(task.max_hops + 1):
        pairs = [_defined(task, batch, n_hops) for batch in (trained, tested)]
        if all(len(answers) for _, answers in pairs):
            found[n_hops] = floors.best_guess_accuracy(pairs[0], pairs[1])
    return found


def _defined(
    task: KHopInduction, batch: Batch, n_hops: int
) -> tuple[Int64[Tensor, " prediction"], Int64[Tensor, " prediction"]]:
    """What ``_contexts`` gives, of the predictions whose answer is a character that so many hops lead to."""
    contexts, answers = _contexts(task, batch)
    has_hops = (batch.tokens[:, :1] == n_hops).expand_as(batch.tokens).flatten()
    chosen = has_hops & (answers < task.undefined_token)
    return contexts[chosen], answers[chosen]


def _contexts(task: KHopInduction, batch: Batch) -> tuple[Int64[Tensor, " prediction"], Int64[Tensor, " prediction"]]:
    """Number of hops, position and token of every prediction, as one number, and the answer."""
    place = torch.arange(task.length, device=batch.tokens.device)
    context = (batch.tokens[:, :1] * task.length + place) * task.d_vocab + batch.tokens
    return context.flatten(), batch.scored_targets
