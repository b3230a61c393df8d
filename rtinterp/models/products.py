"""The matrix products of a forward pass, of which the cost of a training step follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Set


@dataclasses.dataclass(frozen=True)
class BatchSize:
    """What of a batch costs something.

    Attributes:
        n_entries: distinct tokens at a position.
        n_rows: distinct prefixes.
        n_scored: scored predictions.
        n_prefix_tokens: tokens of all distinct prefixes: what their queries look at.
        n_scored_tokens: tokens up to each scored position, summed.
        n_places: tokens of all sequences up to their last scored position.
    """

    n_entries: int
    n_rows: int
    n_scored: int
    n_prefix_tokens: int
    n_scored_tokens: int
    n_places: int


@dataclasses.dataclass(frozen=True)
class Stage:
    """Products of a forward pass that read the same activations; the next stage reads what comes of them.

    Attributes:
        weights: multiplications with the weights of a component group; 0 for gains and biases, which cost nothing.
        pairs: multiplications of two activations that come of them, as of queries with keys.
    """

    weights: Mapping[str, int]
    pairs: int = 0

    @property
    def multiplications(self) -> int:
        return sum(self.weights.values()) + self.pairs


def training_multiplications(stages: Iterable[Stage], trained: Set[str], input_trains: bool) -> int:
    """Multiplications forward and backward, where each gradient that something trained needs is computed, and no other.

    Args:
        trained: component groups.
        input_trains: whether something that trains comes before the first stage.
    """
    total, reached = 0, input_trains
    for stage in stages:
        total += sum(n * (1 + reached + (group in trained)) for group, n in stage.weights.items())
        reached = reached or not trained.isdisjoint(stage.weights)
        total += stage.pairs * (1 + 2 * reached)
    return total
