from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch

from rtinterp.analysis.activations import residual_sites
from rtinterp.analysis.continuation import READ_FROM, Continuation
from rtinterp.analysis.interventions import Intervention, intervene, project, remove
from rtinterp.analysis.predictions import cross_entropy, nats, scored_logits
from rtinterp.analysis.subspace_finding import random_subspace
from rtinterp.models.build import build_model
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch, ModularAddition

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

N, N_POS, D_MODEL = 7, 9, 32
SITES = [f"blocks.{site}" for site in ("0.hook_resid_pre", "0.hook_resid_mid", "0.hook_resid_post")] + [
    f"blocks.{site}" for site in ("1.hook_resid_mid", "1.hook_resid_post")
]


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Some rows score two predictions, and no row its last positions."""
    tokens = torch.randint(11, (N, N_POS), generator=torch.Generator().manual_seed(0))
    scored = torch.zeros(N, N_POS, dtype=torch.bool)
    scored[:, 6] = True
    scored[::2, 4] = True
    return Batch(tokens, scored)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("effect", [project, remove], ids=["project", "remove"])
@pytest.mark.parametrize("where", [None, lambda tokens: tokens % 2 == 0], ids=["all", "some"])
def test_the_rest_of_the_model_says_what_the_whole_says(
    sharp_model: HookedModel, batch: Batch, site: str, effect: object, where: object
) -> None:
    assert tuple(SITES) == residual_sites(sharp_model)
    subspace = random_subspace(12, torch.ones(D_MODEL), torch.Generator().manual_seed(1))
    intervention: Intervention = effect(site, subspace, where)  # pyright: ignore[reportCallIssue]
    rest = Continuation(sharp_model, batch, site)
    with intervene(sharp_model, intervention):
        expected, loss = scored_logits(sharp_model, batch), cross_entropy(sharp_model, batch)
    torch.testing.assert_close(rest.logits(intervention), expected, rtol=1e-4, atol=1e-4)
    assert rest.value(intervention, nats) == pytest.approx(loss, rel=1e-4)


def louder_at(site: str) -> Intervention:
    return Intervention(site, lambda h, tokens: 3 * h + tokens.view(*tokens.shape, *[1] * (h.ndim - 2)))


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("part", ["attn.hook_z", "hook_mlp_out"])
def test_it_goes_on_from_heads_and_mlps(sharp_model: HookedModel, batch: Batch, layer: int, part: str) -> None:
    louder = louder_at(f"blocks.{layer}.{part}")
    if part == "attn.hook_z":
        louder = dataclasses.replace(louder, heads=(1, 2))
    with intervene(sharp_model, louder):
        expected = scored_logits(sharp_model, batch)
    torch.testing.assert_close(Continuation(sharp_model, batch, louder.site).logits(louder), expected)


@pytest.mark.parametrize("site", [SITES[0], "blocks.0.attn.hook_z"])
def test_sequences_may_run_one_at_a_time(
    sharp_model: HookedModel, batch: Batch, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest, where = Continuation(sharp_model, batch, site), torch.arange(N * N_POS).view(N, N_POS) % 3 == 0
    louder = dataclasses.replace(louder_at(site), where=where[:, : rest.activations.shape[1]])
    at_once = rest.logits(louder)
    monkeypatch.setattr("rtinterp.analysis.continuation.ACTIVATIONS_PER_SLICE", 1)
    torch.testing.assert_close(rest.logits(louder), at_once)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_it_goes_on_through_any_number_of_layers(batch: Batch, n_layers: int) -> None:
    task = SimpleNamespace(name="tiny", d_vocab=11, d_vocab_out=11, reads="tokens", n_ctx=12)
    model = build_model(task, ModelSpec(d_model=16, n_layers=n_layers, n_heads=2), seed=0)  # pyright: ignore[reportArgumentType]
    for site in (*residual_sites(model), *(f"blocks.{n_layers - 1}.{part}" for part in READ_FROM)):
        louder = louder_at(site)
        with intervene(model, louder):
            expected = scored_logits(model, batch)
        torch.testing.assert_close(Continuation(model, batch, site).logits(louder), expected, rtol=1e-4, atol=1e-4)


def test_what_it_cannot_go_on_from_is_refused(sharp_model: HookedModel, batch: Batch) -> None:
    with pytest.raises(ValueError, match=r"'blocks\.0\.hook_attn_out' is no site of the residual stream"):
        Continuation(sharp_model, batch, "blocks.0.hook_attn_out")
    unscored = Batch(batch.tokens, torch.zeros_like(batch.scored))
    with pytest.raises(ValueError, match="no position of the batch is scored"):
        Continuation(sharp_model, unscored, SITES[0])
    with pytest.raises(ValueError, match=r"is at 'blocks\.0\.hook_resid_mid'; this goes on from"):
        Continuation(sharp_model, batch, SITES[0]).value(Intervention(SITES[1], lambda h, _: h))
    with pytest.raises(ValueError, match="has no attention heads"):
        Continuation(build_model(ModularAddition(p=11), RecurrentSpec(8), seed=0), batch, "hook_embed")
