from __future__ import annotations

import math

import pytest
import torch

from rtinterp.analysis.explained_variance import top_k_component_share, top_k_coordinate_share
from rtinterp.analysis.subspace_finding import (
    coordinate_subspace,
    principal_subspace,
    random_subspace,
    sensitive_subspace,
    variance_matched_subspace,
)
from rtinterp.analysis.subspaces import (
    Subspace,
    expected_overlap,
    orthonormal,
    overlap,
    principal_angles,
    variance_share,
)

D_MODEL = 12


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def activations() -> torch.Tensor:
    """Correlated, with a mean far from zero."""
    mixing = torch.randn(D_MODEL, D_MODEL, generator=generator(1), dtype=torch.float64)
    scales = torch.logspace(0, -3, D_MODEL, dtype=torch.float64)
    return 5 + torch.randn(2000, D_MODEL, generator=generator(2), dtype=torch.float64) @ (mixing * scales)


@pytest.fixture(scope="module")
def covariance(activations: torch.Tensor) -> torch.Tensor:
    return activations.T.cov()


def test_projection_and_removal_are_complements(activations: torch.Tensor) -> None:
    centre = activations.mean(0)
    subspace = random_subspace(5, centre, generator())
    kept, rest = subspace.project(activations), subspace.remove(activations)
    torch.testing.assert_close(kept + rest - centre, activations)
    torch.testing.assert_close(subspace.project(kept), kept)
    torch.testing.assert_close(subspace.project(rest), centre.expand_as(rest))
    torch.testing.assert_close(((kept - centre) * (rest - centre)).sum(1), torch.zeros(2000, dtype=torch.float64))


def test_all_directions_change_nothing_and_none_leave_the_centre(activations: torch.Tensor) -> None:
    subspace = random_subspace(D_MODEL, activations.mean(0), generator())
    torch.testing.assert_close(subspace.project(activations), activations)
    torch.testing.assert_close(subspace.first(0).project(activations), activations.mean(0).expand_as(activations))
    torch.testing.assert_close(subspace.first(0).remove(activations), activations)


def test_an_interchange_swaps_coordinates_and_leaves_the_rest(activations: torch.Tensor) -> None:
    subspace = random_subspace(4, activations.mean(0), generator())
    base, source = activations.chunk(2)
    mixed = subspace.interchange(base, source)
    torch.testing.assert_close(subspace.coordinates(mixed), subspace.coordinates(source))
    torch.testing.assert_close(subspace.remove(mixed), subspace.remove(base))
    torch.testing.assert_close(subspace.interchange(base, base), base)


def test_principal_directions_have_the_shares_that_pca_gives_them(
    activations: torch.Tensor, covariance: torch.Tensor
) -> None:
    from sklearn.decomposition import PCA

    reference = PCA().fit(activations.numpy())
    principal = principal_subspace(covariance, activations.mean(0))
    for k in (1, 3, D_MODEL):
        share = variance_share(covariance, principal.first(k))
        assert share == pytest.approx(reference.explained_variance_ratio_[:k].sum())
        assert share == pytest.approx(top_k_component_share(covariance, k))
        axes = coordinate_subspace(covariance, activations.mean(0)).first(k)
        assert variance_share(covariance, axes) == pytest.approx(top_k_coordinate_share(covariance, k))


def test_the_sensitive_subspace_is_what_the_output_reads_not_what_varies_most() -> None:
    # The output reads axis 3 alone, which hardly varies; axis 0 has nearly all the variance.
    covariance = torch.diag(torch.tensor([100.0, 1.0, 1.0, 0.1]))
    read = torch.tensor([0.0, 0.0, 0.0, 1.0])
    found = sensitive_subspace(covariance, torch.outer(read, read), torch.zeros(4))
    assert found.first(1).directions.abs().round(decimals=6).tolist() == [[0, 0, 0, 1]]
    assert principal_subspace(covariance, torch.zeros(4)).first(1).directions.abs().tolist() == [[1, 0, 0, 0]]


def test_the_first_sensitive_directions_keep_the_output_that_varies_most(
    activations: torch.Tensor, covariance: torch.Tensor
) -> None:
    readout = torch.randn(D_MODEL, 3, generator=generator(3), dtype=torch.float64)
    centre = activations.mean(0)
    found = sensitive_subspace(covariance, readout @ readout.T, centre)
    torch.testing.assert_close(found.first(3).project(activations) @ readout, activations @ readout)
    # An independent reference for the best single combination of the outputs: their first principal component.
    outputs = (activations - centre) @ readout
    best = torch.linalg.svd(outputs, full_matrices=False).Vh[0]
    torch.testing.assert_close(found.first(1).project(activations) @ readout @ best, activations @ readout @ best)


def test_directions_that_nothing_reads_come_last_of_the_sensitive_ones() -> None:
    gradient_moments = torch.diag(torch.tensor([1.0, 0.0, 2.0]))
    found = sensitive_subspace(torch.eye(3), gradient_moments, torch.zeros(3))
    assert found.rank == 3
    assert found.directions.abs().round(decimals=6).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_random_directions_have_the_share_of_their_number_on_average(covariance: torch.Tensor) -> None:
    centre, stream = torch.zeros(D_MODEL, dtype=torch.float64), generator()
    shares = torch.tensor([variance_share(covariance, random_subspace(3, centre, stream)) for _ in range(2000)])
    standard_error = shares.std().item() / math.sqrt(len(shares))
    assert shares.mean().item() == pytest.approx(3 / D_MODEL, abs=4 * standard_error)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.6, 0.9])
def test_matched_directions_have_the_variance_that_was_asked_for(covariance: torch.Tensor, share: float) -> None:
    found = variance_matched_subspace(covariance, 3, share, torch.zeros(D_MODEL), generator())
    assert variance_share(covariance, found) == pytest.approx(share, abs=1e-5)
    other = variance_matched_subspace(covariance, 3, share, torch.zeros(D_MODEL), generator(1))
    assert overlap(found, other) < 0.99


def test_directions_of_hardly_any_variance_are_found_where_variances_differ_by_orders() -> None:
    """A few components without variance must not be all that is left of the numbers."""
    variances = torch.cat([torch.logspace(0, -6, 60, dtype=torch.float64), torch.full((4,), 1e-14).double()])
    covariance = variances.diag()
    least = variances[-16:].sum() / variances.sum()
    found = variance_matched_subspace(covariance, 16, 2 * least.item(), torch.zeros(64).double(), generator())
    assert variance_share(covariance, found) == pytest.approx(2 * least.item(), rel=0.2)


def test_more_variance_than_the_principal_directions_have_is_refused(covariance: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"1 such directions can have .* of the variance, not 0\.999"):
        variance_matched_subspace(covariance, 1, 0.999, torch.zeros(D_MODEL), generator())


def test_angles_agree_with_scipy(covariance: torch.Tensor) -> None:
    from scipy.linalg import subspace_angles

    centre = torch.zeros(D_MODEL, dtype=torch.float64)
    one, other = random_subspace(4, centre, generator(1)), random_subspace(6, centre, generator(2))
    expected = sorted(subspace_angles(one.directions.T.numpy(), other.directions.T.numpy()))
    torch.testing.assert_close(principal_angles(one, other), torch.tensor(expected))
    assert overlap(one, other) == pytest.approx(torch.tensor(expected).cos().square().mean().item())


def test_small_and_right_angles_are_exact() -> None:
    tilted = orthonormal(torch.tensor([[1.0, 1e-9, 0.0]], dtype=torch.float64))
    axis = Subspace(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    assert principal_angles(Subspace(tilted, axis.centre), axis).item() == pytest.approx(1e-9, rel=1e-6)
    upright = Subspace(torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64), axis.centre)
    assert principal_angles(upright, axis).item() == pytest.approx(math.pi / 2)


def test_random_subspaces_overlap_as_expected() -> None:
    centre, stream = torch.zeros(D_MODEL, dtype=torch.float64), generator()
    fixed = random_subspace(5, centre, generator(9))
    overlaps = torch.tensor([overlap(fixed, random_subspace(2, centre, stream)) for _ in range(2000)])
    standard_error = overlaps.std().item() / math.sqrt(len(overlaps))
    assert overlaps.mean().item() == pytest.approx(expected_overlap(5, 2, D_MODEL), abs=4 * standard_error)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Subspace(torch.ones(2, 3), torch.zeros(3)), "not orthonormal"),
        (lambda: Subspace(torch.eye(3), torch.zeros(4)), r"\[rank d_model\]"),
        (lambda: Subspace(torch.eye(3), torch.zeros(3)).first(4), "k is 4; this subspace has 3 directions"),
        (lambda: random_subspace(4, torch.zeros(3), generator()), "rank is 4; pass 0 to 3"),
        (lambda: orthonormal(torch.ones(2, 3)), "linearly dependent"),
        (lambda: orthonormal(torch.ones(4, 3)), "linearly dependent"),
        (lambda: principal_subspace(torch.ones(2, 3), torch.zeros(3)), "covariance has shape"),
        (lambda: principal_subspace(torch.full((2, 2), torch.nan), torch.zeros(2)), "not finite"),
    ],
    ids=["skewed", "other space", "too many", "rank", "dependent", "too many vectors", "not square", "not finite"],
)
def test_bad_input_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # pyright: ignore[reportCallIssue]
