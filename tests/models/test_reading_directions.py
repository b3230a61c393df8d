"""The directions that a body reads most are those along which its readers say most, by another computation."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from rtinterp.models.initialisation import initialise
from rtinterp.models.parametrisations import ReadSubspace
from rtinterp.models.reading_directions import STEP, reading_directions
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition
from rtinterp.training.spec import RunSpec, TrainSpec

D_MODEL = 24
BODIES = {
    "layer norm": ModelSpec(D_MODEL, n_heads=2),
    "rms norm, gated": ModelSpec(D_MODEL, norm="rms_norm", mlp="gated"),
}


def spec_of(body: ModelSpec, dimension: int, end: str) -> RunSpec:
    plain = RunSpec(ModularAddition(p=11), body, TrainSpec(n_steps=2, batch_size=4), seed=3)
    return dataclasses.replace(plain, parametrisation=ReadSubspace(dimension, end))  # pyright: ignore[reportArgumentType]


def directions(body: ModelSpec, dimension: int, end: str) -> Tensor:
    spec = spec_of(body, dimension, end)
    return initialise(spec.parameters(), spec.seed)["read_subspace.directions"].double()


def energies(body: ModelSpec, rows: Tensor) -> Tensor:
    """The squared length of what all readers of both layers make of each direction, behind their norm."""
    tensors = body.initial_tensors(11, 3, 3, 11)
    if body.norm != "rms_norm":
        rows = rows - rows.mean(1, keepdim=True)
    found = torch.zeros(len(rows)).double()
    for layer in range(body.n_layers):
        for name in ("W_Q", "W_K", "W_V"):
            found += (
                torch.einsum("rm,hmd->rhd", rows, tensors[f"blocks.{layer}.attn.{name}"].double()).square().sum((1, 2))
            )
        for name in ("W_in", "W_gate"):
            reader = tensors.get(f"blocks.{layer}.mlp.{name}")
            if reader is not None:
                found += (rows @ reader.double()).square().sum(1)
    return found


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_no_directions_are_read_more_than_the_first_or_less_than_the_last(body: ModelSpec) -> None:
    most, least = directions(body, D_MODEL, "most"), directions(body, D_MODEL, "least")
    torch.testing.assert_close(most @ most.T, torch.eye(D_MODEL).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(most.flip(0), least, atol=2 * STEP, rtol=0)
    read = energies(body, most)
    assert (read.diff() < 0).all()
    # By Ky Fan, k orthonormal rows are read most together if they are the first k.
    rotation = torch.linalg.qr(torch.randn(D_MODEL, D_MODEL, generator=torch.Generator().manual_seed(0)).double()).Q
    drawn = energies(body, rotation)
    for k in range(1, D_MODEL):
        assert read[:k].sum() > drawn[:k].sum() > read[-k:].sum()


def test_what_a_layer_norm_takes_away_is_read_least() -> None:
    constant = torch.full((D_MODEL,), D_MODEL**-0.5).double()
    assert (directions(BODIES["layer norm"], 1, "least")[0] - constant).abs().max() < 2 * STEP
    assert (directions(BODIES["rms norm, gated"], 1, "least")[0] - constant).norm() > 0.1


def test_a_planted_reader_is_found_first() -> None:
    (readers,) = {reading_directions(spec_of(BODIES["layer norm"], 1, "most").model_parameters(), most=True)}
    generator = torch.Generator().manual_seed(0)
    others = [0.01 * torch.randn(reader.shape, generator=generator).double() for reader in readers.others]
    planted = torch.zeros(D_MODEL).double()
    planted[:2] = torch.tensor([0.6, -0.8])
    others[1][0, :, 0] += 10 * planted
    found = torch.from_numpy(readers.values((1, D_MODEL), [other.numpy() for other in others]))
    centred = planted - planted.mean()
    assert abs(abs(found @ centred) / centred.norm() - 1) < 1e-3
    assert found[found.abs().argmax()] > 0


def test_directions_are_a_function_of_body_and_seed_alone() -> None:
    spec = spec_of(BODIES["layer norm"], 4, "most")
    longer = dataclasses.replace(spec, training=TrainSpec(n_steps=9, batch_size=2), task=ModularAddition(p=13))
    one, two, other = (
        initialise(of.parameters(), of.seed)["read_subspace.directions"] for of in (spec, longer, spec.with_seed(4))
    )
    assert torch.equal(one, two)
    assert (one - other).norm() > 0.5
    assert torch.equal((one.double() / STEP).round() * STEP, one.double())
