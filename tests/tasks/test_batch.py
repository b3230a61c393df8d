"""A batch holds sequences, what is scored and what is expected, or says why it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rtinterp.tasks import Batch

TOKENS = torch.arange(12).view(3, 4)
SCORED = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)
LAST = torch.ones_like(SCORED)
VALUES = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))


def test_without_targets_the_next_tokens_are_expected() -> None:
    batch = Batch(TOKENS, SCORED)
    assert batch.scored_targets.tolist() == [2, 3, 7]
    assert batch.expected(2).tolist() == [[1, 2], [5, 6], [9, 10]]
    assert batch.expected(4).tolist() == [[1, 2, 3], [5, 6, 7], [9, 10, 11]]


def test_targets_take_their_place_at_the_last_position_too() -> None:
    batch = Batch(TOKENS, LAST, TOKENS * 2)
    assert batch.scored_targets.tolist() == (TOKENS * 2).flatten().tolist()
    assert batch.expected(2).tolist() == [[0, 2], [8, 10], [16, 18]]


@pytest.mark.parametrize("targets", [None, TOKENS + 1, VALUES])
def test_parts_carry_all_that_there_is(targets: Tensor | None) -> None:
    batch = Batch(TOKENS, SCORED, targets)
    assert len(batch) == 3
    for rows in (slice(1, 3), torch.tensor([2, 0])):
        part = batch[rows].to("cpu")
        assert torch.equal(part.tokens, TOKENS[rows])
        assert torch.equal(part.scored, SCORED[rows])
        assert part.targets is None if targets is None else torch.equal(part.targets, targets[rows])


NAN = VALUES.clone()
NAN[2, 1, 0] = float("nan")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((TOKENS, LAST), "the last position is scored, but no token follows it; pass targets, or do not score it"),
        ((TOKENS, SCORED[:, :3]), r"scored has shape \[3, 3\], which does not begin with \[3, 4\]"),
        ((TOKENS, SCORED, TOKENS[:2]), r"targets has shape \[2, 4\], which does not begin with \[3, 4\]"),
        ((VALUES, SCORED), "no next token can be expected where inputs are vectors; pass targets"),
        ((VALUES[..., 0], SCORED, VALUES), r"token ids \[batch pos\] or float vectors \[batch pos dimension\], got"),
        ((TOKENS[..., None], SCORED), r"token ids \[batch pos\] or float vectors \[batch pos dimension\], got"),
        ((NAN, SCORED, VALUES), r"tokens of sequence 2 at position 1 are not numbers \(NaN\)"),
        ((TOKENS, SCORED, NAN), r"targets of sequence 2 at position 1 are not numbers \(NaN\)"),
    ],
)
def test_what_is_no_batch_says_why(parts: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batch(*parts)
