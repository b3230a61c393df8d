"""Optimal constants: nothing is lost where only the mean is used; elsewhere, what independent counting says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rtinterp.analysis.activations import means_by_role
from rtinterp.analysis.continuation import Continuation
from rtinterp.analysis.interventions import intervene, replace, replace_by_role
from rtinterp.analysis.optimal_constants import optimal_constants
from rtinterp.analysis.predictions import cross_entropy, nats
from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

Z, N_LETTERS, D_HEAD, N = "blocks.0.attn.hook_z", 4, 8, 64
#: A sequence is a letter and the query, whose answer is the letter; these are how often each letter comes up.
QUERY, COUNTS = N_LETTERS, torch.tensor([32, 16, 12, 4])


def roles_of(tokens: torch.Tensor) -> torch.Tensor:
    return (tokens == QUERY).long()


@pytest.fixture(scope="module")
def batch() -> Batch:
    letters = torch.arange(N_LETTERS).repeat_interleave(COUNTS)
    tokens = torch.stack([letters, torch.full_like(letters, QUERY), letters], 1)
    return Batch(tokens, torch.tensor([False, True, False]).expand(N, 3))


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture(scope="module")
def model() -> HookedModel:
    """Head 0 brings the letter to the query; head 1 brings a constant, and letters in dimensions that nothing reads."""
    task = SimpleNamespace(name="planted", d_vocab=5, d_vocab_out=5, reads="tokens", n_ctx=3)
    model = build_model(task, ModelSpec(d_model=16, n_layers=1, n_heads=2), seed=0)  # pyright: ignore[reportArgumentType]
    for parameter in model.parameters():
        parameter.data *= 20 if parameter.ndim > 1 else 1
    attention: Any = model.blocks[0].attn  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]
    attention.W_V.data[1, :, : D_HEAD // 2] = 0
    attention.b_V.data[1] = 5 * normal(D_HEAD)
    attention.W_O.data[1, D_HEAD // 2 :] = 0
    return model


def test_a_head_that_is_used_through_its_mean_alone_costs_nothing(model: HookedModel, batch: Batch) -> None:
    intact, start = cross_entropy(model, batch), torch.zeros(2, 2, D_HEAD)
    with intervene(model, replace(Z, 0.0, heads=(1,))):
        without = cross_entropy(model, batch)
    assert without > intact + 0.2
    found = optimal_constants(Continuation(model, batch, Z), roles_of, start, heads=(1,), n_evaluations=100)
    with intervene(model, replace_by_role(Z, found, roles_of, heads=(1,))):
        assert cross_entropy(model, batch) < intact + 1e-3
    assert not found[:, 0].any()
    assert not found[0].any()


def test_where_all_that_is_known_of_the_answer_is_replaced_its_entropy_is_left(
    model: HookedModel, batch: Batch
) -> None:
    """The null: no constant can tell letters apart, and the best says how often each comes up."""
    shares = COUNTS.double() / N
    entropy = -(shares * shares.log()).sum().item()
    rest = Continuation(model, batch, Z)
    start = means_by_role(rest.activations, roles_of(batch.tokens[:, :2]), 2)

    def loss(constants: torch.Tensor) -> float:
        return rest.value(replace_by_role(Z, constants, roles_of), nats)

    assert loss(start) > entropy + 0.1
    found = optimal_constants(rest, roles_of, start, n_evaluations=300)
    assert loss(found) == pytest.approx(entropy, abs=2e-3)


def test_positions_and_heads_that_stay_have_no_part_in_it_and_no_start_is_made_worse(sharp_model: HookedModel) -> None:
    tokens = torch.randint(11, (40, 9), generator=torch.Generator().manual_seed(0))
    batch = Batch(tokens, (torch.arange(9) % 8 > 4).expand(40, 9))
    rest = Continuation(sharp_model, batch, "blocks.1.hook_mlp_out")
    start = normal(11, 32)

    def loss(constants: torch.Tensor) -> float:
        return rest.value(replace_by_role(rest.site, constants, lambda tokens: tokens, is_even), nats)

    def is_even(tokens: torch.Tensor) -> torch.Tensor:
        return tokens % 2 == 0

    losses = [loss(start)]
    for n_evaluations in (1, 5, 25):
        found = optimal_constants(rest, lambda tokens: tokens, start, is_even, n_evaluations=n_evaluations)
        assert torch.equal(found[1::2], start[1::2])
        losses.append(loss(found))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.5
    assert all(parameter.grad is None for parameter in sharp_model.parameters())
    with torch.no_grad():
        again = optimal_constants(rest, lambda tokens: tokens, start, is_even, n_evaluations=25)
    assert torch.equal(again, found)
    with pytest.raises(ValueError, match="n_evaluations is 0"):
        optimal_constants(rest, lambda tokens: tokens, start, n_evaluations=0)
