"""Needle in a haystack: pairs of marker and value, then a query for the value of one marker."""

from __future__ import annotations

import dataclasses
import math
import random
import string
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, ClassVar, NamedTuple

import pydantic
import torch
from jaxtyping import Bool, Int64
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws, floors
from rtinterp.tasks.base import SparePositions
from rtinterp.tasks.chosen_test_rows import TestRows
from rtinterp.tasks.held_out import check_distinct_sequences
from rtinterp.tasks.needle_causal_model import NeedleCausalModel
from rtinterp.tasks.official_list import OfficialListTask


class KeyValuePositions(NamedTuple):
    """Every in-context pair of a batch, so that ``pattern[pairs.row, :, pairs.value, pairs.marker]`` is its attention.

    Attributes:
        row: the sequence the pair is in.
        marker: the position of its marker.
        value: the position of its value, one to the right.
    """

    row: Int64[Tensor, " pair"]
    marker: Int64[Tensor, " pair"]
    value: Int64[Tensor, " pair"]


@strict(repr=False)
class NeedleInAHaystack(OfficialListTask, SparePositions, NeedleCausalModel):
    """Pairs "m1 c1 .. mk ck", a query "mq?", then "cq", which is scored (paper section 3).

    The number of pairs k is uniform in 1 .. max_pairs, the k markers are distinct, the values uniform and the queried
    marker one of the k. Token ids: 0 pads, then the values, then the markers, then one query token per marker.

    Args:
        max_pairs: the most pairs in a sequence and the number of markers, 30 in the paper.
        n_values: the number of values, 127 in the paper.
        test_rows: which rows are tested: "official", "distinct", "drawn" or "validation"; unless given, the official
            list at the paper's parameters, elsewhere distinct held-out rows.

    Raises:
        ValueError: if a parameter is not an int in its range (max_pairs 1 to 200, n_values 2 to 10000),
            or if fewer than 100 distinct sequences exist.
    """

    name: ClassVar[str] = "needle_in_a_haystack"
    n_spare_positions: ClassVar[int] = 37
    PAD: ClassVar[int] = 0
    pad_token: ClassVar[int | None] = PAD
    official_parameters: ClassVar[Mapping[str, int]] = {"max_pairs": 30, "n_values": 127}

    max_pairs: Annotated[int, Field(ge=1, le=200)] = 30
    n_values: Annotated[int, Field(ge=2, le=10_000)] = 127
    test_rows: TestRows | None = dataclasses.field(default=None, kw_only=True)

    @pydantic.model_validator(mode="after")
    def _is_large_enough(self) -> NeedleInAHaystack:
        choices = (math.perm(self.max_pairs, k) * self.n_values**k * k for k in range(1, self.max_pairs + 1))
        check_distinct_sequences(sum(choices), "use a larger max_pairs or n_values")
        return self

    @property
    def d_vocab(self) -> int:
        """The next power of two, as in the official code: 256 at the paper's parameters."""
        return 1 << (self.n_values + 2 * self.max_pairs).bit_length()

    @property
    def sequence_length(self) -> int:
        return 2 * self.max_pairs + 3

    def marker_token(self, marker: int) -> int:
        """Token of a marker, 0 to max_pairs - 1, where it introduces a value."""
        if not 0 <= marker < self.max_pairs:
            raise ValueError(f"markers run from 0 to {self.max_pairs - 1}, got {marker}")
        return self.n_values + 1 + marker

    def query_token(self, marker: int) -> int:
        """Token that asks for the value of a marker, 0 to max_pairs - 1."""
        return self.marker_token(marker) + self.max_pairs

    def sequence(self, markers: Sequence[int], values: Sequence[int], query: int) -> Int64[Tensor, " pos"]:
        """One padded sequence, answer included, from explicit pairs.

        ``sequence(markers=[0, 1, 2, 3], values=[1, 2, 3, 4], query=1)`` is the ``a 1 b 2 c 3 d 4 b`` of Figure 2,
        answered ``2``. ``query`` is one of the ``markers``, not an index into them.

        Raises:
            ValueError: if the pairs are not a sequence of this task.
        """
        if len(markers) != len(values) or len(set(markers)) != len(markers):
            raise ValueError(f"give one value for each of some distinct markers, got {markers=} and {values=}")
        if query not in markers:
            raise ValueError(f"the query must be one of the markers {list(markers)}, got {query}")
        if not all(1 <= value <= self.n_values for value in values):
            raise ValueError(f"values run from 1 to {self.n_values}, got {list(values)}")
        row: list[int] = []
        for marker, value in zip(markers, values, strict=True):
            row += [self.marker_token(marker), value]
        row += [self.query_token(query), values[list(markers).index(query)]]
        return torch.tensor(row + [self.PAD] * (self.sequence_length - len(row)))

    def query_position(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]:
        """Where the query token stands; the prediction there is the scored one."""
        return self._scored(tokens).int().argmax(dim=1)

    def queried_value_position(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]:
        """Where the value asked for stands in the context: what the query should attend to."""
        query = tokens.gather(1, self.query_position(tokens)[:, None])
        return (tokens == query - self.max_pairs).int().argmax(dim=1) + 1

    def key_value_positions(self, tokens: Int64[Tensor, "batch pos"]) -> KeyValuePositions:
        """Where the in-context pairs stand, all sequences' pairs in one list, row by row."""
        row, marker = self._is_marker(tokens).nonzero(as_tuple=True)
        return KeyValuePositions(row, marker, marker + 1)

    def _is_marker(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        return (tokens >= self.marker_token(0)) & (tokens < self.query_token(0))

    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        return tokens >= self.query_token(0)

    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        n_pairs = draws.uniform(1, self.max_pairs, (n,), generator)
        markers = draws.permutations(n, self.max_pairs, generator)
        values = draws.uniform(1, self.n_values, (n, self.max_pairs), generator)
        queried = draws.below(n_pairs, generator)[:, None]

        tokens = values.new_full((n, self.sequence_length), self.PAD)
        tokens[:, 0 : 2 * self.max_pairs : 2] = markers + self.marker_token(0)
        tokens[:, 1 : 2 * self.max_pairs : 2] = values
        query_position = 2 * n_pairs[:, None]
        position = torch.arange(self.sequence_length, device=tokens.device)
        tokens.masked_fill_(position >= query_position, self.PAD)
        tokens.scatter_(1, query_position, markers.gather(1, queried) + self.query_token(0))
        return tokens.scatter_(1, query_position + 1, values.gather(1, queried))

    def _draw_officially(self, rng: random.Random) -> list[int]:
        n_pairs = rng.randint(1, self.max_pairs)
        markers = list(range(self.max_pairs))
        rng.shuffle(markers)
        markers = markers[:n_pairs]
        values = [rng.randint(1, self.n_values) for _ in markers]
        return self.sequence(markers, values, query=rng.choice(markers)).tolist()

    def _label(self, token: int) -> str:
        if token == self.PAD:
            return "pad"
        if token <= self.n_values:
            return str(token)
        if token < self.query_token(0):
            return _marker_label(token - self.marker_token(0))
        marker = token - self.query_token(0)
        return _marker_label(marker) + "?" if marker < self.max_pairs else f"unused{token}"

    def floors(self) -> dict[str, float]:
        """Guessing any value; and the most frequent value in the context, and its last one, on the test rows."""
        return dict(_floors(self))


def _marker_label(marker: int) -> str:
    letters = string.ascii_letters
    return letters[marker] if marker < len(letters) else f"m{marker}"


@cache
def _floors(task: NeedleInAHaystack) -> dict[str, float]:
    batch = task.test_set()
    answer = batch.scored_targets
    last = batch.tokens.gather(1, task.query_position(batch.tokens)[:, None] - 1).squeeze(1)
    return {
        "chance": 1 / task.n_values,
        "most frequent value": floors.accuracy(_most_frequent_value(task, batch.tokens), answer),
        "last value": floors.accuracy(last, answer),
    }


def _most_frequent_value(task: NeedleInAHaystack, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]:
    """The value that stands most often in the context; the smallest one in a tie."""
    is_value = task._is_marker(tokens).roll(1, dims=1)
    column = torch.arange(tokens.shape[1], device=tokens.device)
    # Everything else becomes a number of its own above the values, so it sorts last and never repeats.
    ordered = torch.where(is_value, tokens, task.d_vocab + column).sort(dim=1).values
    repeats = column - torch.searchsorted(ordered, ordered)
    return ordered.gather(1, repeats.argmax(dim=1, keepdim=True)).squeeze(1)
