"""A model as TransformerBridge: the same logits and activations, and the differences that ``to_bridge`` tells of."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from model_references import planted_tensors
from torch import Tensor

import rtinterp
from rtinterp.models.build import build_model
from rtinterp.models.transformer.hooked import has_hooked_transformer, hooked_transformer
from rtinterp.tasks import NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
SPEC = rtinterp.ModelSpec(d_model=12, n_layers=2, n_heads=2)
TOKENS = torch.randint(TASK.d_vocab, (2, 5), generator=torch.Generator().manual_seed(0))

on_3 = pytest.mark.skipif(not has_hooked_transformer(), reason="only TransformerLens before 4.0 has no bridge to make")
on_4 = pytest.mark.skipif(has_hooked_transformer(), reason="TransformerBridge as used here came with TransformerLens 4")


@pytest.fixture
def model():
    return hooked_transformer(TASK, SPEC, planted_tensors(SPEC, TASK.d_vocab, TASK.n_ctx, seed=3))


@on_3
def test_an_older_transformer_lens_is_told_of(model) -> None:
    with pytest.raises(ImportError, match=r"needs transformer-lens 4\.0 or newer, and 3\."):
        rtinterp.to_bridge(model)


@on_4
@torch.no_grad()
def test_a_bridge_has_the_logits_and_the_activations(model) -> None:
    before = torch.get_rng_state()
    bridge = rtinterp.to_bridge(model)
    assert torch.equal(torch.get_rng_state(), before)
    (logits, cache), (bridged_logits, bridged_cache) = model.run_with_cache(TOKENS), bridge.run_with_cache(TOKENS)
    torch.testing.assert_close(bridged_logits, logits, atol=1e-5, rtol=1e-5)
    assert set(cache) <= set(bridged_cache)
    for name in cache:
        if not name.endswith("hook_attn_scores"):
            torch.testing.assert_close(bridged_cache[name], cache[name], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(bridged_cache.decompose_resid(), cache.decompose_resid(), atol=1e-5, rtol=1e-5)
    lenses = [each.logit_lens(targets=[3, 4]) for each in (bridged_cache, cache)]
    torch.testing.assert_close(lenses[0].values, lenses[1].values, atol=1e-5, rtol=1e-5)
    assert lenses[0].labels == lenses[1].labels
    torch.testing.assert_close(lenses[1].values[-1], logits[:, -1, [3, 4]], atol=1e-5, rtol=1e-5)
    bridge.W_U.data.zero_()
    assert torch.equal(model(TOKENS), logits), "the weights are copied"


@on_4
@torch.no_grad()
def test_what_a_bridge_does_otherwise(model) -> None:
    bridge = rtinterp.to_bridge(model)
    _, clean = model.run_with_cache(TOKENS.flip(1))

    def patched(x: Tensor, hook: object) -> Tensor:
        return clean["resid_mid", 1]

    def in_place(x: Tensor, hook: object) -> None:
        x[:] = clean["resid_mid", 1]

    expected = model(TOKENS.flip(1))
    for each, write, is_exact in ((model, patched, True), (bridge, patched, False), (bridge, in_place, True)):
        logits = each.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_resid_mid", write)])
        assert torch.allclose(logits, expected, atol=1e-5) == is_exact

    def zero(scores: Tensor, hook: object) -> Tensor:
        return torch.zeros_like(scores)

    for each, has_effect in ((model, True), (bridge, False)):
        with nullcontext() if has_effect else pytest.warns(UserWarning, match="edit is discarded"):
            logits = each.run_with_hooks(TOKENS, fwd_hooks=[("blocks.0.attn.hook_attn_scores", zero)])
        assert torch.allclose(logits, model(TOKENS), atol=1e-5) != has_effect


@on_4
def test_what_a_bridge_cannot_express_is_refused() -> None:
    for spec in (rtinterp.ModelSpec(d_model=8, attention="prefix_sum"), rtinterp.RecurrentSpec(d_model=8)):
        with pytest.raises(ValueError, match="cannot express this Hooked"):
            rtinterp.to_bridge(build_model(TASK, spec, 0))
