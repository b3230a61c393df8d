"""S4D's layers against a recurrence in complex numbers written out, initial values, and its hook points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rtinterp import build_model
from rtinterp.models.build import hooked_model
from rtinterp.models.prefixes import distinct_prefixes, share_entries
from rtinterp.models.s4d.spec import S4DSpec
from rtinterp.tasks import NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
N_POS = TASK.sequence_length
SPECS = [S4DSpec(8, d_state=6), S4DSpec(12, n_layers=3, d_state=2), S4DSpec(6, n_layers=1, d_state=64)]
TOKENS = torch.randint(TASK.d_vocab, (4, N_POS), generator=torch.Generator().manual_seed(0))

specs = pytest.mark.parametrize("spec", SPECS, ids=str)


def planted(spec: S4DSpec, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed)
    for name, tensor in tensors.items():
        if name != "unembed.b_U":
            tensors[name] = tensor + 0.2 * torch.randn(tensor.shape, generator=generator)
    return tensors


def reference_logits(spec: S4DSpec, tensors: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """The definition in numpy's complex128, position by position."""
    t = {name: tensor.double().numpy() for name, tensor in tensors.items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * t[f"{name}.w"] + t[f"{name}.b"]

    x = t["embed.W_E"][tokens.numpy()]
    for layer in range(spec.n_layers):
        mixer = f"blocks.{layer}.mixer"
        u = norm(x, f"blocks.{layer}.ln1")
        rate = -np.exp(t[f"{mixer}.log_A_real"]) + 1j * t[f"{mixer}.A_imag"]
        step = np.exp(t[f"{mixer}.log_dt"])[:, None]
        weights = t[f"{mixer}.C"][..., 0] + 1j * t[f"{mixer}.C"][..., 1]
        state = np.zeros((len(x), spec.d_model, spec.d_state // 2), dtype=complex)
        y = np.zeros_like(u)
        for at in range(x.shape[1]):
            state = np.exp(step * rate) * state + (np.exp(step * rate) - 1) / rate * u[:, at, :, None]
            # Each number with its conjugate.
            y[:, at] = ((weights * state).sum(-1) + (weights.conj() * state.conj()).sum(-1)).real
        y = y + t[f"{mixer}.D"] * u
        y = 0.5 * y * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))
        out = y @ t[f"{mixer}.W_out"] + t[f"{mixer}.b_out"]
        value, gate = np.split(out, 2, -1)
        x = x + value / (1 + np.exp(-gate))
    return torch.from_numpy(norm(x, "ln_final") @ t["unembed.W_U"]).float()


@specs
@torch.no_grad()
def test_hooked_logits_are_those_of_the_definition(spec: S4DSpec) -> None:
    tensors = planted(spec, 0)
    expected = reference_logits(spec, tensors, TOKENS)
    assert expected.std() > 0.3
    torch.testing.assert_close(hooked_model(TASK, spec, tensors)(TOKENS), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_scored", [1, 4])
@specs
@torch.no_grad()
def test_stacked_logits_are_those_of_the_definition_at_the_scored_positions(spec: S4DSpec, n_scored: int) -> None:
    """Sequences end at different positions, and some begin alike."""
    generator = torch.Generator().manual_seed(1)
    models = [planted(spec, seed) for seed in range(3)]
    tokens = torch.randint(TASK.d_vocab, (3, 6, N_POS), generator=generator)
    tokens[:, 3:, :5] = tokens[:, :3, :5]
    positions = torch.randint(N_POS, (3, 6, n_scored), generator=generator).sort(-1).values
    prefixes = distinct_prefixes(tokens, positions.amax(-1) + 1)
    entries, (shared,) = share_entries([prefixes], N_POS)
    model = spec.stack_model({name: torch.stack([one[name] for one in models]) for name in models[0]})
    logits = model.scored_logits(model.embed(entries), shared, positions)
    for index, tensors in enumerate(models):
        expected = reference_logits(spec, tensors, tokens[index])
        expected = expected.gather(1, positions[index][..., None].expand(-1, -1, TASK.d_vocab))
        torch.testing.assert_close(logits[index], expected, atol=1e-4, rtol=1e-4)


def test_initial_values_are_those_of_s4d_lin() -> None:
    spec = S4DSpec(256, d_state=64)
    tensors = spec.initial_tensors(10, 10, seed=0)
    mixer = {
        name.removeprefix("blocks.1.mixer."): t for name, t in tensors.items() if name.startswith("blocks.1.mixer")
    }
    assert mixer["log_A_real"].exp().eq(0.5).all()
    torch.testing.assert_close(mixer["A_imag"], (math.pi * torch.arange(32.0)).expand(256, 32))
    steps = mixer["log_dt"].exp()
    assert 1e-3 <= steps.min() < 1.2e-3
    assert 0.085 < steps.max() <= 0.1
    assert mixer["C"].square().sum(-1).mean().item() == pytest.approx(1, abs=0.05)
    for parameter in spec.parameters(10, 10):
        if (rms := parameter.initial.root_mean_square(parameter.shape)) > 0:
            actual = tensors[parameter.name].square().mean().sqrt().item()
            assert actual == pytest.approx(rms, rel=0.15), parameter.name


@torch.no_grad()
def test_an_emptied_state_leaves_what_is_given_as_it_is() -> None:
    spec = SPECS[0]
    model = hooked_model(TASK, spec, planted(spec, 0))
    _, cache = model.run_with_cache(TOKENS)
    assert cache["blocks.0.mixer.hook_state"].shape == (4, N_POS, 8, 3)

    def emptied(state: Tensor, hook: object) -> Tensor:
        state = state.clone()
        state[:, 5] = 0
        return state

    with model.hooks([("blocks.0.mixer.hook_state", emptied)]):
        _, changed = model.run_with_cache(TOKENS)
    y, before = changed["blocks.0.mixer.hook_y"], cache["blocks.0.mixer.hook_y"]
    u = model.blocks[0].ln1(cache["blocks.0.hook_resid_pre"])
    torch.testing.assert_close(y[:, 5], model.blocks[0].mixer.D * u[:, 5])
    others = [position for position in range(N_POS) if position != 5]
    torch.testing.assert_close(y[:, others], before[:, others])
    assert (y[:, 5] - before[:, 5]).abs().max() > 1e-2


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="d_state=5 is odd, and numbers come in pairs; use 6"):
        S4DSpec(8, d_state=5)
    mask = torch.ones_like(TOKENS)
    mask[:, 2] = 0
    with pytest.raises(ValueError, match="pass no attention_mask"):
        build_model(TASK, S4DSpec(8), seed=0)(TOKENS, attention_mask=mask)
