"""The model a run hands out works with what people use on HookedTransformers."""

from __future__ import annotations

from importlib.metadata import version

import pytest
import torch
from torch import Tensor

from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)


@pytest.fixture(scope="module")
def model():
    return build_model(TASK, ModelSpec(d_model=16), seed=0)


@pytest.fixture(scope="module")
def prompt() -> Tensor:
    return TASK.sequence(markers=[0, 1], values=[3, 5], query=1)[None, :5]


def test_it_is_a_hooked_transformer_where_there_is_one() -> None:
    from rtinterp.models.hooked_decoder import HookedDecoder

    expected: type = HookedDecoder
    if version("transformer-lens") < "4":
        from transformer_lens import HookedTransformer as expected
    assert type(build_model(TASK, ModelSpec(d_model=16), seed=0)) is expected
    assert type(build_model(TASK, ModelSpec(d_model=16, attention="prefix_sum"), seed=0)) is HookedDecoder


def test_it_has_the_usual_cache(model, prompt: Tensor) -> None:
    from transformer_lens import ActivationCache

    logits, cache = model.run_with_cache(prompt)
    assert isinstance(cache, ActivationCache)
    parts, labels = cache.decompose_resid(layer=2, return_labels=True)
    assert labels == ["embed", "pos_embed", "0_attn_out", "0_mlp_out", "1_attn_out", "1_mlp_out"]
    torch.testing.assert_close(parts.sum(0), cache["resid_post", 1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.ln_final(cache["resid_post", 1]) @ model.W_U, logits, atol=1e-5, rtol=1e-4)


def test_run_with_hooks_changes_the_run_and_nothing_after(model, prompt: Tensor) -> None:
    before = model(prompt)
    changed = model.run_with_hooks(prompt, fwd_hooks=[("blocks.0.attn.hook_z", lambda z, hook: z * 0)])
    assert (changed - before).abs().max() > 1e-6
    assert torch.equal(model(prompt), before)


def test_patching_every_position_restores_the_clean_run(model, prompt: Tensor) -> None:
    from transformer_lens import patching

    corrupted = TASK.sequence(markers=[0, 1], values=[3, 9], query=1)[None, :5]
    with torch.no_grad():
        clean_logits, cache = model.run_with_cache(prompt)
        patched = patching.get_act_patch_resid_pre(model, corrupted, cache, lambda logits: logits[0, -1, 5])
    # Before layer 0 only position 3 differs, so copying it makes the clean run.
    assert patched[0, 3].item() == pytest.approx(clean_logits[0, -1, 5].item(), abs=1e-6)


def test_circuitsvis_draws_its_patterns(model, prompt: Tensor) -> None:
    attention = pytest.importorskip("circuitsvis.attention", reason="circuitsvis is not installed")
    _, cache = model.run_with_cache(prompt)
    labels = TASK.decode(prompt[0]).split()
    html = str(attention.attention_patterns(tokens=labels, attention=cache["pattern", 0][0]))
    assert all(f'"{label}"' in html for label in labels)
