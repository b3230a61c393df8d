"""Multi-query associative recall: pairs of a key and a value, then every key again, its value to be told."""

from __future__ import annotations

import dataclasses
import functools
import math
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
from rtinterp.tasks.recall_causal_model import RecallCausalModel

#: A gap of g pairs of tokens has the weight g^(a - 1), with this a: near queries are by far the most frequent.
GAP_POWER = 0.01

#: Each pair of a key and a value needs two tokens of the context, and a query with a filler behind it.
TOKENS_PER_PAIR = 4


@strict(repr=False)
class MultiQueryRecall(DistinctRowsTask, RecallCausalModel):
    """Pairs of a key and a value, then each key once more, at which its value is the answer (MQAR; Arora et al. 2024).

    Keys are tokens 1 to d_vocab / 2 - 1, values those from d_vocab / 2; neither comes up twice in a context. Behind the
    context, at an even distance from it, stand the queries; the gap of each is drawn with probability proportional to
    gap^(a - 1), a = 0.01, none twice, in the order of the pairs. Elsewhere are fillers: random tokens, but not the
    sequence's keys, as published ones may be, so that whatever repeats a key is a query. Queries alone are scored, and
    the answers are ``Batch.targets``: they do not stand in the sequence.

    Args:
        length: tokens of a sequence, 64 to 256 as published.
        n_pairs: pairs of a context, 4 to 64 as published, each asked for once.
        d_vocab: number of token ids, 8192 as published.
        test_rows: which rows are tested: "distinct" held-out ones, also unless given, or "validation". A context is
            held out with all queries and fillers.

    Raises:
        ValueError: if a parameter is not an int in its range (length 4 to 4096, n_pairs 1 to 512, d_vocab 4 to 10^6),
            if the pairs and their queries do not fit into the length, if there are fewer keys than pairs, or if fewer
            than 100 distinct contexts exist.
    """

    name: ClassVar[str] = "multi_query_recall"

    length: Annotated[int, Field(ge=4, le=4096)] = 64
    n_pairs: Annotated[int, Field(ge=1, le=512)] = 4
    # A field does what the property of a task does: it is read.
    d_vocab: Annotated[int, Field(ge=4, le=1_000_000)] = 8192  # pyright: ignore[reportIncompatibleMethodOverride]
    test_rows: Literal["distinct", "validation"] | None = dataclasses.field(default=None, kw_only=True)

    @pydantic.model_validator(mode="after")
    def _is_large_enough(self) -> MultiQueryRecall:
        if self.length < TOKENS_PER_PAIR * self.n_pairs:
            raise ValueError(
                f"n_pairs={self.n_pairs} and their queries do not fit into {self.length} tokens; use a length of at "
                f"least {TOKENS_PER_PAIR * self.n_pairs}"
            )
        n_keys, n_values = self.first_value - 1, self.d_vocab - self.first_value
        if self.n_pairs > n_keys:
            raise ValueError(
                f"n_pairs={self.n_pairs} need as many keys, and d_vocab={self.d_vocab} has {n_keys}; use a d_vocab of "
                f"at least {2 * self.n_pairs + 2}"
            )
        n_contexts = math.perm(n_keys, self.n_pairs) * math.perm(n_values, self.n_pairs)
        check_distinct_sequences(n_contexts, "use a larger d_vocab or n_pairs")
        return self

    @property
    def sequence_length(self) -> int:
        return self.length

    def answers(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        """The value that each query asks for, and 0 where there is none."""
        asks_for = self.asks_for(tokens)
        values = tokens[:, 1 : self.context_length : 2].gather(1, asks_for.int().argmax(2))
        answers = torch.zeros_like(tokens)
        answers[:, self.context_length :] = values.where(asks_for.any(2), 0)
        return answers

    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        n_pairs, n_later = self.n_pairs, self.length - self.context_length
        keys = self._ordered(n, self.first_value - 1, generator) + 1
        values = self._ordered(n, self.d_vocab - self.first_value, generator) + self.first_value
        weights = [gap ** (GAP_POWER - 1) for gap in range(1, n_later // 2 + 1)]
        gaps = draws.by_weight(weights, n, n_pairs, generator)
        later = draws.other_than(keys, self.d_vocab, n_later, generator).scatter_(1, 2 * gaps, keys)
        return torch.cat([torch.stack([keys, values], 2).flatten(1), later], 1)

    def _ordered(self, n: int, bound: int, generator: torch.Generator) -> Int64[Tensor, "batch pair"]:
        """Distinct numbers below a bound, one for each pair, in random order."""
        of_each = torch.tensor([bound, self.n_pairs], device=generator.device).expand(n, 2)
        numbers = draws.subsets(of_each[:, 0], of_each[:, 1], self.n_pairs, generator)
        return numbers.gather(1, draws.permutations(n, self.n_pairs, generator))

    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        return self.roles(tokens) == self.role("query")

    def _batch(self, tokens: Int64[Tensor, "batch pos"]) -> Batch:
        return Batch(tokens, self._scored(tokens), self.answers(tokens))

    def _is_in_twentieth(self, number: int, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        """Of the context alone, so that no context is both trained on and tested, with other queries or fillers."""
        return super()._is_in_twentieth(number, tokens[:, : self.context_length])

    def _label(self, token: int) -> str:
        if token == 0:
            return "0"
        return f"k{token}" if token < self.first_value else f"v{token - self.first_value}"

    def _labels(self, tokens: list[int]) -> list[str]:
        """What repeats a key of the context is a query."""
        keys = set(tokens[: self.context_length : 2])
        asked = [place >= self.context_length and token in keys for place, token in enumerate(tokens)]
        return [label + "?" * asks for label, asks in zip(super()._labels(tokens), asked, strict=True)]

    def floors(self) -> dict[str, float]:
        """Any value; any value of the context; and the context's values one after the other, on the test rows.

        The last is above the one before, as the first pairs tend to be asked for first.
        """
        return dict(_floors(self))


@functools.cache
def _floors(task: MultiQueryRecall) -> dict[str, float]:
    batch = task.test_set()
    number = (batch.scored.cumsum(1) - 1).clamp(min=0)
    in_order = batch.tokens.gather(1, 2 * number + 1)[batch.scored]
    return {
        "chance": 1 / (task.d_vocab - task.first_value),
        "any value of the context": 1 / task.n_pairs,
        "values in order": floors.accuracy(in_order, batch.scored_targets),
    }
