from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
import torch

from rtinterp.analysis import accuracy, cross_entropy
from rtinterp.analysis.activations import activations_at
from rtinterp.analysis.interventions import project, remove
from rtinterp.analysis.rank_curves import least_rank, rank_curve, ranks_up_to
from rtinterp.analysis.site_statistics import (
    SiteStatistics,
    covariances_of_sites,
    site_statistics,
    statistics_of_sites,
)
from rtinterp.analysis.subspace_finding import random_subspace
from rtinterp.analysis.subspaces import overlap
from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

D_MODEL, N_TOKENS, SITE = 16, 24, "blocks.0.hook_resid_post"


class Copying:
    name, d_vocab, d_vocab_out, n_ctx, reads = "copying", N_TOKENS, N_TOKENS, 4, "tokens"


@pytest.fixture(scope="module")
def model() -> HookedModel:
    """Two untouched blocks; token and unembedding share the first three axes, all other axes hold loud noise."""
    generator = torch.Generator().manual_seed(0)
    model = build_model(Copying(), ModelSpec(D_MODEL), seed=0)  # pyright: ignore[reportArgumentType]
    codes = torch.nn.functional.normalize(torch.randn(N_TOKENS, 3, generator=generator))
    W_E = torch.cat([codes, 4 * torch.randn(N_TOKENS, D_MODEL - 3, generator=generator)], dim=1)
    W_U = torch.cat([codes.T - codes.T.mean(1, keepdim=True), torch.zeros(D_MODEL - 3, N_TOKENS)])
    model.load_state_dict({"embed.W_E": W_E, "unembed.W_U": 20 * W_U}, strict=False)
    return model


@pytest.fixture(scope="module")
def batch(model: HookedModel) -> Batch:
    """The expected token is what the model says, so that the intact model is always right."""
    tokens = torch.arange(N_TOKENS)[:, None].repeat(1, 4)
    with torch.no_grad():
        targets = model(tokens).argmax(-1)
    return Batch(tokens, torch.ones_like(tokens, dtype=torch.bool), targets)


@pytest.fixture(scope="module")
def statistics(model: HookedModel, batch: Batch) -> SiteStatistics:
    return site_statistics(model, [batch[:2], batch[2:]], SITE)


def test_statistics_are_those_of_all_activations_at_once(
    model: HookedModel, batch: Batch, statistics: SiteStatistics
) -> None:
    h = activations_at(model, batch.tokens, SITE).flatten(0, 1).double()
    assert statistics.n_activations == len(h)
    torch.testing.assert_close(statistics.mean, h.mean(0))
    torch.testing.assert_close(statistics.covariance, h.T.cov())


def test_sites_that_share_their_passes_have_the_statistics_of_each_alone(model: HookedModel, batch: Batch) -> None:
    sites = ("blocks.0.hook_resid_mid", SITE, "blocks.1.hook_resid_post")
    together = statistics_of_sites(model, [batch[:9], batch[9:]], sites)
    assert tuple(together) == sites
    covariances = covariances_of_sites(model, [batch[:9], batch[9:]], sites)
    for site, found in together.items():
        torch.testing.assert_close(covariances[site], found.covariance)
        alone = site_statistics(model, [batch], site)
        for name in ("mean", "covariance", "gradient_moments"):
            torch.testing.assert_close(getattr(found, name), getattr(alone, name), rtol=1e-4, atol=1e-4)


def test_gradients_are_differences_of_the_measure(model: HookedModel, batch: Batch, statistics: SiteStatistics) -> None:
    def weighted(logits: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
        return logits.double() @ torch.arange(N_TOKENS).double()

    one = Batch(batch.tokens[:1, :1], batch.scored[:1, :1], batch.targets[:1, :1])  # pyright: ignore[reportOptionalSubscript]
    chosen = torch.ones(1, 1, dtype=torch.bool)
    h = activations_at(model, one.tokens, SITE)
    step, values = 1e-2, []
    for sign in (1, -1):
        moved = h + sign * step * torch.eye(D_MODEL)[:, None, None]
        with torch.no_grad():
            logits = torch.cat([model(row, start_at_layer=1) for row in moved])[:, -1]
        values.append(weighted(logits, one.tokens))
    gradient = (values[0] - values[1]) / (2 * step)
    with pytest.raises(ValueError, match="needs at least 2"):
        site_statistics(model, [one], SITE, chosen, weighted)
    twice = Batch(*(torch.cat([part, part]) for part in (one.tokens, one.scored, one.targets)))  # pyright: ignore[reportArgumentType]
    found = site_statistics(model, [twice], SITE, torch.cat([chosen, chosen]), weighted)
    torch.testing.assert_close(found.gradient_moments, torch.outer(gradient, gradient), rtol=2e-2, atol=1e-2)


def test_what_is_read_needs_fewer_directions_than_what_varies(
    model: HookedModel, batch: Batch, statistics: SiteStatistics
) -> None:
    ranks = list(range(D_MODEL + 1))
    curves = {
        name: rank_curve(model, batch, SITE, subspace, ranks)
        for name, subspace in (("sensitive", statistics.sensitive), ("principal", statistics.principal))
    }
    needed = {name: least_rank(curve, intact=1.0, floor=1 / N_TOKENS) for name, curve in curves.items()}
    assert needed["sensitive"] is not None
    assert needed["principal"] is not None
    assert needed["sensitive"] < needed["principal"]
    planted = random_subspace(D_MODEL, torch.zeros(D_MODEL), torch.Generator())
    axes = type(planted)(torch.eye(D_MODEL)[:3], torch.zeros(D_MODEL))
    assert overlap(statistics.sensitive.first(3), axes) > 0.7 > 0.4 > overlap(statistics.principal.first(3), axes)


def test_all_directions_are_the_intact_model_and_none_leaves_one_answer(
    model: HookedModel, batch: Batch, statistics: SiteStatistics
) -> None:
    kept = rank_curve(model, batch, SITE, statistics.principal, [0, D_MODEL])
    assert kept["value"].to_list()[1] == accuracy(model, batch) == 1
    assert kept["value"].to_list()[0] < 0.5
    removed = rank_curve(model, batch, SITE, statistics.principal, [0, D_MODEL], remove, measure=cross_entropy)
    none, all_ = removed["value"].to_list()
    assert none == pytest.approx(cross_entropy(model, batch), abs=1e-4)
    whole = rank_curve(model, batch, SITE, statistics.principal, [0], project, measure=cross_entropy)
    assert all_ == pytest.approx(whole["value"][0], rel=1e-3), "to remove all is to keep none"


def test_the_least_rank_is_where_the_curve_stays_up() -> None:
    curve = pl.DataFrame({"rank": [1, 2, 4, 8], "value": [0.2, 0.96, 0.5, 0.97]})
    assert least_rank(curve, intact=1.0, floor=0.1) == 8
    assert least_rank(curve, intact=1.0, floor=0.0, share=0.5) == 2
    assert least_rank(curve, intact=2.0, floor=0.0) is None
    with pytest.raises(ValueError, match="nothing was learnt"):
        least_rank(curve, intact=0.1, floor=0.1)
    with pytest.raises(ValueError, match="share is 0"):
        least_rank(curve, intact=1.0, floor=0.1, share=0.0)


def test_ranks_double_up_to_the_width() -> None:
    assert ranks_up_to(16) == [0, 1, 2, 4, 8, 16]
    assert ranks_up_to(24) == [0, 1, 2, 4, 8, 16, 24]
    assert ranks_up_to(1) == [0, 1]
