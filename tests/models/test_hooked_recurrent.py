"""HookedRecurrent: PyTorch's arithmetic with TransformerLens's hooks."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
from recurrent_references import CELLS, RECURRENT_SPECS, planted_recurrent, with_our_weights
from torch import Tensor

from rtinterp.models.build import build_model
from rtinterp.models.fingerprint import fingerprint
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.tasks import ModularAddition, NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
N_SEQUENCES, N_POS = 5, 9

specs = pytest.mark.parametrize("spec", RECURRENT_SPECS, ids=str)


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(TASK.d_vocab, shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("seed", [0, 1, 12])
@specs
def test_hooked_logits_are_those_of_torch(spec: RecurrentSpec, seed: int) -> None:
    tensors = planted_recurrent(spec, TASK.d_vocab, seed)
    model = build_model(TASK, spec, seed)
    model.load_state_dict(tensors)
    tokens = random_tokens(N_SEQUENCES, N_POS)
    with torch.no_grad():
        expected = with_our_weights(spec, tensors)(tokens)
        assert expected.std() > 0.1
        torch.testing.assert_close(model(tokens), expected, atol=1e-5, rtol=1e-5)


def test_global_generators_are_neither_read_nor_moved() -> None:
    spec = RECURRENT_SPECS[0]
    expected = fingerprint(spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed=2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        model = build_model(TASK, spec, seed=2)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert np.random.get_state()[1].tolist() == before[2]
    assert fingerprint(dict(model.named_parameters())) == expected
    assert not model.training


@specs
def test_the_cache_holds_what_torch_computes(spec: RecurrentSpec) -> None:
    tensors = planted_recurrent(spec, TASK.d_vocab, seed=4)
    model = build_model(TASK, spec, seed=0)
    model.load_state_dict(tensors)
    tokens = random_tokens(N_SEQUENCES, N_POS)
    with torch.no_grad():
        logits, cache = model.run_with_cache(tokens)
        assert list(cache) == ["hook_embed", *(f"layers.{layer}.hook_hidden" for layer in range(spec.n_layers))]
        assert torch.equal(logits, model(tokens))
        hidden = tensors["embed.W_E"][tokens]
        assert torch.equal(cache["hook_embed"], hidden)
        for layer in range(spec.n_layers):
            one = CELLS[spec.cell](spec.d_model, spec.d_model, batch_first=True)
            one.load_state_dict({name: tensors[f"layers.{layer}.{name[:-3]}"] for name in one.state_dict()})
            hidden, _ = one(hidden)
            torch.testing.assert_close(cache[f"layers.{layer}.hook_hidden"], hidden, atol=1e-5, rtol=1e-5)
            assert torch.equal(model(tokens, stop_at_layer=layer + 1), cache[f"layers.{layer}.hook_hidden"])
        assert torch.equal(model(tokens, stop_at_layer=0), cache["hook_embed"])


def test_hooks_change_the_run_and_nothing_after() -> None:
    model = build_model(TASK, RECURRENT_SPECS[0], seed=0)
    tokens = random_tokens(2, N_POS)
    with torch.no_grad():
        before = model(tokens)
        zeroed = model.run_with_hooks(tokens, fwd_hooks=[("layers.1.hook_hidden", lambda x, hook: 0 * x)])
        torch.testing.assert_close(zeroed, model.b_U.expand_as(zeroed))

        def from_another_sequence(embedding: Tensor, hook: object) -> Tensor:
            embedding[0, 3:] = embedding[1, 3:]
            return embedding

        for name in ("hook_embed", "layers.0.hook_hidden"):
            patched = model.run_with_hooks(tokens, fwd_hooks=[(name, from_another_sequence)])
            changed = (patched - before).abs().amax(-1) > 0
            assert changed[0].tolist() == [False] * 3 + [True] * (N_POS - 3)
            assert not changed[1].any()
        assert torch.equal(model(tokens), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("layers.0.bias_hh"), r"missing .*layers\.0\.bias_hh"),
        (lambda tensors: tensors.update({"pos_embed.W_pos": torch.ones(1)}), r"unknown .*pos_embed\.W_pos"),
    ],
    ids=["missing", "unknown"],
)
def test_a_hooked_model_needs_exactly_its_tensors(change, message: str) -> None:
    from rtinterp.models.recurrent.hooked import hooked_recurrent

    tensors = RECURRENT_SPECS[0].initial_tensors(TASK.d_vocab, TASK.n_ctx, seed=0)
    change(tensors)
    with pytest.raises(ValueError, match=message):
        hooked_recurrent(TASK, RECURRENT_SPECS[0], tensors)


def test_the_hooked_model_keeps_a_copy_of_its_tensors() -> None:
    from rtinterp.models.recurrent.hooked import hooked_recurrent

    tensors = RECURRENT_SPECS[0].initial_tensors(TASK.d_vocab, TASK.n_ctx, seed=0)
    expected = fingerprint(tensors)
    with torch.no_grad():
        for parameter in hooked_recurrent(TASK, RECURRENT_SPECS[0], tensors).parameters():
            parameter.zero_()
    assert fingerprint(tensors) == expected


def test_a_model_knows_the_sizes_of_its_task() -> None:
    task = ModularAddition(p=7)
    sizes = dataclasses.asdict(build_model(task, RECURRENT_SPECS[0], seed=0).cfg)
    assert sizes == {"d_model": 16, "n_layers": 2, "d_vocab": 7, "d_vocab_out": 7, "n_ctx": task.n_ctx}
