"""The bodies of Dong, Noci, Khodak and Li (2025): every field alone, and the presets, against other implementations."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from random_attention_references import N_POS, SPECS, TASK, llama_state, planted, reference_logits
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rtinterp.models.build import build_model, hooked_model
from rtinterp.models.fingerprint import fingerprint, initial_fingerprint
from rtinterp.models.prefixes import distinct_prefixes, order_by_prefix, share_entries
from rtinterp.models.transformer.activations import scaled_leaky_relu
from rtinterp.models.transformer.presets import llama_like, mixit
from rtinterp.models.transformer.spec import ModelSpec


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(TASK.d_vocab, shape, generator=torch.Generator().manual_seed(0))


def scored_logits(spec: ModelSpec, models: list[dict[str, Tensor]], tokens: Tensor, positions: Tensor) -> Tensor:
    order = order_by_prefix(tokens, TASK.d_vocab)
    assert torch.equal(order, torch.arange(tokens.shape[1]).expand_as(order)), "sort the sequences"
    prefixes = distinct_prefixes(tokens, positions.amax(-1) + 1)
    entries, (prefixes,) = share_entries([prefixes], tokens.shape[-1])
    tensors = {name: torch.stack([of[name] for of in models]) for name in models[0]}
    model = spec.stack_model(tensors, frozenset(tensors))
    return model.scored_logits(model.embed(entries), prefixes, positions)


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_hooked_logits_are_those_of_the_definition(spec: ModelSpec) -> None:
    tensors, tokens = planted(spec, 1), random_tokens(3, N_POS)
    expected = reference_logits(spec, tensors, tokens)
    with torch.no_grad():
        logits = hooked_model(TASK, spec, tensors)(tokens).double()
    torch.testing.assert_close(logits, expected, atol=2e-5 * float(expected.abs().max()), rtol=1e-4)


@pytest.mark.parametrize("n_scored", [1, N_POS])
@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_stacked_logits_are_those_of_the_definition(spec: ModelSpec, n_scored: int) -> None:
    """Few scored positions and many take different ways through the last block."""
    models = [planted(spec, seed) for seed in range(2)]
    # Sequences that begin alike share rows.
    tokens = random_tokens(2, 3, N_POS)
    tokens[:, 1, :4] = tokens[:, 0, :4]
    tokens = torch.stack([torch.tensor(sorted(rows)) for rows in tokens.tolist()])
    chosen = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)).argsort(-1)
    positions = chosen[..., :n_scored].sort(-1).values
    logits = scored_logits(spec, models, tokens, positions)
    for tensors, got, rows, at in zip(models, logits, tokens, positions, strict=True):
        expected = reference_logits(spec, tensors, rows)
        expected = torch.stack([row[of_row] for row, of_row in zip(expected, at, strict=True)])
        torch.testing.assert_close(got.double(), expected, atol=2e-5 * float(expected.abs().max()), rtol=1e-4)


@pytest.mark.parametrize("biases", [False, True])
def test_logits_are_those_of_hugging_faces_llama(biases: bool) -> None:
    spec = llama_like(24, n_layers=3, n_heads=3)
    tensors, tokens = planted(spec, 1), random_tokens(3, N_POS)
    if not biases:
        tensors = {name: torch.zeros_like(tensor) if ".b_" in name else tensor for name, tensor in tensors.items()}
    config = LlamaConfig(
        vocab_size=TASK.d_vocab,
        hidden_size=24,
        intermediate_size=spec.d_mlp,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=64,
        rms_norm_eps=1e-6,
        attention_bias=biases,
        mlp_bias=biases,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        theirs = LlamaForCausalLM(config).eval()
    theirs.load_state_dict(llama_state(spec, tensors, biases))
    with torch.no_grad():
        expected = theirs(tokens).logits
        assert expected.std() > 0.3
        torch.testing.assert_close(hooked_model(TASK, spec, tensors)(tokens), expected, atol=1e-4, rtol=1e-4)


def test_random_mixing_is_a_constant_of_the_seed_in_the_fingerprint() -> None:
    spec = mixit(16, mixing_length=N_POS)
    first, again, other = (spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed) for seed in (3, 3, 4))
    name = "blocks.1.attn.mixing"
    assert first[name].shape == (4, N_POS, N_POS)
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])
    assert not torch.equal(first[name][1:], first["blocks.0.attn.mixing"][1:])
    parameters = spec.parameters(TASK.d_vocab, TASK.n_ctx)
    assert fingerprint(first) == initial_fingerprint(parameters, 3) != fingerprint({**first, name: other[name]})
    assert [p.name for p in parameters if p.group == "qk"] == [f"blocks.{layer}.attn.mixing" for layer in range(2)]
    assert not any(p.trains for p in parameters if p.group == "qk")


def test_patterns_show_random_mixing_and_can_be_written_to() -> None:
    spec = mixit(16, mixing_length=N_POS)
    model = build_model(TASK, spec, seed=0)
    tokens = random_tokens(2, 7)
    logits, cache = model.run_with_cache(tokens)
    for layer in range(2):
        mixing = model.blocks[layer].attn.mixing[:, :7, :7]
        torch.testing.assert_close(cache[f"blocks.{layer}.attn.hook_pattern"], mixing.expand(2, -1, -1, -1))
    name = "blocks.1.attn.hook_pattern"
    same = model.run_with_hooks(tokens, fwd_hooks=[(name, lambda pattern, hook: pattern)])
    assert torch.equal(same, logits)

    def first_alone(pattern: Tensor, hook: object) -> Tensor:
        pattern[:, 2] = torch.eye(7)
        return pattern

    changed = model.run_with_hooks(tokens, fwd_hooks=[(name, first_alone)])
    assert (changed[:, 1:] - logits[:, 1:]).abs().max() > 1e-4
    # The first position sees itself alone in any case.
    torch.testing.assert_close(changed[:, 0], logits[:, 0])
    assert torch.equal(model(tokens), logits)


@pytest.mark.parametrize(
    "name",
    ["mixit", "rotary", "linear_normalised", "retention", "gated_linear", "random_mixing", "skip_share", "gated"],
)
def test_every_hook_reads_and_heads_add_up_to_what_is_written(name: str) -> None:
    spec = SPECS[name]
    tensors, tokens = planted(spec, 0), random_tokens(2, N_POS)
    model = hooked_model(TASK, spec, tensors)
    with torch.no_grad():
        logits = model(tokens)
        model.set_use_attn_result(True)
        with_results, cache = model.run_with_cache(tokens)
    torch.testing.assert_close(logits, with_results, atol=1e-4, rtol=1e-4)
    skip = 1.0 if spec.skip_share is None else math.sqrt(spec.skip_share)
    for layer in range(spec.n_layers):
        pre, mid, post = (cache[f"blocks.{layer}.hook_resid_{x}"] for x in ("pre", "mid", "post"))
        torch.testing.assert_close(skip * pre + cache[f"blocks.{layer}.hook_attn_out"], mid)
        torch.testing.assert_close(skip * mid + cache[f"blocks.{layer}.hook_mlp_out"], post)


def test_keys_and_values_of_the_past_can_be_kept() -> None:
    from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

    for name in ("llama_like", "mixit"):
        model = hooked_model(TASK, SPECS[name], planted(SPECS[name], 0))
        tokens = random_tokens(2, N_POS)
        past = TransformerLensKeyValueCache.init_cache(model.cfg, "cpu", 2)
        with torch.no_grad():
            parts = [model(tokens[:, :4], past_kv_cache=past), model(tokens[:, 4:], past_kv_cache=past)]
            torch.testing.assert_close(torch.cat(parts, 1), model(tokens), atol=1e-4, rtol=1e-4)


def test_sequences_longer_than_random_mixing_are_refused() -> None:
    spec = mixit(16, mixing_length=5)
    with pytest.raises(ValueError, match=f"mixing_length=5 is less than the {N_POS} positions .* use {N_POS} or more"):
        build_model(TASK, spec, seed=0)
    model = hooked_model(TASK, spec, spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed=0))
    assert model(random_tokens(1, 5)).shape == (1, 5, TASK.d_vocab)
    with pytest.raises(ValueError, match="sequences of 6 positions are longer than the 5 of random mixing; cut them"):
        model(random_tokens(1, 6))


def test_queries_and_keys_alone_start_larger() -> None:
    plain, other = (
        ModelSpec(64, qk_init_std=std).initial_tensors(5, 5, seed=0) for std in ("as_init", "inverse_sqrt_width")
    )
    for name, tensor in plain.items():
        factor = 1 / 8 / 0.02 if name.endswith(("W_Q", "W_K")) else 1.0
        torch.testing.assert_close(other[name], factor * tensor, msg=name)
    # Without the scaling of what writes to the residual stream.
    normal = ModelSpec(64, init="normal").initial_tensors(5, 5, seed=0)
    for name, tensor in plain.items():
        factor = 2.0 if name.endswith(("W_O", "W_out")) else 1.0
        torch.testing.assert_close(normal[name], factor * tensor, msg=name)


def test_the_activation_keeps_the_mean_square_of_normal_values() -> None:
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    assert scaled_leaky_relu(x, 64).square().mean() == pytest.approx(1.0, abs=0.02)
    assert scaled_leaky_relu(torch.tensor([-1.0]), 4) / scaled_leaky_relu(torch.tensor([1.0]), 4) == -0.5


def test_presets_are_fields() -> None:
    assert (
        dataclasses.asdict(mixit(32)).items()
        >= {
            "attention": "random_mixing_with_sink",
            "positions": "learned",
            "norm": "rms_norm",
            "mlp": "gated",
            "activation": "scaled_leaky_relu",
            "skip_share": 0.5,
            "width_multipliers": True,
        }.items()
    )
    assert mixit(32, sink=False) == dataclasses.replace(mixit(32), attention="random_mixing")
    assert "pos_embed.W_pos" not in [parameter.name for parameter in llama_like(32).parameters(5, 5)]
    assert llama_like(32).label == "transformer"
    with pytest.raises(ValueError, match="'rotary' rotates pairs of dimensions, and d_head=5"):
        llama_like(20)
    for spec in (llama_like(32), mixit(32)):
        assert spec.gpt2_config() is None
