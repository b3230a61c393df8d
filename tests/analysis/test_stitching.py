from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from rtinterp.analysis.stitching import affine_stitch, orthogonal_stitch, with_tensors
from rtinterp.analysis.subspace_finding import random_subspace

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

N, D_MODEL = 40, 6


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_planted_rotation_is_found_and_a_stretch_is_not_undone() -> None:
    source = normal(N, D_MODEL, seed=0) + 3
    rotation = random_subspace(D_MODEL, torch.zeros(D_MODEL, dtype=torch.float64), torch.Generator().manual_seed(1))
    target = source @ rotation.directions - 7
    stitch = orthogonal_stitch(source, target)
    torch.testing.assert_close(stitch(source), target)
    stretched = orthogonal_stitch(source, 2 * target)
    torch.testing.assert_close(stretched.linear @ stretched.linear.T, torch.eye(D_MODEL, dtype=torch.float64))


def test_the_rotation_is_scipys() -> None:
    from scipy.linalg import orthogonal_procrustes

    source, target = normal(N, D_MODEL, seed=0), normal(N, D_MODEL, seed=1)
    expected, _ = orthogonal_procrustes((source - source.mean(0)).numpy(), (target - target.mean(0)).numpy())
    np.testing.assert_allclose(orthogonal_stitch(source, target).linear.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_affine_map_is_that_of_scikit_learn(ridge: float) -> None:
    from sklearn.linear_model import LinearRegression, Ridge

    source, target = normal(N, D_MODEL, seed=0) + 2, normal(N, 4, seed=1)
    deviation = (source - source.mean(0)).square().sum().item() / D_MODEL
    reference = Ridge(alpha=ridge * deviation) if ridge else LinearRegression()
    expected = reference.fit(source.numpy(), target.numpy()).predict(source.numpy())
    np.testing.assert_allclose(affine_stitch(source, target, ridge)(source).numpy(), expected, atol=1e-10)


def test_of_maps_that_fit_equally_well_the_smallest_is_taken() -> None:
    source, target = normal(3, D_MODEL, seed=0), normal(3, 4, seed=1)
    stitch = affine_stitch(source, target)
    torch.testing.assert_close(stitch(source), target)
    expected = torch.linalg.pinv(source - source.mean(0)) @ (target - target.mean(0))
    torch.testing.assert_close(stitch.linear, expected)


def test_a_copy_has_the_tensors_and_the_model_keeps_its_own(sharp_model: HookedModel) -> None:
    tokens = torch.arange(11)[None]
    with torch.no_grad():
        before = sharp_model(tokens)
        twice = with_tensors(sharp_model, {"unembed.W_U": 2 * sharp_model.W_U})
        torch.testing.assert_close(twice(tokens), 2 * before - sharp_model.b_U)
        torch.testing.assert_close(sharp_model(tokens), before)


def test_what_does_not_fit_is_refused(sharp_model: HookedModel) -> None:
    rows = torch.ones(3, 2)
    for call, message in (
        (lambda: orthogonal_stitch(rows, torch.ones(3, 4)), "rows of one width"),
        (lambda: affine_stitch(rows, torch.ones(4, 2)), r"pass \[n d_model\], twice"),
        (lambda: affine_stitch(rows, rows * torch.nan), "not finite"),
        (lambda: affine_stitch(rows, rows, ridge=-1.0), "ridge is -1.0"),
        (lambda: with_tensors(sharp_model, {"W_E": rows}), "no tensor 'W_E'"),
        (lambda: with_tensors(sharp_model, {"embed.W_E": rows}), r"embed.W_E is of shape \[11, 32\]"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
