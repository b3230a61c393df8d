import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from rtinterp.analysis import dominant_frequencies, residue_circles
from rtinterp.analysis.embedding_geometry import (
    N_PAIRED_COMPONENTS,
    circle_fits,
    effective_dimension,
    fourier_spectrum,
    principal_components,
)

P = 113
D_MODEL = 32


def gaussian(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(seed):
    return torch.linalg.qr(gaussian(D_MODEL, D_MODEL, seed=seed)).Q


def circle(frequency, p=P):
    phase = 2 * math.pi * frequency * torch.arange(p, dtype=torch.float64) / p
    return torch.stack([phase.cos(), phase.sin()], dim=1)


def planted(frequency, seed, noise=0.02, p=P):
    """A unit circle in a random plane of R^32, with Gaussian noise and far from the origin."""
    return circle(frequency, p) @ orthogonal(seed)[:2] + noise * gaussian(p, D_MODEL, seed=seed + 1000) + 5


def best_circle(scores, n_components=N_PAIRED_COMPONENTS):
    return SimpleNamespace(**circle_fits(scores, n_components).row(0, named=True))


def folded(frequency, p=P):
    return min(frequency % p, -frequency % p)


@pytest.mark.parametrize("n_rows", [P, 20])
def test_principal_components_equal_sklearn(n_rows):
    W = gaussian(n_rows, D_MODEL, seed=0) @ torch.diag(torch.logspace(0, -2, D_MODEL).double()) @ orthogonal(1) + 7
    ours = principal_components(W, 6)
    reference = PCA(6, svd_solver="full").fit(W.numpy())
    np.testing.assert_allclose(ours.explained_variance_ratio, reference.explained_variance_ratio_, rtol=1e-10)
    signs = np.sign((ours.directions.numpy() * reference.components_).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours.directions, signs * reference.components_, atol=1e-10)
    np.testing.assert_allclose(ours.scores, reference.transform(W.numpy()) * signs.T, atol=1e-10)


def test_principal_components_are_orthonormal_with_fixed_signs():
    W = gaussian(40, D_MODEL, seed=3)
    components = principal_components(W, 5)
    torch.testing.assert_close(components.directions @ components.directions.T, torch.eye(5, dtype=torch.float64))
    assert (components.directions.gather(1, components.directions.abs().argmax(1, keepdim=True)) > 0).all()
    # Reflecting the data through the origin leaves the axes alone and reflects the scores.
    reflected = principal_components(-W, 5)
    torch.testing.assert_close(reflected.directions, components.directions)
    torch.testing.assert_close(reflected.scores, -components.scores)


@pytest.mark.parametrize("p", [12, 13])
def test_spectrum_equals_a_brute_force_dft(p):
    W = gaussian(p, 5, seed=p).numpy() + 3
    n = np.arange(p)
    # All p frequencies; k and p - k are the same real wave, and k = 0 is the mean.
    power = np.array([np.abs(np.exp(-2j * np.pi * k * n / p) @ W) ** 2 for k in range(p)]).sum(axis=1)
    folded_power = np.array([sum(power[k] for k in {k, p - k}) for k in range(1, p // 2 + 1)])
    spectrum = fourier_spectrum(torch.from_numpy(W))
    np.testing.assert_allclose(spectrum, folded_power / power[1:].sum(), rtol=1e-10)
    assert spectrum.sum().item() == pytest.approx(1)


def test_spectrum_is_flat_on_average_for_gaussian_rows():
    for p, expected in [(9, [1 / 4] * 4), (8, [2 / 7] * 3 + [1 / 7])]:
        mean = torch.stack([fourier_spectrum(gaussian(p, 64, seed=seed)) for seed in range(100)]).mean(dim=0)
        torch.testing.assert_close(mean, torch.tensor(expected, dtype=torch.float64), atol=0.01, rtol=0)


@pytest.mark.parametrize("frequency", [1, 17, 56])
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_circle_is_recovered(frequency, seed):
    W = planted(frequency, seed)
    assert dominant_frequencies(W)["frequency"].to_list() == [frequency]
    scores = principal_components(W, 10).scores
    fit = best_circle(scores)
    assert (fit.component_x, fit.component_y, fit.frequency) == (0, 1, frequency)
    assert fit.r_squared > 0.95
    assert circle_fits(scores)["r_squared"][1] < 0.6  # only one of the circle's axes: half its variance at most


def test_circle_is_found_in_components_that_are_not_neighbours():
    scores = 0.1 * gaussian(P, 12, seed=4)
    scores[:, [1, 7]] += circle(9)
    scores[:, [10, 11]] += 100 * circle(5)  # beyond the first ten
    fit = best_circle(scores)
    assert (fit.component_x, fit.component_y, fit.frequency) == (1, 7, 9)
    assert best_circle(scores, n_components=12).frequency == 5


def test_several_frequencies_are_recovered_in_order_of_power():
    axes = orthogonal(5)
    W = 1.5 * circle(30) @ axes[:2] + circle(4) @ axes[2:4] + 0.05 * gaussian(P, D_MODEL, seed=6)
    assert dominant_frequencies(W)["frequency"].to_list() == [30, 4]
    assert set(circle_fits(principal_components(W, 4).scores)["frequency"][:2]) == {30, 4}


@pytest.mark.parametrize("p", [P, 112])
@pytest.mark.parametrize("rank", [2, D_MODEL])
def test_false_positive_rate_on_gaussian_embeddings(p, rank):
    """Expected at most 1 % of 100; a rate of 1 % gives more than 5 with probability below 0.001."""
    clouds = [gaussian(p, rank, seed=seed) @ orthogonal(0)[:rank] for seed in range(100)]
    assert sum(len(dominant_frequencies(W)) > 0 for W in clouds) <= 5


@pytest.mark.parametrize("seed", range(5))
def test_gaussian_embedding_has_no_circle(seed):
    W = gaussian(P, D_MODEL, seed=seed)
    assert dominant_frequencies(W).is_empty()
    assert best_circle(principal_components(W, 10).scores).r_squared < 0.25


def test_shuffled_circle_has_the_shape_but_not_the_order():
    order = torch.randperm(P, generator=torch.Generator().manual_seed(0))
    assert best_circle(circle(3)[order]).r_squared < 0.25


def test_invariance_to_rotation_scale_translation_and_reflection():
    W = planted(11, seed=7, noise=0.2)
    rotation = orthogonal(8)
    if torch.linalg.det(rotation) > 0:
        rotation[0] *= -1
    moved = 3.5 * W @ rotation - 40
    torch.testing.assert_close(fourier_spectrum(moved), fourier_spectrum(W))
    assert effective_dimension(moved) == pytest.approx(effective_dimension(W))
    ours, theirs = (circle_fits(principal_components(matrix, 6).scores) for matrix in (W, moved))
    assert ours.select("component_x", "component_y", "frequency").equals(theirs.drop("r_squared"))
    np.testing.assert_allclose(ours["r_squared"], theirs["r_squared"], rtol=1e-8)


def test_relabelling_residues_moves_the_frequency():
    W, factor = planted(11, seed=9), 5
    relabelled = W[factor * torch.arange(P) % P]
    assert best_circle(principal_components(relabelled, 4).scores).frequency == folded(factor * 11)
    for k in range(1, P // 2 + 1):
        ours, theirs = fourier_spectrum(relabelled)[folded(factor * k) - 1], fourier_spectrum(W)[k - 1]
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("p", [14, 15])
@pytest.mark.parametrize("seed", range(4))
def test_fit_equals_least_squares_similarity(p, seed):
    """Reference: regress the points on a circle, or its mirror image, and the same turned by a right angle."""
    points = gaussian(p, 2, seed=seed)
    target = (points - points.mean(dim=0)).numpy().ravel()
    r_squared = {}
    for k in range(1, (p - 1) // 2 + 1):
        c, s = circle(k, p).numpy().T
        for mirror in (1, -1):
            one = np.stack([c, mirror * s], axis=1)
            right_angle = np.stack([-one[:, 1], one[:, 0]], axis=1)
            design = np.stack([one.ravel(), right_angle.ravel()], axis=1)
            residual = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
            r_squared[k, mirror] = 1 - residual @ residual / (target @ target)
    (frequency, _), best = max(r_squared.items(), key=lambda item: item[1])
    fit = best_circle(points)
    assert fit.frequency == frequency
    assert fit.r_squared == pytest.approx(best)


def test_line_at_nyquist_is_not_a_circle_but_is_a_frequency():
    alternating = torch.tensor([1.0, -1.0]).repeat(30)[:, None] * gaussian(1, D_MODEL, seed=11)
    W = alternating + 0.1 * gaussian(60, D_MODEL, seed=12)
    assert dominant_frequencies(W)["frequency"].to_list() == [30]
    assert best_circle(principal_components(W, 6).scores).r_squared < 0.4


def test_components_of_rounding_noise_are_not_fitted():
    scores = torch.cat([circle(6), 1e-17 * circle(8)], dim=1)
    fits = circle_fits(scores)
    assert fits.row(0)[:3] == (0, 1, 6)
    assert fits.filter(component_x=2, component_y=3)["r_squared"].item() == 0


def test_residues_stand_on_the_best_circles_of_which_no_two_share_a_component():
    axes = orthogonal(5)
    W = 1.5 * circle(30) @ axes[:2] + circle(4) @ axes[2:4] + 0.05 * gaussian(P, D_MODEL, seed=6) + 5
    table = residue_circles(W, 2)
    components = principal_components(W, 10)
    frequencies = []
    for _, rows in table.group_by("circle", maintain_order=True):
        pair = [rows["component_x"][0], rows["component_y"][0]]
        assert rows["residue"].to_list() == list(range(P))
        np.testing.assert_allclose(rows.select("x", "y").to_numpy(), components.scores[:, pair], atol=1e-10)
        assert rows["share_of_variance"][0] == pytest.approx(components.explained_variance_ratio[pair].sum().item())
        frequencies.append((rows["circle"][0], *pair, rows["frequency"][0]))
    assert sorted(frequency for *_, frequency in frequencies) == [4, 30]
    assert sorted(component for _, *pair, _ in frequencies for component in pair) == [0, 1, 2, 3]
    assert [rank for rank, *_ in frequencies] == [1, 2]
    assert table["r_squared"].is_sorted(descending=True)


def test_there_are_no_more_circles_than_pairs_of_components():
    assert residue_circles(gaussian(P, 5, seed=1), 9)["circle"].n_unique() <= 2


def test_effective_dimension_counts_equal_directions():
    assert effective_dimension(circle(3) @ orthogonal(0)[:2]) == pytest.approx(2)
    assert effective_dimension(gaussian(20_000, 8, seed=14)) == pytest.approx(8, rel=0.01)


def test_bad_input_is_refused():
    W = gaussian(9, 4, seed=15)
    with pytest.raises(ValueError, match="n_components is 5"):
        principal_components(W, 5)
    with pytest.raises(ValueError, match="all rows"):
        fourier_spectrum(torch.ones(9, 4))
    with pytest.raises(ValueError, match="1 entries are not finite"):
        best_circle(torch.cat([W, torch.tensor([[math.nan, 0, 0, 0]])]))
    with pytest.raises(ValueError, match="n_circles is 0"):
        residue_circles(W, 0)
    with pytest.raises(ValueError, match="at least 3 residues and 2 components"):
        residue_circles(gaussian(9, 1, seed=0))
    with pytest.raises(ValueError, match="false_positive_rate is 1"):
        dominant_frequencies(W, false_positive_rate=1.0)
