"""Draws without repetition: what comes up, and how often."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from task_references import excess

from rtinterp.tasks import draws


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_subset_is_equally_likely_whatever_the_other_rows_draw() -> None:
    bound, size = torch.tensor([6, 5, 4]).repeat(6000), torch.tensor([3, 1, 4]).repeat(6000)
    chosen = draws.subsets(bound, size, 4, generator())
    for kind, (n, k) in enumerate([(6, 3), (5, 1), (4, 4)]):
        rows = chosen[kind::3].tolist()
        assert all(row[k:] == [-1] * (4 - k) for row in rows)
        counts = Counter(tuple(sorted(row[:k])) for row in rows)
        subsets = list(itertools.combinations(range(n), k))
        assert set(counts) == set(subsets)
        if len(subsets) > 1:
            assert abs(excess(counts, dict.fromkeys(subsets, 1 / math.comb(n, k)))) < 4


def test_weights_are_odds_among_what_is_left() -> None:
    weights = [5.0, 3.0, 1.0, 0.5]
    counts = Counter(map(tuple, draws.by_weight(weights, 40_000, 3, generator()).tolist()))
    probabilities = {}
    for order in itertools.permutations(range(4), 3):
        left, probability = sum(weights), 1.0
        for place in order:
            probability *= weights[place] / left
            left -= weights[place]
        probabilities[order] = probability
    assert abs(excess(counts, probabilities)) < 4


def test_what_is_excluded_never_comes_up_and_the_rest_is_uniform() -> None:
    excluded = torch.tensor([[0, 3, 4], [9, 2, 1]]).repeat(3000, 1)
    drawn = draws.other_than(excluded, 10, 2, generator())
    for kind in range(2):
        rest = sorted(set(range(10)) - set(excluded[kind].tolist()))
        counts = Counter(map(tuple, drawn[kind::2].tolist()))
        assert abs(excess(counts, dict.fromkeys(itertools.product(rest, repeat=2), 1 / 49))) < 4


@pytest.mark.parametrize("seed", [1, 2])
def test_the_generator_alone_decides(seed: int) -> None:
    bound, size = torch.full((9,), 50), torch.full((9,), 5)
    state = torch.get_rng_state()
    first, again = (draws.subsets(bound, size, 5, generator(seed)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
