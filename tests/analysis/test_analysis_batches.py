"""One batch, several, tokens, pairs with a mask: analyses that gather over sequences take them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from polars.testing import assert_frame_equal

from rtinterp.analysis import (
    mean_ablation,
    positions_that_feed,
    residual_explained_variance,
    site_statistics,
)
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

SITE = "blocks.0.hook_resid_post"


@pytest.fixture(scope="module")
def batch() -> Batch:
    tokens = torch.randint(11, (40, 8), generator=torch.Generator().manual_seed(0))
    return Batch(tokens, torch.rand(40, 8, generator=torch.Generator().manual_seed(1)) < torch.arange(7, -1, -1) / 9)


def roles(tokens: torch.Tensor) -> torch.Tensor:
    return tokens % 3


def test_one_batch_is_as_its_parts(sharp_model: HookedModel, batch: Batch) -> None:
    parts = [batch[:15], batch[15:]]
    one, several = (site_statistics(sharp_model, given, SITE).covariance for given in (batch, parts))
    torch.testing.assert_close(one, several)
    means = [
        mean_ablation(sharp_model, given, roles, 3).means
        for given in (batch, parts, batch.tokens, [part.tokens for part in parts], iter(parts))
    ]
    for other in means[1:]:
        torch.testing.assert_close(other, means[0])
    pairs = [(part.tokens, positions_that_feed(part.scored)) for part in parts]
    tables = [residual_explained_variance(sharp_model, given, k=3) for given in (batch, parts, pairs)]
    for table in tables[1:]:
        assert_frame_equal(table, tables[0])


@pytest.mark.parametrize("given", [torch.zeros(3, 4, 5), 7, ["tokens"]], ids=["tensor", "number", "text"])
@pytest.mark.parametrize(
    "measure",
    [
        lambda model, given: site_statistics(model, given, SITE),
        lambda model, given: mean_ablation(model, given, roles, 3),
        lambda model, given: residual_explained_variance(model, given, k=3),
    ],
    ids=["statistics", "means", "variance"],
)
def test_other_things_are_told_apart(
    sharp_model: HookedModel, measure: Callable[[HookedModel, Any], object], given: object
) -> None:
    with pytest.raises(ValueError, match=r"batches (has|is) a (Tensor|int|str).*; pass a Batch"):
        measure(sharp_model, given)
