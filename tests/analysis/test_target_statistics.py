"""Target statistics against pairs taken one at a time, and against predictions that are known."""

from __future__ import annotations

import copy
import itertools
import math
from typing import TYPE_CHECKING

import numpy
import pytest
import torch
import torch.nn.functional as F

from rtinterp.analysis import imitation, target_statistics

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

D_VOCAB = 11


@pytest.fixture
def sharp_model(tiny_model: HookedModel) -> HookedModel:
    """A model that predicts different things after different tokens."""
    model = copy.deepcopy(tiny_model)
    for name, parameter in model.named_parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
    return model


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randint(0, D_VOCAB, (13, 6), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_statistics_are_means_over_inputs_and_pairs(sharp_model: HookedModel, inputs: torch.Tensor) -> None:
    predictions = [torch.distributions.Categorical(logits=sharp_model(row[None])[0, -1].double()) for row in inputs]
    pairs = list(itertools.permutations(predictions, 2))
    mean = torch.distributions.Categorical(probs=torch.stack([p.probs for p in predictions]).mean(0))
    found = target_statistics(sharp_model, inputs)
    divergence = torch.distributions.kl_divergence
    between = sum(float(divergence(p, q)) for p, q in pairs) / len(pairs)
    from_mean = sum(float(divergence(p, mean)) for p in predictions) / len(predictions)
    entropy = sum(float(p.entropy()) for p in predictions) / len(predictions)
    low, high = numpy.percentile([float(divergence(p, q)) for p, q in pairs], [5, 95])
    assert found == pytest.approx((between, low, high, from_mean, entropy), rel=1e-5)
    assert found.kl_between_inputs > found.kl_from_mean > 0.1


def test_statistics_do_not_depend_on_the_passes(
    sharp_model: HookedModel, inputs: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = target_statistics(sharp_model, inputs)
    monkeypatch.setattr(imitation, "INPUTS_PER_PASS", 4)
    assert target_statistics(sharp_model, inputs) == pytest.approx(whole, rel=1e-6)


def test_a_target_that_looks_at_nothing_has_nothing_to_imitate(tiny_model: HookedModel, inputs: torch.Tensor) -> None:
    probabilities = torch.tensor([0.5, 0.25, 0.25] + [1e-9] * 8)
    model = copy.deepcopy(tiny_model)
    model.unembed.W_U.data.zero_()
    model.unembed.b_U.data = probabilities.log()
    found = target_statistics(model, inputs)
    assert found.kl_between_inputs == pytest.approx(0, abs=1e-9)
    assert found.kl_from_mean == pytest.approx(0, abs=1e-9)
    assert found.entropy == pytest.approx(1.5 * math.log(2), rel=1e-5)


def test_two_sure_predictions_by_hand() -> None:
    """Of two tokens, one input says the first with probability 0.9 and another the second."""
    log_probs = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64).log()
    found = imitation._statistics(log_probs)
    assert found.kl_between_inputs == pytest.approx(0.8 * math.log(9))
    assert found.kl_from_mean == pytest.approx(math.log(2) - found.entropy)
    assert found.entropy == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))


def test_a_student_that_predicts_the_mean_reaches_the_bound_and_another_constant_does_not(
    sharp_model: HookedModel, inputs: torch.Tensor
) -> None:
    with torch.no_grad():
        targets = sharp_model(inputs)[:, -1].double().log_softmax(-1)
    bound = target_statistics(sharp_model, inputs).kl_from_mean
    constant = targets.exp().mean(0).log().requires_grad_()
    loss = F.kl_div(constant.log_softmax(-1).expand_as(targets), targets, log_target=True, reduction="batchmean")
    loss.backward()
    assert loss.item() == pytest.approx(bound, rel=1e-6)
    assert constant.grad.abs().max() < 1e-12, "no constant is better"


@pytest.mark.parametrize("shape", [(1, 4), (0, 4), (4,)])
def test_one_input_is_not_enough(tiny_model: HookedModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least two inputs"):
        target_statistics(tiny_model, torch.zeros(shape, dtype=torch.int64))
