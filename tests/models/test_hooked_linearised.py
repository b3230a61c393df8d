"""The linearised transformer and fixed positions with hook points: the stack's logits, and a pattern to change."""

from __future__ import annotations

import pytest
import torch
from model_references import planted_tensors
from torch import Tensor

from rtinterp.models.build import build_model
from rtinterp.models.prefixes import distinct_prefixes, share_entries
from rtinterp.models.regimes import freeze
from rtinterp.models.transformer.hooked import hooked_transformer
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
LINEARISED = ModelSpec(d_model=24, n_layers=3, n_heads=2, attention="prefix_sum")
N_SEQUENCES, N_POS = 5, 9
TOKENS = torch.randint(TASK.d_vocab, (N_SEQUENCES, N_POS), generator=torch.Generator().manual_seed(0))


def planted(spec: ModelSpec) -> dict[str, Tensor]:
    return planted_tensors(spec, TASK.d_vocab, TASK.n_ctx, seed=2)


def stacked_logits(spec: ModelSpec, tensors: dict[str, Tensor]) -> Tensor:
    """At every position, of a stack of one."""
    prefixes = distinct_prefixes(TOKENS[None], torch.full((1, N_SEQUENCES), N_POS))
    entries, (shared,) = share_entries([prefixes], N_POS)
    model = spec.stack_model({name: tensor[None] for name, tensor in tensors.items()})
    positions = torch.arange(N_POS).expand(1, N_SEQUENCES, N_POS)
    residual = model.scored_residual(model.embed(entries), shared, positions)
    return model.unembedding(residual).view(N_SEQUENCES, N_POS, TASK.d_vocab)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
@pytest.mark.parametrize("attention", ["softmax", "prefix_sum"])
@torch.no_grad()
def test_hooked_logits_are_those_of_the_stack(attention: str, positions: str) -> None:
    spec = ModelSpec(d_model=24, n_layers=3, n_heads=2, attention=attention, positions=positions)
    tensors = planted(spec)
    logits = hooked_transformer(TASK, spec, tensors)(TOKENS)
    assert logits.std() > 0.5, "the planted weights make no difference"
    torch.testing.assert_close(logits, stacked_logits(spec, tensors), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_pattern_is_a_triangle_of_ones_and_changing_it_changes_the_run() -> None:
    model = hooked_transformer(TASK, LINEARISED, planted(LINEARISED))
    logits, cache = model.run_with_cache(TOKENS)
    for layer in range(LINEARISED.n_layers):
        assert torch.equal(cache["pattern", layer], torch.ones(N_POS, N_POS).tril().expand(N_SEQUENCES, 2, -1, -1))
        sums = torch.einsum("bphd,hdm->bpm", cache["v", layer].cumsum(1), model.blocks[layer].attn.W_O)
        expected = sums + model.blocks[layer].attn.b_O
        torch.testing.assert_close(cache["attn_out", layer], expected, atol=1e-5, rtol=1e-4)

    def see_oneself_alone(pattern: Tensor, hook: object) -> Tensor:
        return torch.eye(N_POS).expand_as(pattern)

    hooks = [(f"blocks.{layer}.attn.hook_pattern", see_oneself_alone) for layer in range(LINEARISED.n_layers)]
    alone = model.run_with_hooks(TOKENS, fwd_hooks=hooks)
    assert (alone - logits)[:, 1:].abs().max() > 1e-2
    torch.testing.assert_close(alone[:, 0], logits[:, 0])
    assert torch.equal(model(TOKENS), logits), "the hooks are gone"


@torch.no_grad()
def test_per_head_results_and_cached_keys_change_nothing() -> None:
    from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

    model = hooked_transformer(TASK, LINEARISED, planted(LINEARISED))
    expected = model(TOKENS)
    model.set_use_attn_result(True)
    logits, cache = model.run_with_cache(TOKENS)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    total = cache["result", 0].sum(2) + model.blocks[0].attn.b_O
    torch.testing.assert_close(cache["attn_out", 0], total, atol=1e-5, rtol=1e-4)
    past = TransformerLensKeyValueCache.init_cache(model.cfg, "cpu", N_SEQUENCES)
    steps = [model(part, attention_mask=torch.ones_like(part), past_kv_cache=past) for part in TOKENS.split(4, dim=1)]
    torch.testing.assert_close(torch.cat(steps, dim=1), expected, atol=1e-5, rtol=1e-4)


def test_a_masked_position_is_not_summed() -> None:
    model = hooked_transformer(TASK, LINEARISED, planted(LINEARISED))
    mask = torch.ones_like(TOKENS)
    mask[:, 3] = 0
    _, cache = model.run_with_cache(TOKENS, attention_mask=mask)
    expected = torch.ones(N_POS, N_POS).tril()
    expected[:, 3] = 0
    assert torch.equal(cache["pattern", 0], expected.expand(N_SEQUENCES, 2, -1, -1))


def test_sinusoidal_positions_never_train() -> None:
    spec = ModelSpec(d_model=16, positions="sinusoidal")
    parameters = dict(freeze(build_model(TASK, spec, 0), "embeddings").named_parameters())
    assert {name for name, p in parameters.items() if p.requires_grad} == {"embed.W_E", "unembed.W_U"}
    parameters = dict(freeze(build_model(TASK, spec, 0), "all").named_parameters())
    assert {name for name, p in parameters.items() if not p.requires_grad} == {"pos_embed.W_pos", "unembed.b_U"}
