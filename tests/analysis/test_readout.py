from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from rtinterp.analysis.predictions import accuracy
from rtinterp.analysis.readout import fitted_readout, with_fitted_unembedding
from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch, ModularAddition

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

N, D_MODEL, N_CLASSES = 300, 5, 3


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_fit_is_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    features, ridge = normal(N, D_MODEL, seed=0), 0.01
    targets = (features @ normal(D_MODEL, N_CLASSES, seed=1) + normal(N, N_CLASSES, seed=2)).argmax(1)
    weights, biases = fitted_readout(features, targets, N_CLASSES, ridge)
    reference = LogisticRegression(C=1 / (N * ridge), tol=1e-10, max_iter=1000).fit(features.numpy(), targets.numpy())
    ours = (features @ weights + biases).softmax(1)
    expected = torch.as_tensor(reference.predict_proba(features.numpy()))
    torch.testing.assert_close(ours, expected, atol=1e-3, rtol=0)


@pytest.fixture(scope="module")
def model() -> HookedModel:
    return build_model(ModularAddition(p=11), ModelSpec(32), seed=0)


def batch(n: int, seed: int, *, shuffled: bool = False) -> Batch:
    """The token itself is expected, or what is expected of another sequence."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(11, (n, 2), generator=generator)
    scored = torch.tensor([False, True]).expand(n, 2)
    return Batch(tokens, scored, tokens[torch.randperm(n, generator=generator)] if shuffled else tokens)


def test_what_is_there_is_read_and_the_model_keeps_its_unembedding(model: HookedModel) -> None:
    before = model.W_U.clone()
    assert accuracy(model, batch(300, 1)) < 0.5
    assert accuracy(with_fitted_unembedding(model, batch(500, 0)), batch(300, 1)) == 1
    assert torch.equal(before, model.W_U)


def test_shuffled_targets_and_what_the_last_position_cannot_know_are_not_read(model: HookedModel) -> None:
    found = accuracy(with_fitted_unembedding(model, batch(500, 0, shuffled=True)), batch(300, 1))
    assert found < 0.35
    tokens = torch.randint(11, (800, 3), generator=torch.Generator().manual_seed(2))
    next_one = Batch(tokens, torch.tensor([False, True, False]).expand(800, 3))
    assert accuracy(with_fitted_unembedding(model, next_one[:500]), next_one[500:]) < 0.25


def test_what_cannot_be_fitted_is_refused(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="ridge is -1"):
        fitted_readout(normal(4, 2, seed=0), torch.zeros(4, dtype=torch.long), 3, ridge=-1)
    with pytest.raises(ValueError, match="as many targets, of 0 to 2"):
        fitted_readout(normal(4, 2, seed=0), torch.full((4,), 3), 3, ridge=0.1)
    with pytest.raises(ValueError, match="scored"):
        with_fitted_unembedding(model, Batch(torch.zeros(2, 2, dtype=torch.long), torch.zeros(2, 2, dtype=torch.bool)))
