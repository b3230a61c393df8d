from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rtinterp.analysis import propagation_table
from rtinterp.analysis.signal_propagation import mean_square, token_cosine
from rtinterp.models.build import build_model, hooked_model
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import CircuitImitation

D_MODEL, N_LAYERS, N_POS = 128, 24, 64
TASK = CircuitImitation(8, n_tokens=N_POS, d_vocab=N_POS)


def test_statistics_are_those_of_numpy() -> None:
    residual = torch.randn(3, 9, 5, generator=torch.Generator().manual_seed(0)) + 0.4
    expected = []
    for tokens in residual.double().numpy():
        unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
        expected.append((unit @ unit.T)[~np.eye(9, dtype=bool)].mean())
    assert token_cosine(residual) == pytest.approx(np.mean(expected), rel=1e-6)
    assert mean_square(residual) == pytest.approx(np.square(residual.numpy()).mean(), rel=1e-6)


def test_equal_tokens_and_opposite_ones() -> None:
    one = torch.randn(2, 1, 7, generator=torch.Generator().manual_seed(0))
    assert token_cosine(one.expand(2, 5, 7)) == pytest.approx(1.0)
    assert token_cosine(torch.cat([one, -3 * one], 1)) == pytest.approx(-1.0)
    with pytest.raises(ValueError, match="pass two positions at least"):
        token_cosine(one)


def of_unit_variance(spec: ModelSpec) -> dict[str, Tensor]:
    """Matrices from N(0, 1 / d_in), inputs from N(0, 1), so that every map keeps the size of what it reads."""
    tensors = spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed=0, d_vocab_out=TASK.d_vocab_out)
    for name, tensor in tensors.items():
        if ".W_" in name:
            d_in = 1 if "embed.W_E" in name else spec.d_model
            d_in = spec.d_mlp if name.endswith("W_out") else d_in
            tensors[name] = tensor / tensor.std() * d_in**-0.5
    tensors["pos_embed.W_pos"].zero_()
    return tensors


def at_the_end(**fields) -> tuple[float, float]:
    spec = ModelSpec(
        D_MODEL, N_LAYERS, 8, norm="rms_norm", mlp="gated", activation="scaled_leaky_relu", init="normal", **fields
    )
    model = hooked_model(TASK, spec, of_unit_variance(spec))
    tokens = torch.stack([torch.randperm(N_POS, generator=torch.Generator().manual_seed(seed)) for seed in range(4)])
    table = propagation_table(model, tokens)
    assert table["layer"].to_list() == list(range(N_LAYERS + 1))
    assert table["mean_square"][0] == pytest.approx(1.0, rel=0.1)
    return table["cosine"][-1], table["mean_square"][-1]


@pytest.mark.parametrize("attention", ["random_mixing", "random_mixing_with_sink"])
def test_random_mixing_keeps_tokens_apart_and_their_norms(attention: str) -> None:
    """As published: cosines stay below 0.06, and squared norms between 0.8 and 1.3."""
    cosine, square = at_the_end(attention=attention, skip_share=0.5)
    if attention == "random_mixing":
        assert abs(cosine) < 0.06
        assert 0.8 < square < 1.3
    else:  # one head of eight has the first token in common
        assert abs(cosine) < 0.3


def test_softmax_makes_tokens_alike_and_the_more_without_a_skip() -> None:
    cosines = [at_the_end(skip_share=share)[0] for share in (None, 0.5)]
    # All but a thousandth of the stream is what was just written.
    without, _ = at_the_end(skip_share=1e-6)
    assert 0.1 < cosines[0] < cosines[1] < without
    assert without > 0.99


def test_only_a_transformer_has_a_residual_stream() -> None:
    with pytest.raises(ValueError, match="HookedRecurrent has no residual stream; pass a transformer"):
        propagation_table(build_model(TASK, RecurrentSpec(8), seed=0), torch.zeros(1, 3, dtype=torch.int64))
