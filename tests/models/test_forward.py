"""Three ways to compute the same logits: Hugging Face's, TransformerLens's and the stack's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest
import torch
from model_references import UNEMBEDDING_BIAS, gpt2_logits, planted_tensors
from torch import Tensor

from rtinterp.models.prefixes import distinct_prefixes, share_entries
from rtinterp.models.stacked import StackedModel
from rtinterp.models.transformer.hooked import hooked_transformer
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
SPECS = [ModelSpec(d_model=32), ModelSpec(d_model=24, n_layers=3, n_heads=2), ModelSpec(d_model=16, n_layers=1)]
N_MODELS, N_SEQUENCES, N_POS = 3, 4, 11


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(TASK.d_vocab, shape, generator=torch.Generator().manual_seed(0))


def scored_logits(model: StackedModel, tokens: Tensor, positions: Tensor) -> Tensor:
    """Of full sequences, entries and prefixes shared."""
    prefixes = distinct_prefixes(tokens, torch.full(tokens.shape[:2], tokens.shape[2]))
    entries, (shared,) = share_entries([prefixes], tokens.shape[2])
    return model.scored_logits(model.embed(entries), shared, positions)


def planted(spec: ModelSpec, seed: int) -> dict[str, Tensor]:
    return planted_tensors(spec, TASK.d_vocab, TASK.n_ctx, seed)


def stacked(models: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    models = list(models)
    return {name: torch.stack([tensors[name] for tensors in models]) for name in models[0]}


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_hooked_logits_are_those_of_hugging_face(spec: ModelSpec) -> None:
    tensors, tokens = planted(spec, seed=1), random_tokens(N_SEQUENCES, N_POS)
    expected = gpt2_logits(spec, tensors, tokens)
    assert expected.std() > 1, "the planted weights make no difference"
    with torch.no_grad():
        torch.testing.assert_close(hooked_transformer(TASK, spec, tensors)(tokens), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_scored", [1, 5])
@pytest.mark.parametrize("freeze", ["none", "all"])
@pytest.mark.parametrize("values", ["planted", "initial"])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_stacked_logits_are_those_of_hugging_face_at_the_scored_positions(
    spec: ModelSpec, values: str, freeze: str, n_scored: int
) -> None:
    """Few scored positions and many take different ways through the last block."""
    make = planted if values == "planted" else lambda spec, seed: spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed)
    models = [make(spec, seed) for seed in range(N_MODELS)]
    tokens = random_tokens(N_MODELS, N_SEQUENCES, N_POS)
    shuffled = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)).argsort(-1)
    positions = shuffled[..., :n_scored].sort(-1).values
    model = spec.stack_model(stacked(models), frozenset(models[0]) if freeze == "all" else frozenset())
    logits = scored_logits(model, tokens, positions)
    for tensors, got, rows, at in zip(models, logits, tokens, positions, strict=True):
        expected = gpt2_logits(spec, tensors, rows)
        expected = torch.stack([row[of_row] for row, of_row in zip(expected, at, strict=True)])
        torch.testing.assert_close(got, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


def test_one_frozen_bias_that_is_not_zero_is_still_added() -> None:
    spec = ModelSpec(d_model=16)
    initial = spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed=0)
    tokens, positions = random_tokens(1, 2, N_POS), torch.full((1, 2, 1), N_POS - 1)
    plain = scored_logits(spec.stack_model(stacked([initial]), frozenset(initial)), tokens, positions)
    for name in initial:
        if name.endswith((".w", ".b")) or ".b_" in name:
            changed = {**initial, name: initial[name].clone()}
            changed[name].view(-1)[1] += 3.0
            model = spec.stack_model(stacked([changed]), frozenset(changed))
            logits = scored_logits(model, tokens, positions)[0, :, 0]
            with torch.no_grad():
                expected = hooked_transformer(TASK, spec, changed)(tokens[0])[:, -1]
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4, msg=name)
            # Keys all moved alike change no attention pattern.
            if not name.endswith("b_K"):
                assert (logits - plain[0, :, 0]).abs().max() > 1e-6, name


def test_what_is_frozen_at_the_identity_is_left_out() -> None:
    spec = ModelSpec(d_model=16)
    tensors = stacked([spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed=0)])
    model = spec.stack_model(tensors, frozenset(tensors))
    parts = [getattr(block, field.name) for block in model.body.blocks for field in dataclasses.fields(block)]
    for part in (
        *(getattr(part, "qkv", getattr(part, "mlp_in", part)) for part in parts),
        model.body.ln_final,
        model.unembedding,
    ):
        assert part.bias is None
        assert getattr(part, "gain", None) is None
    assert spec.stack(tensors).blocks[0].ln1.gain is not None


def test_no_position_reads_a_later_one() -> None:
    spec = ModelSpec(d_model=16, n_layers=3)
    model = hooked_transformer(TASK, spec, planted(spec, seed=0))
    embedded: list[Tensor] = []

    def keep(activation: Tensor, hook: object) -> Tensor:
        embedded.append(activation.detach().requires_grad_())
        return embedded[-1]

    logits = model.run_with_hooks(random_tokens(2, N_POS), fwd_hooks=[("hook_embed", keep)])
    weights = torch.randn(TASK.d_vocab, generator=torch.Generator().manual_seed(3))
    for position in range(N_POS):
        scalar = (logits[:, position] @ weights).sum()
        (gradient,) = torch.autograd.grad(scalar, embedded[-1], retain_graph=True)
        size = gradient.abs().amax((0, 2))
        assert (size[position + 1 :] == 0).all()
        assert (size[: position + 1] > 0).all()


@pytest.mark.parametrize("n_layers", [1, 3])
def test_no_scored_prediction_of_a_stack_reads_a_later_position_or_another_model(n_layers: int) -> None:
    spec = ModelSpec(d_model=16, n_layers=n_layers)
    tensors = stacked(planted(spec, seed) for seed in range(2))
    tensors["pos_embed.W_pos"].requires_grad_()
    weights = torch.randn(TASK.d_vocab, generator=torch.Generator().manual_seed(3))
    tokens = random_tokens(2, 2, N_POS)
    for position in range(N_POS):
        positions = torch.tensor([position, N_POS - 1]).expand(2, 2, 2)
        logits = scored_logits(spec.stack_model(tensors), tokens, positions)
        scalar = (logits[1, :, 0] @ weights).sum()
        (gradient,) = torch.autograd.grad(scalar, tensors["pos_embed.W_pos"])
        size = gradient.abs().amax(-1)
        assert (size[0] == 0).all()
        assert (size[1, position + 1 :] == 0).all()
        assert (size[1, : position + 1] > 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("ln_final.w"), "missing .*ln_final.w"),
        (lambda tensors: tensors.update({"ln_final.x": torch.ones(1)}), "unknown .*ln_final.x"),
    ],
    ids=["missing", "unknown"],
)
def test_a_hooked_model_needs_exactly_its_tensors(change, message: str) -> None:
    tensors = planted(SPECS[0], seed=0)
    change(tensors)
    with pytest.raises(ValueError, match=message):
        hooked_transformer(TASK, SPECS[0], tensors)


def test_the_hooked_model_keeps_a_copy_of_its_tensors() -> None:
    tensors = planted(SPECS[0], seed=0)
    model = hooked_transformer(TASK, SPECS[0], tensors)
    with torch.no_grad():
        model.W_E.zero_()
    assert tensors["embed.W_E"].abs().max() > 0
    assert UNEMBEDDING_BIAS in tensors
