"""Gated linear attention: all at once as position by position, however long and however its gates close."""

from __future__ import annotations

import math

import pytest
import torch
from random_attention_references import N_POS, TASK, planted
from torch import Tensor
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

from rtinterp.models.build import hooked_model
from rtinterp.models.fingerprint import fingerprint, initial_fingerprint
from rtinterp.models.transformer.gates import gate_logarithms, gated_pattern, running_sum
from rtinterp.models.transformer.spec import ModelSpec

SPEC = ModelSpec(16, n_layers=3, attention="gated_linear")
TOKENS = torch.randint(TASK.d_vocab, (3, N_POS), generator=torch.Generator().manual_seed(0))
#: What sigmoids are taken of: a mean and a standard deviation. At -160 a gate is the least there is.
OPENINGS = {"as drawn": (0.0, 0.3), "closing": (-40.0, 40.0), "closed": (-1000.0, 500.0), "open": (20.0, 5.0)}


def looped(q: Tensor, k: Tensor, v: Tensor, opening: Tensor) -> Tensor:
    """The recurrence as the paper writes it."""
    gates = torch.sigmoid(opening).clamp(min=math.exp(-160)) ** (1 / 16)
    state, read = torch.zeros(*k.shape[:-2], k.shape[-1], v.shape[-1]).to(k), []
    for at in range(k.shape[-2]):
        state = gates[..., at, :, None] * state + k[..., at, :, None] * v[..., at, None, :]
        read.append((q[..., at, None, :] @ state)[..., 0, :] / math.sqrt(k.shape[-1]))
    return torch.stack(read, -2)


def mixed_at_once(q: Tensor, k: Tensor, v: Tensor, opening: Tensor) -> Tensor:
    left = running_sum(gate_logarithms(opening))
    visible = torch.ones(k.shape[-2], k.shape[-2], dtype=torch.bool).tril()
    return gated_pattern(q, k, left, left, visible) @ v


def drawn(n_pos: int, openings: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(n_pos)
    q, k, v, opening = torch.randn(4, 2, 3, n_pos, 4, generator=generator)
    mean, std = OPENINGS[openings]
    return [q, k, v, mean + std * opening]


@pytest.mark.parametrize("openings", OPENINGS)
@pytest.mark.parametrize("n_pos", [1, 7, 8, 9, 41, 512])
def test_all_at_once_is_position_by_position(n_pos: int, openings: str) -> None:
    """Values and gradients in float32 against autograd through the recurrence in float64."""
    inputs = [part.requires_grad_() for part in drawn(n_pos, openings)]
    exact = [part.detach().double().requires_grad_() for part in inputs]
    got, expected = mixed_at_once(*inputs), looped(*exact)
    torch.testing.assert_close(got.double(), expected, atol=2e-5 * float(expected.detach().abs().max()), rtol=1e-5)
    weights = torch.randn(got.shape, generator=torch.Generator().manual_seed(0))
    (got * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    for name, ours, reference in zip(("q", "k", "v", "opening"), inputs, exact, strict=True):
        assert ours.grad is not None
        assert reference.grad is not None
        scale = float(reference.grad.abs().max())
        torch.testing.assert_close(ours.grad.double(), reference.grad, atol=3e-5 * scale, rtol=1e-4, msg=name)


def test_some_queries_take_what_they_take_among_all() -> None:
    q, k, _, opening = drawn(41, "as drawn")
    left, at = running_sum(gate_logarithms(opening)), torch.tensor([3, 17, 40])
    visible = torch.ones(41, 41, dtype=torch.bool).tril()
    torch.testing.assert_close(
        gated_pattern(q[..., at, :], k, left[..., at, :], left, visible[at]),
        gated_pattern(q, k, left, left, visible)[..., at, :],
    )


@pytest.fixture(scope="module")
def model():
    return hooked_model(TASK, SPEC, planted(SPEC, 0))


@torch.no_grad()
def test_the_state_is_the_one_before_gated_and_what_the_position_adds(model) -> None:
    logits, cache = model.run_with_cache(TOKENS)
    torch.testing.assert_close(model(TOKENS), logits)
    for layer in range(SPEC.n_layers):
        q, k, v, z, gate, state = (
            cache[f"blocks.{layer}.attn.hook_{name}"] for name in ("q", "k", "v", "z", "gate", "state")
        )
        x = cache[f"blocks.{layer}.ln1.hook_normalized"] * model.blocks[layer].ln1.w + model.blocks[layer].ln1.b
        opening = torch.einsum("bpm,hmd->bphd", x, model.blocks[layer].attn.W_G) + model.blocks[layer].attn.b_G
        torch.testing.assert_close(gate, torch.sigmoid(opening) ** (1 / 16))
        assert gate.std() > 1e-3, "no token is as any other"
        expected = gate[:, 1:, :, :, None] * state[:, :-1] + k[:, 1:, :, :, None] * v[:, 1:, :, None]
        torch.testing.assert_close(state[:, 1:], expected, atol=1e-5, rtol=1e-4)
        read = torch.einsum("bqhi,bqhij->bqhj", q, state) / math.sqrt(SPEC.d_head)
        torch.testing.assert_close(read, z, atol=1e-5, rtol=1e-4)
        assert cache["pattern", layer].triu(1).abs().max() == 0


@torch.no_grad()
def test_what_is_written_to_gates_is_what_is_kept(model) -> None:
    at = 4

    def forget(gate: Tensor, hook: object) -> Tensor:
        gate = gate.clone()
        gate[:, at] = 0
        return gate

    with model.hooks([("blocks.0.attn.hook_gate", forget)]):
        _, changed = model.run_with_cache(TOKENS)
    pattern = changed["pattern", 0]
    assert pattern[:, :, at:, :at].abs().max() < 1e-3 < 1e-2 < pattern[:, :, at:, at:].abs().max()
    k, v, state = (changed[f"blocks.0.attn.hook_{name}"][:, at] for name in ("k", "v", "state"))
    torch.testing.assert_close(state, torch.einsum("bhi,bhj->bhij", k, v), atol=1e-3, rtol=1e-3)
    with model.hooks([("blocks.0.attn.hook_gate", lambda gate, hook: torch.ones_like(gate))]):
        _, kept = model.run_with_cache(TOKENS)
    q, k = (kept[f"blocks.0.attn.hook_{name}"].transpose(1, 2) for name in "qk")
    torch.testing.assert_close(kept["pattern", 0], (q @ k.mT / math.sqrt(SPEC.d_head)).tril(), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_an_emptied_state_says_nothing_at_its_position_alone(model) -> None:
    def emptied(state: Tensor, hook: object) -> Tensor:
        state = state.clone()
        state[:, 4] = 0
        return state

    _, cache = model.run_with_cache(TOKENS)
    with model.hooks([("blocks.0.attn.hook_state", emptied)]):
        _, changed = model.run_with_cache(TOKENS)
    assert changed["z", 0][:, 4].abs().max() < 1e-5 < 1e-2 < cache["z", 0][:, 4].abs().max()
    others = [position for position in range(N_POS) if position != 4]
    torch.testing.assert_close(changed["z", 0][:, others], cache["z", 0][:, others])


@torch.no_grad()
@pytest.mark.parametrize("frozen", [False, True])
def test_cached_keys_have_faded_and_go_on(model, frozen: bool) -> None:
    past = TransformerLensKeyValueCache.init_cache(model.cfg, "cpu", len(TOKENS))
    states: list[Tensor] = []
    with model.hooks([("blocks.0.attn.hook_state", lambda state, hook: states.append(state))]):
        parts = [model(TOKENS[:, start:stop], past_kv_cache=past) for start, stop in ((0, 4), (4, 5))]
        if frozen:
            past.freeze()
            model(TOKENS[:, 7:], past_kv_cache=past)
            states.pop()
        parts.append(model(TOKENS[:, 5:], past_kv_cache=past))
        expected = model(TOKENS)
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.cat(states[:3], 1), states[3], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_masked_position_adds_nothing_and_leaves_all(model) -> None:
    mask = torch.ones_like(TOKENS)
    mask[:, 3] = 0
    _, cache = model.run_with_cache(TOKENS, attention_mask=mask)
    assert cache["pattern", 0][..., 3].abs().max() == 0
    state = cache["blocks.0.attn.hook_state"]
    torch.testing.assert_close(state[:, 3], state[:, 2])
    other = TOKENS.clone()
    other[:, 3] = (other[:, 3] + 1) % TASK.d_vocab
    _, changed = model.run_with_cache(other, attention_mask=mask)
    torch.testing.assert_close(changed["blocks.0.attn.hook_state"], state)


def test_gates_are_constants_of_the_seed_in_the_fingerprint() -> None:
    first, again, other = (SPEC.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed) for seed in (3, 3, 4))
    name = "blocks.1.attn.W_G"
    assert first[name].shape == (4, 16, 4)
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])
    parameters = SPEC.parameters(TASK.d_vocab, TASK.n_ctx)
    assert fingerprint(first) == initial_fingerprint(parameters, 3) != fingerprint({**first, name: other[name]})
    gates = {p.name: (p.group, p.decays) for p in parameters if p.name.endswith("_G")}
    assert gates["blocks.2.attn.W_G"] == ("qk", True)
    assert gates["blocks.2.attn.b_G"] == ("qk", False)
    # The other tensors are those of the same seed without gates.
    plain = ModelSpec(16, n_layers=3, attention="linear").initial_tensors(TASK.d_vocab, TASK.n_ctx, 3)
    assert first.keys() - plain.keys() == gates.keys()
    assert all(torch.equal(first[name], tensor) for name, tensor in plain.items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"positions": "rotary"}, "rotates queries and keys, which attention='gated_linear' does not compare"),
        ({"mixing_length": 8}, "mixing_length=8 is about random mixing, and attention is 'gated_linear'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_fields_without_a_meaning_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSpec(16, attention="gated_linear", **fields)  # pyright: ignore[reportArgumentType]
