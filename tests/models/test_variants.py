"""Variants of the transformer: fixed sinusoidal positions, the target's amplified initialisation."""

from __future__ import annotations

import math

import pytest
import torch

from rtinterp.models.regimes import TRAINABLE, trained_parameters
from rtinterp.models.transformer.spec import ModelSpec

D_VOCAB, N_CTX = 11, 30


@pytest.mark.parametrize("d_model", [8, 12])
def test_sinusoidal_positions_are_those_of_vaswani_et_al(d_model: int) -> None:
    spec = ModelSpec(d_model, positions="sinusoidal")
    W_pos = spec.initial_tensors(D_VOCAB, N_CTX, seed=3)["pos_embed.W_pos"]
    for position in range(N_CTX):
        for i in range(d_model // 2):
            angle = position / 10_000 ** (2 * i / d_model)
            assert W_pos[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert W_pos[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    assert torch.equal(W_pos, spec.initial_tensors(D_VOCAB, N_CTX, seed=4)["pos_embed.W_pos"])


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_sinusoidal_positions_never_train_and_nothing_else_changes(trainable: str) -> None:
    learned, sinusoidal = (
        {p.name for p in trained_parameters(ModelSpec(8, positions=positions).parameters(D_VOCAB, N_CTX), trainable)}
        for positions in ("learned", "sinusoidal")
    )
    assert sinusoidal == learned - {"pos_embed.W_pos"}
    spec, fixed = ModelSpec(8), ModelSpec(8, positions="sinusoidal")
    tensors, with_fixed = (s.initial_tensors(D_VOCAB, N_CTX, seed=0) for s in (spec, fixed))
    assert [name for name in tensors if not torch.equal(tensors[name], with_fixed[name])] == ["pos_embed.W_pos"]


def test_the_targets_initialisation_amplifies_what_the_official_code_does() -> None:
    """Of MLP outputs 20 times, of queries, keys and values 10 times, of the unembedding 100 / sqrt(d_model) times."""
    spec, target = ModelSpec(64, n_layers=3), ModelSpec(64, n_layers=3, init="imitation_target")
    plain, amplified = (s.initial_tensors(D_VOCAB, N_CTX, seed=0) for s in (spec, target))
    gains = {"mlp.W_out": 20.0, "attn.W_Q": 10.0, "attn.W_K": 10.0, "attn.W_V": 10.0, "unembed.W_U": 12.5}
    for name, tensor in plain.items():
        gain = next((gain for part, gain in gains.items() if name.endswith(part)), 1.0)
        torch.testing.assert_close(amplified[name], gain * tensor, msg=name)
