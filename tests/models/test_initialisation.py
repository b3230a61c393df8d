"""Initial values: GPT-2's distribution, and a function of seed and name alone."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from model_references import gpt2, gpt2_state, python

from rtinterp.models.build import build_model
from rtinterp.models.fingerprint import fingerprint
from rtinterp.models.initialisation import initialise
from rtinterp.models.transformer.parameters import body_parameters
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition

SPEC = ModelSpec(d_model=32, n_layers=3, n_heads=4)
D_VOCAB, N_CTX = 64, 48
SMALL = ModelSpec(d_model=8, n_layers=1, n_heads=2)

#: sha256 of the initial tensors of SMALL with 5 tokens, 4 positions and seed 3. Every stored run depends on it.
GOLDEN_FINGERPRINT = "83d8f80bb94c7529332da5268a3db1d7628f0043e5a1744b465553b986d9468f"

PRINT_FINGERPRINT = """
from rtinterp.models.fingerprint import fingerprint
from rtinterp.models.transformer.parameters import body_parameters
from rtinterp.models.transformer.spec import ModelSpec
print(fingerprint(ModelSpec(d_model=64, n_layers=2).initial_tensors(100, 40, seed=1)))
"""


def drawn(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors that are not constant."""
    return {name: tensor for name, tensor in tensors.items() if tensor.std() > 0}


def test_every_tensor_is_distributed_as_in_hugging_face_gpt2() -> None:
    theirs = gpt2(SPEC, D_VOCAB, N_CTX).state_dict()
    ours = gpt2_state(SPEC, SPEC.initial_tensors(D_VOCAB, N_CTX, seed=0))
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].shape == tensor.shape, name
        if tensor.std() == 0:
            assert torch.equal(ours[name], tensor), name
            continue
        # The standard error of a standard deviation is 1 / sqrt(2 n) of it; two are compared.
        error = 1 / math.sqrt(tensor.numel())
        assert abs(ours[name].std() / tensor.std() - 1) < 5 * error, name
        assert abs(ours[name].mean() / tensor.std()) < 5 * error, name
        kurtosis = (ours[name] / ours[name].std()).pow(4).mean()
        assert abs(kurtosis - 3) < 5 * math.sqrt(24) * error, name


def test_paper_text_scales_the_first_mlp_matrix_too_and_nothing_else() -> None:
    official = SPEC.initial_tensors(D_VOCAB, N_CTX, seed=0)
    text = ModelSpec(d_model=32, n_layers=3, init="paper_text").initial_tensors(D_VOCAB, N_CTX, seed=0)
    assert text.keys() == official.keys()
    for name, tensor in official.items():
        if name.endswith("W_in"):
            torch.testing.assert_close(text[name], tensor / math.sqrt(6))
        else:
            assert torch.equal(text[name], tensor), name


def test_the_body_does_not_depend_on_the_task_or_on_what_else_is_drawn() -> None:
    body = initialise(body_parameters(SPEC), seed=4)
    for d_vocab, n_ctx in ((7, 3), (D_VOCAB, N_CTX)):
        tensors = SPEC.initial_tensors(d_vocab, n_ctx, seed=4)
        assert fingerprint({name: tensors[name] for name in body}) == fingerprint(body)
    parameters = SPEC.parameters(D_VOCAB, N_CTX)
    assert fingerprint(initialise(reversed(parameters), 4)) == fingerprint(initialise(parameters, 4))
    for parameter in parameters:
        assert torch.equal(initialise([parameter], 4)[parameter.name], initialise(parameters, 4)[parameter.name])


def test_seeds_and_tensors_are_independent_draws() -> None:
    seeds = [drawn(SPEC.initial_tensors(D_VOCAB, N_CTX, seed)) for seed in (0, 1, 10)]
    assert len({fingerprint(tensors) for tensors in seeds}) == 3
    streams = torch.stack([tensor.flatten()[:1000] for tensors in seeds for tensor in tensors.values()])
    correlations = torch.corrcoef(streams) - torch.eye(len(streams))
    assert correlations.abs().max() < 6 / math.sqrt(1000)


def test_global_generators_are_neither_read_nor_moved() -> None:
    expected = fingerprint(SPEC.initial_tensors(D_VOCAB, N_CTX, seed=0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        assert fingerprint(SPEC.initial_tensors(D_VOCAB, N_CTX, seed=0)) == expected
        build_model(ModularAddition(p=5), SPEC, seed=0)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert np.random.get_state()[1].tolist() == before[2]


def test_the_hooked_model_holds_exactly_the_initial_tensors() -> None:
    task = ModularAddition(p=5)
    model = build_model(task, SPEC, seed=2)
    expected = SPEC.initial_tensors(task.d_vocab, task.n_ctx, seed=2)
    assert {name for name, _ in model.named_parameters()} == set(expected)
    assert fingerprint(dict(model.named_parameters())) == fingerprint(expected)
    assert not model.training


def test_bits_do_not_depend_on_the_instruction_set() -> None:
    assert python(PRINT_FINGERPRINT) == python(PRINT_FINGERPRINT, ATEN_CPU_CAPABILITY="default")


def test_golden_fingerprint() -> None:
    assert fingerprint(SMALL.initial_tensors(5, 4, seed=3)) == GOLDEN_FINGERPRINT


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors["ln_final.w"].__setitem__(3, 1 + 1e-6),
        lambda tensors: tensors.update({"ln_final.b": tensors["ln_final.b"].view(2, 4)}),
        lambda tensors: tensors.pop("ln_final.b"),
        lambda tensors: tensors.update({"another": tensors.pop("ln_final.b")}),
    ],
    ids=["value", "shape", "missing", "name"],
)
def test_a_fingerprint_sees_every_change(change) -> None:
    tensors = initialise(body_parameters(SMALL), seed=0)
    change(tensors)
    assert fingerprint(tensors) != fingerprint(initialise(body_parameters(SMALL), seed=0))


def test_a_fingerprint_sees_values_not_memory() -> None:
    tensors = initialise(body_parameters(SMALL), seed=0)
    same = {name: tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor for name, tensor in tensors.items()}
    assert fingerprint(dict(reversed(same.items()))) == fingerprint(tensors)
