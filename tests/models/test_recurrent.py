"""Recurrent bodies: PyTorch's arithmetic and initial values, in a stack and with hook points."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from recurrent_references import (
    RECURRENT_SPECS,
    ours,
    planted_recurrent,
    stacked,
    torch_name,
    torch_recurrent,
    with_our_weights,
)
from torch import Tensor

from rtinterp.models.build import build_model
from rtinterp.models.fingerprint import fingerprint
from rtinterp.models.prefixes import distinct_prefixes, share_entries
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.regimes import TRAINABLE, freeze, trained_parameters
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
SEEDS = (0, 1, 12)
N_SEQUENCES, N_POS = 5, 9

EMBEDDED = {"embed.W_E", "unembed.W_U", "unembed.b_U"}
#: None stands for everything.
TRAINED = {
    "embeddings": EMBEDDED,
    "all": None,
    "unembedding": {"unembed.W_U", "unembed.b_U"},
    "input_embeddings": {"embed.W_E"},
    "token_embedding+unembedding": EMBEDDED,
    "frozen_qk": None,
    "frozen_mlp": None,
}

#: sha256 of the initial tensors with 5 tokens and seed 3. Every stored run depends on it.
GOLDEN_FINGERPRINT = "fa33c27d1791676e931f3f97d61cc947663b75eec4f66fe7500b11d2fa39e902"

specs = pytest.mark.parametrize("spec", RECURRENT_SPECS, ids=str)


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(TASK.d_vocab, shape, generator=torch.Generator().manual_seed(0))


def scored_logits(
    spec: RecurrentSpec,
    tensors: dict[str, Tensor],
    tokens: Tensor,
    positions: Tensor,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Of sequences up to their last scored position; ``[model, batch, scored, d_vocab]``."""
    prefixes = distinct_prefixes(tokens, positions.amax(-1) + 1)
    entries, (shared,) = share_entries([prefixes], tokens.shape[2])
    model = spec.stack_model(tensors, dtype=dtype)
    residual = model.scored_residual(model.embed(entries), shared, positions)
    assert residual.dtype == torch.float32
    return model.unembedding(residual).unflatten(1, positions.shape[1:])


@pytest.mark.parametrize("n_scored", [1, 4])
@pytest.mark.parametrize("values", ["initial", "planted"])
@specs
def test_stacked_logits_are_those_of_torch_at_the_scored_positions(
    spec: RecurrentSpec, values: str, n_scored: int
) -> None:
    """Sequences end at different positions, and some begin alike."""
    if values == "initial":
        models = [spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed) for seed in SEEDS]
    else:
        models = [planted_recurrent(spec, TASK.d_vocab, seed) for seed in SEEDS]
    tokens = random_tokens(len(SEEDS), N_SEQUENCES, N_POS)
    tokens[:, 1, :3] = tokens[:, 0, :3]
    shuffled = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)).argsort(-1)
    positions = shuffled[..., :n_scored].sort(-1).values
    logits = scored_logits(spec, stacked(models), tokens, positions)
    with torch.no_grad():
        for tensors, got, rows, at in zip(models, logits, tokens, positions, strict=True):
            whole = with_our_weights(spec, tensors)(rows)
            expected = torch.stack([row[of_row] for row, of_row in zip(whole, at, strict=True)])
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@specs
def test_no_scored_prediction_reads_a_later_position_padding_or_another_model(spec: RecurrentSpec) -> None:
    tensors = stacked(planted_recurrent(spec, TASK.d_vocab, seed) for seed in range(2))
    tensors["embed.W_E"].requires_grad_()
    # A token stands at one place only, so that its embedding tells the place.
    tokens = torch.randperm(TASK.d_vocab, generator=torch.Generator().manual_seed(2))[: 2 * N_POS].view(2, N_POS)
    weights = torch.randn(TASK.d_vocab, generator=torch.Generator().manual_seed(3))
    for position in range(N_POS):
        # The other sequence is longer: what comes after this one's last scored position is padding.
        positions = torch.tensor([[position], [N_POS - 1]]).expand(2, 2, 1)
        logits = scored_logits(spec, tensors, tokens.expand(2, 2, N_POS), positions)
        (gradient,) = torch.autograd.grad((logits[1, 0, 0] @ weights).sum(), tensors["embed.W_E"])
        size = gradient.abs().amax(-1)
        assert (size[0] == 0).all()
        assert (size[1, tokens[0, : position + 1]] > 0).all()
        assert size[1].count_nonzero() == position + 1


@specs
def test_every_tensor_is_distributed_as_in_torch(spec: RecurrentSpec) -> None:
    """Normal embeddings; all else uniform up to 1 / sqrt(d_model), as nn.LSTM, nn.RNN and nn.Linear document."""
    spec = dataclasses.replace(spec, d_model=4 * spec.d_model)
    theirs = torch_recurrent(spec, TASK.d_vocab).state_dict()
    tensors = spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed=0)
    assert {torch_name(name) for name in tensors} == set(theirs)
    for name, tensor in tensors.items():
        expected = ours(name, theirs[torch_name(name)])
        assert tensor.shape == expected.shape, name
        bound = 1 / math.sqrt(spec.d_model)
        std, kurtosis = (1.0, 3.0) if name == "embed.W_E" else (bound / math.sqrt(3), 1.8)
        for drawn in (tensor, expected):
            # The standard error of a standard deviation is at most 1 / sqrt(2 n) of it.
            error = 1 / math.sqrt(drawn.numel())
            assert abs(drawn.square().mean().sqrt() / std - 1) < 4 * error, name
            assert abs(drawn.mean() / std) < 4 * error, name
            # The variance of x^4 is at most that of a normal x: 96.
            assert abs((drawn / std).pow(4).mean() - kurtosis) < 4 * math.sqrt(96) * error, name
        if name != "embed.W_E":
            # n draws all fall short of the bound by a share e with probability (1 - e)^n.
            assert bound * (1 - 8 / tensor.numel()) < tensor.abs().max() <= bound, name


def test_initial_values_follow_from_the_seed_alone() -> None:
    spec = RECURRENT_SPECS[0]
    first = spec.initial_tensors(5, TASK.n_ctx, seed=3)
    assert fingerprint(first) == GOLDEN_FINGERPRINT
    assert fingerprint(spec.initial_tensors(5, 99, seed=3)) == GOLDEN_FINGERPRINT
    other_task = spec.initial_tensors(31, TASK.n_ctx, seed=3)
    for name, tensor in first.items():
        assert torch.equal(tensor, other_task[name]) == name.startswith("layers."), name
    draws = [x.flatten()[:16] for seed in SEEDS for x in spec.initial_tensors(16, 1, seed).values()]
    assert len({tuple(draw.tolist()) for draw in draws}) == len(draws)


@pytest.mark.parametrize("trainable", TRAINED)
def test_regimes_train_the_unembedding_bias_with_its_matrix(trainable: str) -> None:
    assert set(TRAINED) == set(TRAINABLE)
    spec = RECURRENT_SPECS[1]
    parameters = spec.parameters(TASK.d_vocab, TASK.n_ctx)
    expected = TRAINED[trainable] or {parameter.name for parameter in parameters}
    assert {p.name for p in trained_parameters(spec.parameters(TASK.d_vocab, TASK.n_ctx), trainable)} == expected
    model = freeze(freeze(build_model(TASK, spec, seed=0), "unembedding"), trainable)
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == expected


def test_weight_decay_is_for_matrices() -> None:
    for parameter in RECURRENT_SPECS[0].parameters(TASK.d_vocab, TASK.n_ctx):
        assert parameter.decays == ("bias" not in parameter.name and "b_U" not in parameter.name), parameter.name


@specs
def test_bfloat16_rounds_products_and_nothing_else(spec: RecurrentSpec) -> None:
    tensors = stacked(planted_recurrent(spec, TASK.d_vocab, seed) for seed in SEEDS)
    tokens = random_tokens(len(SEEDS), N_SEQUENCES, N_POS)
    positions = torch.full((len(SEEDS), N_SEQUENCES, 1), N_POS - 1)
    plain, rounded = (
        scored_logits(spec, tensors, tokens, positions, dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    assert 1e-5 < (rounded - plain).norm() / plain.norm() < 0.05


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "d_model is missing"),
        ({"d_model": "8"}, "d_model=.*valid integer"),
        ({"d_model": 0}, "d_model=.*greater than or equal to 1"),
        ({"d_model": 8, "n_layers": 0}, "n_layers=.*greater than or equal to 1"),
        ({"d_model": 8, "cell": "gru"}, "cell=.*'lstm' or 'rnn'"),
        ({"d_model": 8, "n_heads": 4}, "there is no n_heads"),
    ],
    ids=str,
)
def test_nonsense_is_refused_with_what_is_allowed(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecurrentSpec(**fields)


def test_specs_are_values() -> None:
    spec = RecurrentSpec(d_model=8)
    assert spec == RecurrentSpec(8, n_layers=2, cell="lstm")
    assert len({spec, RecurrentSpec(8), RecurrentSpec(8, cell="rnn"), ModelSpec(8)}) == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.d_model = 16


def test_the_widest_activations_set_how_much_fits() -> None:
    transformer = ModelSpec(d_model=64, n_heads=4)
    assert (transformer.widest_row, transformer.widest_place(40), transformer.widest_place(63)) == (256, 192, 252)
    lstm, rnn = RecurrentSpec(d_model=64), RecurrentSpec(d_model=64, cell="rnn")
    assert (lstm.widest_row, lstm.widest_place(1000)) == (256, 256)
    assert (rnn.widest_row, rnn.widest_place(1000)) == (64, 64)
