"""Attention without softmax: its state is what queries read, can be changed, and goes on over cached keys."""

from __future__ import annotations

import pytest
import torch
from random_attention_references import N_POS, SPECS, TASK, planted
from torch import Tensor
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

from rtinterp.models.transformer.hooked import hooked_transformer
from rtinterp.models.transformer.linear_attention import decays

KINDS = ("linear", "linear_normalised", "retention")
TOKENS = torch.randint(TASK.d_vocab, (3, N_POS), generator=torch.Generator().manual_seed(0))
D_HEAD = SPECS["linear"].d_head


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(kind: str):
    return hooked_transformer(TASK, SPECS[kind], planted(SPECS[kind], 0))


@torch.no_grad()
def test_a_query_reads_the_state(model, kind: str) -> None:
    logits, cache = model.run_with_cache(TOKENS)
    torch.testing.assert_close(model(TOKENS), logits)
    for layer in range(SPECS[kind].n_layers):
        q, state, z = (cache[f"blocks.{layer}.attn.hook_{name}"] for name in ("q", "state", "z"))
        if kind == "linear_normalised":
            q = torch.nn.functional.elu(q) + 1
            divisor = cache["attn_scores", layer].sum(-1).transpose(1, 2)[..., None]
        else:
            divisor = D_HEAD**0.5
        torch.testing.assert_close(torch.einsum("bqhi,bqhij->bqhj", q, state) / divisor, z, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_state_is_the_one_before_faded_and_what_the_position_adds(model, kind: str) -> None:
    _, cache = model.run_with_cache(TOKENS)
    k, v, state = (cache[f"blocks.0.attn.hook_{name}"] for name in ("k", "v", "state"))
    k = torch.nn.functional.elu(k) + 1 if kind == "linear_normalised" else k
    left = [1 - 2.0 ** (-5 - head) if kind == "retention" else 1.0 for head in range(k.shape[2])]
    expected = state[:, :-1] * torch.tensor(left)[:, None, None] + k[:, 1:, :, :, None] * v[:, 1:, :, None]
    torch.testing.assert_close(state[:, 1:], expected, atol=1e-5, rtol=1e-4)
    assert decays(kind, 4).tolist() == left[:4]


@torch.no_grad()
def test_an_emptied_state_says_nothing_at_its_position_alone(model) -> None:
    at = 4

    def emptied(state: Tensor, hook: object) -> Tensor:
        state = state.clone()
        state[:, at] = 0
        return state

    _, cache = model.run_with_cache(TOKENS)
    with model.hooks([("blocks.0.attn.hook_state", emptied)]):
        _, changed = model.run_with_cache(TOKENS)
    z = changed["z", 0]
    assert z[:, at].abs().max() < 1e-5 < 1e-2 < cache["z", 0][:, at].abs().max()
    others = [position for position in range(N_POS) if position != at]
    torch.testing.assert_close(z[:, others], cache["z", 0][:, others])


@torch.no_grad()
def test_a_changed_pattern_changes_the_run_whether_or_not_the_state_is_looked_at(model) -> None:
    hooks = [("blocks.0.attn.hook_pattern", lambda pattern, hook: torch.zeros_like(pattern))]
    without = model.run_with_hooks(TOKENS, fwd_hooks=hooks)
    looked_at = model.run_with_hooks(TOKENS, fwd_hooks=[*hooks, ("blocks.0.attn.hook_state", lambda state, hook: None)])
    torch.testing.assert_close(without, looked_at)
    assert (without - model(TOKENS)).abs().max() > 1e-2


@torch.no_grad()
def test_cached_keys_go_on(model) -> None:
    past = TransformerLensKeyValueCache.init_cache(model.cfg, "cpu", len(TOKENS))
    hooks = [("blocks.0.attn.hook_state", lambda state, hook: states.append(state))]
    states: list[Tensor] = []
    with model.hooks(hooks):
        parts = [model(TOKENS[:, :4], past_kv_cache=past), model(TOKENS[:, 4:], past_kv_cache=past)]
        expected = model(TOKENS)
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.cat(states[:2], 1), states[2], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_masked_position_adds_nothing(model) -> None:
    mask = torch.ones_like(TOKENS)
    mask[:, 3] = 0
    logits, cache = model.run_with_cache(TOKENS, attention_mask=mask)
    assert cache["pattern", 0][..., 3].abs().max() == 0
    left = cache["state", 0] if "state" in cache else cache["blocks.0.attn.hook_state"]
    other = TOKENS.clone()
    other[:, 3] = (other[:, 3] + 1) % TASK.d_vocab
    _, changed = model.run_with_cache(other, attention_mask=mask)
    torch.testing.assert_close(changed["blocks.0.attn.hook_state"], left)
    assert logits.isfinite().all()
