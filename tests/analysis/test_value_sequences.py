"""Models of vector sequences: estimates without a model, early read-outs, and heads that compare terms."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from rtinterp.analysis import (
    extrapolations,
    head_contributions,
    head_table,
    layer_estimates,
    lens_table,
    next_term_estimates,
    node_writes,
    share_explained,
    similarity_correlation,
    squared_errors,
)
from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import AffineRecurrence, ModularAddition, PolynomialSequence

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

TASK = AffineRecurrence(n_terms=9, dimension=2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def model() -> HookedModel:
    """A random model of three layers whose blocks make a difference."""
    model = build_model(TASK, ModelSpec(16, n_layers=3, n_heads=2), seed=1)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator(parameter.numel()))
    return model


def test_two_estimates_know_an_affine_recurrence() -> None:
    """As soon as its terms determine it, but for sequences that hardly move, whose last digits are rounded off."""
    batch = AffineRecurrence().sample(500, generator())
    estimates = next_term_estimates(batch)
    assert batch.targets is not None
    moves = (batch.tokens[:, 1:] - batch.tokens[:, :-1]).abs().amin((1, 2)) > 1e-2
    assert moves.sum() > 50
    for name in ("three terms", "least squares"):
        errors = (estimates[name] - batch.targets).abs()[moves]
        assert errors[:, 2:].max() < 1e-3, name
        assert errors[:, :1].isnan().all(), "one term says nothing"
    errors = {name: squared_errors(estimate, batch.targets) for name, estimate in estimates.items()}
    assert bool((errors["least squares"][2:] < errors["copy"][2:] / 10).all())


def test_least_squares_are_numpys() -> None:
    batch = TASK.sample(20, generator())
    estimates = next_term_estimates(batch)["least squares"]
    terms = batch.tokens.double().numpy()
    for t in (1, 4, 7):
        for row in range(20):
            features = np.column_stack([terms[row, :t], np.ones(t)])
            fit = np.linalg.lstsq(features, terms[row, 1 : t + 1], rcond=1e-5)[0]
            assert estimates[row, t].numpy() == pytest.approx(np.append(terms[row, t], 1) @ fit, abs=1e-8)
    assert "three terms" not in next_term_estimates(batch), "of one dimension alone"


def test_the_gradient_step_is_one_of_gradient_descent() -> None:
    batch = TASK.sample(30, generator())
    terms, targets = batch.tokens.double(), batch.targets
    assert targets is not None
    t = 5
    steps = []
    for row in range(30):
        weight = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
        features = torch.cat([terms[row, :t], torch.ones(t, 1)], dim=1)
        loss = (features @ weight.T - terms[row, 1 : t + 1]).square().sum() / 2
        (gradient,) = torch.autograd.grad(loss, weight)
        steps.append(-gradient @ torch.cat([terms[row, t], torch.ones(1)]))
    step = torch.stack(steps)
    rate = torch.linalg.lstsq(step.reshape(-1, 1), targets[:, t].double().reshape(-1, 1)).solution
    assert torch.allclose(next_term_estimates(batch)["gradient step"][:, t], rate * step)


def test_a_polynomial_is_not_affine() -> None:
    batch = PolynomialSequence(degree=3).sample(500, generator())
    assert batch.targets is not None
    errors = {name: squared_errors(one, batch.targets) for name, one in next_term_estimates(batch).items()}
    assert errors["least squares"][8] > 1e-6
    with pytest.raises(ValueError, match="pass one of a SequenceTask"):
        next_term_estimates(ModularAddition(p=7).test_set())


def test_an_extrapolation_is_the_polynomial_that_numpy_fits() -> None:
    terms = torch.randn(5, 7, 2, generator=torch.Generator().manual_seed(0))
    estimates = extrapolations(terms, degree=2)
    assert estimates[:, :2].isnan().all()
    for t in range(2, 7):
        fitted = np.polyfit(np.arange(3), terms[:, t - 2 : t + 1, 1].double().numpy().T, deg=2)
        expected = np.array([np.polyval(coefficients, 3) for coefficients in fitted.T])
        np.testing.assert_allclose(estimates[:, t, 1].numpy(), expected, atol=1e-9)
    assert torch.equal(extrapolations(terms, degree=0), terms.double())


@pytest.mark.parametrize("degree", [1, 2, 4])
def test_an_extrapolation_of_its_own_degree_knows_a_polynomial(degree: int) -> None:
    batch = PolynomialSequence(degree=degree).sample(200, torch.Generator().manual_seed(1))
    assert batch.targets is not None
    its_own, lower = (
        squared_errors(extrapolations(batch.tokens, known), batch.targets)[degree:] for known in (degree, degree - 1)
    )
    assert its_own.max() < 1e-9
    assert lower.min() > 1e3 * its_own.max()


def test_a_negative_degree_is_refused() -> None:
    with pytest.raises(ValueError, match="degree is -1; pass 0 or more"):
        extrapolations(torch.zeros(1, 3, 1), -1)


def test_the_last_read_out_is_the_prediction(model: HookedModel) -> None:
    batch = TASK.sample(12, generator())
    estimates = layer_estimates(model, batch.tokens)
    assert estimates.shape == (4, 12, 8, 2)
    assert torch.equal(estimates[-1], model(batch.tokens))
    early = model(batch.tokens, stop_at_layer=1)
    any_model: Any = model
    assert torch.allclose(estimates[1], any_model.unembed(any_model.ln_final(early)), atol=1e-6)


def test_the_lens_tells_what_estimates_are_made_of() -> None:
    batch = TASK.sample(200, generator())
    now = batch.tokens
    before = torch.cat([torch.full_like(now[:, :1], torch.nan), now[:, :-1]], dim=1)
    noise = torch.randn(now.shape, generator=generator(3))
    estimates = torch.stack([now, 2 * now - before + 3, noise])
    table = lens_table(estimates, {"now": now, "both": torch.cat([now, before], dim=-1)}, first_position=1)
    r2 = {(layer, predictor): value for layer, predictor, value, _ in table.rows()}
    assert r2[-1, "now"] == pytest.approx(1)
    assert r2[0, "both"] == pytest.approx(1)
    assert r2[0, "now"] < 0.99
    assert abs(r2[1, "both"]) < 0.02
    assert table["mse"].to_list()[0] == 0
    assert table["mse"].to_list()[1] is None


def test_a_share_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LinearRegression

    values, predictors = (torch.randn(60, n, generator=generator(n)) for n in (1, 3))
    values = values + predictors[:, :1]
    expected = LinearRegression().fit(predictors.numpy(), values.numpy()).score(predictors.numpy(), values.numpy())
    assert share_explained(values, predictors).item() == pytest.approx(expected)
    for few in (values[:4], torch.ones(60, 1)):
        with pytest.raises(ValueError, match=r"determine no|do not vary"):
            share_explained(few, predictors[: len(few)])


def test_planted_comparisons_are_found_whatever_their_positions_add() -> None:
    terms = TASK.sample(400, generator()).tokens
    distance = torch.cdist(terms, terms)
    position = 50 * torch.randn(8, 8, generator=generator())
    noise = torch.randn(distance.shape, generator=generator(1))
    scores = torch.stack([-2 * distance + position, distance + position, noise + position], dim=1)
    seen = torch.ones(8, 8, dtype=torch.bool).tril()
    like, unlike, none = similarity_correlation(scores.masked_fill(~seen, -torch.inf), terms).tolist()
    assert like == pytest.approx(1, abs=1e-3)
    assert unlike == pytest.approx(-1, abs=1e-3)
    assert abs(none) < 0.05


def test_contributions_of_heads_and_of_all_else_make_the_outputs(model: HookedModel) -> None:
    any_model: Any = model
    terms = TASK.sample(6, generator()).tokens
    of_heads = head_contributions(model, terms).sum((2, 3))
    _, cache = model.run_with_cache(terms)
    writes = node_writes(model, terms)
    rest = cache["blocks.0.hook_resid_pre"] + model.b_O.sum(0) + writes[[2, 5, 8]].sum(0)
    centred = (rest - rest.mean(-1, keepdim=True)) / cache["ln_final.hook_scale"]
    others = (centred * any_model.ln_final.w + any_model.ln_final.b) @ model.W_U + model.b_U
    assert torch.allclose(of_heads + others, any_model(terms), atol=1e-4)


def test_a_head_that_copies_with_a_sign_is_told_by_it(model: HookedModel) -> None:
    """Heads write what they write, and twice the opposite of what they gather."""
    copying = build_model(TASK, ModelSpec(16, n_layers=3, n_heads=2), seed=1)
    copying.load_state_dict(model.state_dict())
    terms = TASK.sample(300, generator()).tokens
    table = head_table(copying, terms, first_position=2)
    assert table.columns == ["layer", "head", "similarity_correlation", "gain", "previous_weight"]
    assert table.select("layer", "head").rows() == [(layer, head) for layer in range(3) for head in range(2)]
    any_model: Any = copying
    any_model.blocks[1].attn.W_O.data[0] *= -1
    turned = head_table(copying, terms, first_position=2)
    assert turned["similarity_correlation"][2] == pytest.approx(table["similarity_correlation"][2], abs=1e-5)
    assert turned["gain"][2] * table["gain"][2] < 0


def test_weights_on_the_position_before_are_weights(model: HookedModel) -> None:
    terms = TASK.sample(5, generator()).tokens
    _, cache = model.run_with_cache(terms)
    pattern = cache["blocks.1.attn.hook_pattern"]
    expected = torch.stack([pattern[:, 1, q, q - 1] for q in range(2, 8)]).mean().item()
    assert head_table(model, terms, 2).row(3, named=True)["previous_weight"] == pytest.approx(expected, abs=1e-6)


def test_what_has_no_such_heads_is_refused(model: HookedModel) -> None:
    from rtinterp.models.recurrent.spec import RecurrentSpec

    recurrent = build_model(TASK, RecurrentSpec(8), seed=0)
    terms = TASK.sample(4, generator()).tokens
    for measure in (layer_estimates, head_contributions):
        with pytest.raises(ValueError, match="pass a transformer"):
            measure(recurrent, terms)
    wider = dataclasses.replace(TASK, dimension=3).sample(4, generator()).tokens
    with pytest.raises(ValueError, match="pass 3 sequences of 2 positions"):
        similarity_correlation(torch.zeros(2, 1, 8, 8), wider[:2])
