"""The rank dial restricts what it says, to the ranks that it says, and nothing else of a run."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rtinterp.models.initialisation import initialise
from rtinterp.models.parametrisations import LowRank, RandomSubspace, ReadSubspace
from rtinterp.papers.mechanism.grid import DIALS, EMBEDDINGS, low_rank, random_directions, rank_dial
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.training.spec import RunSpec

QUICK = SCALES["quick"]


def effective(spec: RunSpec) -> dict[str, torch.Tensor]:
    held = initialise(spec.parameters(), spec.seed)
    return dict(spec.model_tensors(held))


@pytest.mark.parametrize("scale", SCALES)
def test_runs_differ_from_an_unrestricted_one_before_them_in_their_rank_alone(scale: str) -> None:
    specs = rank_dial(SCALES[scale], 2, None)
    whole = [spec for spec in specs if spec.parametrisation is None]
    assert {type(spec.task) for spec in whole} == {kind for kind, *_ in DIALS}
    for number, spec in enumerate(specs):
        assert dataclasses.replace(spec, parametrisation=None) in specs[: number + 1]
    n_kinds = len({kind for kind, *_ in DIALS})
    assert len(set(specs)) == len(specs) == 2 * (n_kinds + sum(len(ranks) for *_, ranks in DIALS))


@pytest.mark.parametrize("spec", rank_dial(QUICK, 1, None), ids=lambda spec: spec.run_id)
def test_embeddings_are_of_the_rank_that_they_are_restricted_to(spec: RunSpec) -> None:
    if spec.parametrisation is None:
        return
    tensors = effective(spec)
    assert isinstance(spec.parametrisation, LowRank | RandomSubspace | ReadSubspace)
    rank = spec.parametrisation.rank if isinstance(spec.parametrisation, LowRank) else spec.parametrisation.dimension
    for name in EMBEDDINGS:
        full = min(tensors[name].shape)
        expected = min(rank, full) if name in spec.parametrisation.tensors else full
        assert torch.linalg.matrix_rank(tensors[name], rtol=1e-5) == expected, name


def test_a_matrix_that_cannot_be_of_a_larger_rank_stays_as_it_is() -> None:
    (whole, *_) = rank_dial(QUICK, 1, None)
    of_five = low_rank(whole, 16, EMBEDDINGS).parametrisation
    assert of_five is not None
    assert set(of_five.tensors) == {"embed.W_E", "unembed.W_U"}
    with pytest.raises(ValueError, match="tensors"):
        low_rank(whole, 16, ("pos_embed.W_pos",))


def test_random_directions_are_shared_by_all_embeddings_and_differ_by_seed() -> None:
    (whole, *_) = rank_dial(QUICK, 1, None)
    spans = []
    for seed in (0, 1):
        tensors = effective(random_directions(whole.with_seed(seed), 3, EMBEDDINGS))
        rows = torch.cat([tensors["embed.W_E"], tensors["pos_embed.W_pos"], tensors["unembed.W_U"].T])
        assert torch.linalg.matrix_rank(rows, rtol=1e-5) == 3
        spans.append(rows)
    assert torch.linalg.matrix_rank(torch.cat(spans), rtol=1e-5) == 6
