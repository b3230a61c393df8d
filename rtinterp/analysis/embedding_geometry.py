"""The circles that modular arithmetic leaves in an embedding matrix (paper, figure 3).

A model that adds modulo p by rotation puts residue n at the angle 2 pi k n / p of a circle, for some frequency k. Here
row n of a matrix is always residue n (cut other tokens off first), and frequencies are whole numbers from 1 to p // 2.
Shares, fits and orders are unchanged by rotating, scaling and translating the rows. Relabelling, W'[n] = W[a n] with a
coprime to p, moves what was at frequency k to a k (mod p, folded into 1..p // 2). Computed in float64 on the CPU.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from scipy.special import betaincinv
from torch import Tensor

N_PAIRED_COMPONENTS = 10
"""Leading principal components among whose pairs a circle is looked for."""


@dataclasses.dataclass(frozen=True)
class PrincipalComponents:
    """The centred principal components of a matrix, those of largest variance first.

    Attributes:
        scores: coordinates of the centred rows, in the units of the matrix.
        directions: orthonormal; the entry of largest magnitude is positive, which fixes the sign.
        explained_variance_ratio: shares of the total variance, in [0, 1].
    """

    scores: Float[Tensor, "n component"]
    directions: Float[Tensor, "component d_model"]
    explained_variance_ratio: Float[Tensor, " component"]


def principal_components(W: Float[Tensor, "n d_model"], n_components: int) -> PrincipalComponents:
    """Find the leading principal components of the rows of ``W``, by full singular value decomposition.

    Raises:
        ValueError: n_components not in 1..min(n, d_model); rows that are not finite or all equal.
    """
    centred = _centred(W)
    if not 1 <= n_components <= min(centred.shape):
        raise ValueError(f"n_components is {n_components}; pass 1 to {min(centred.shape)}, min(n, d_model)")
    _, singular_values, directions = torch.linalg.svd(centred, full_matrices=False)
    variances = singular_values.square()
    directions = directions[:n_components]
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    directions = directions * largest.sign()
    return PrincipalComponents(centred @ directions.T, directions, (variances / variances.sum())[:n_components])


def fourier_spectrum(W_E: Float[Tensor, "residue d_model"]) -> Float[Tensor, " frequency"]:
    """Compute the share of the centred embedding's power at each frequency 1..p // 2; entry 0 is frequency 1.

    The shares sum to one (Parseval). A circle of frequency k puts everything at k; independent Gaussian rows spread it
    evenly, at 2 / (p - 1) each. For even p the last (Nyquist) frequency has one real dimension instead of two, so half
    as much.

    Raises:
        ValueError: fewer than 2 residues; rows that are not finite or all equal.
    """
    centred = _centred(W_E)
    power = torch.fft.rfft(centred, dim=0).abs().square().sum(dim=1)[1:]
    power = power * torch.from_numpy(_real_dimensions(len(centred)))
    return power / power.sum()


def effective_dimension(W: Float[Tensor, "n d_model"]) -> float:
    """Compute tr(C)^2 / tr(C^2) of the rows' covariance C, which is r when r directions share the variance equally.

    This participation ratio lies in [1, min(n - 1, d_model)]. For n isotropic Gaussian rows it is about n d / (n + d),
    less than d.

    Raises:
        ValueError: rows that are not finite or all equal.
    """
    variances = torch.linalg.svdvals(_centred(W)).square()
    return (variances.sum().square() / variances.square().sum()).item()


def dominant_frequencies(W_E: Float[Tensor, "residue d_model"], *, false_positive_rate: float = 0.01) -> pl.DataFrame:
    """Find the frequencies with more power than embeddings without any order of residues would show.

    Null hypothesis: the rows are independent draws from one Gaussian. The power at a frequency is then chi-square with
    2 D degrees of freedom (D at Nyquist) out of (p - 1) D in all, so its share has a Beta distribution: exactly if D
    directions share the variance equally, else by Satterthwaite's approximation with D the ``effective_dimension``.
    Taking D from the rows keeps a low-rank cloud from passing for a circle. The threshold is the Beta quantile at
    ``1 - false_positive_rate / (p // 2)`` (Bonferroni): the rate is the chance of any frequency at all under the null
    (two strong directions over a weak tail, the worst case tried, had 2.8 % at a nominal 1 %). Shares add up to one,
    so weak frequencies beside strong ones may be missed.

    Returns:
        columns ``frequency``, ``share`` and ``threshold`` (in [0, 1]), largest share first; no row if none stands out.

    Raises:
        ValueError: fewer than 4 residues; a rate outside (0, 1); rows that are not finite or all equal.
    """
    if not 0 < false_positive_rate < 1:
        raise ValueError(f"false_positive_rate is {false_positive_rate}; pass a number between 0 and 1")
    if len(W_E) < 4:
        raise ValueError(f"W_E has {len(W_E)} residues; with fewer than 4 no frequency can stand out")
    shares = fourier_spectrum(W_E).numpy()
    own = _real_dimensions(len(W_E))
    halved_dimension = effective_dimension(W_E) / 2
    level = 1 - false_positive_rate / len(shares)
    thresholds = betaincinv(own * halved_dimension, (own.sum() - own) * halved_dimension, level)
    table = pl.DataFrame({"frequency": np.arange(1, len(shares) + 1), "share": shares, "threshold": thresholds})
    return table.filter(pl.col("share") > pl.col("threshold")).sort("share", descending=True)


def circle_fits(scores: Float[Tensor, "residue component"], n_components: int = N_PAIRED_COMPONENTS) -> pl.DataFrame:
    """Fit a circle in each pair of the first ``n_components`` columns; the best pair comes first.

    With z = x + iy, the circle of frequency k nearest to the points, under any rotation, reflection, translation and
    scale, is c exp(+-2 pi i k n / p), and R^2 = |DFT(z)[+-k]|^2 / (p sum |z|^2): one FFT gives every fit. Pure noise
    reaches about log(number of fits) / p. The Nyquist frequency is a line, not a circle, and is left out.

    Returns:
        columns ``component_x`` < ``component_y`` (columns of the scores, from zero; the paper counts from one),
        ``frequency`` (turns made by the residues 0, 1, ..., p - 1) and ``r_squared`` (share of the two components'
        variance that the circle explains, in [0, 1]).

    Raises:
        ValueError: fewer than 3 residues or 2 columns; scores that are not finite or all equal.
    """
    if scores.ndim != 2 or scores.shape[0] < 3 or scores.shape[1] < 2 or n_components < 2:
        raise ValueError(
            f"scores has shape {tuple(scores.shape)}, n_components is {n_components}; "
            "pass [residue component] with at least 3 residues and 2 components"
        )
    precision = torch.finfo(scores.dtype).eps * len(scores)
    points = _centred(scores)[:, :n_components]
    p = len(points)
    x, y = torch.triu_indices(points.shape[1], points.shape[1], offset=1)
    waves = torch.fft.fft(points, dim=0).T  # [component frequency], in one order for x + iy and k = 0..p - 1
    power = (waves[x] + 1j * waves[y]).abs().square()
    n_circles = (p - 1) // 2
    power = torch.maximum(power[:, 1 : n_circles + 1], power[:, -n_circles:].flip(-1))
    energy = points.square().sum(dim=0)
    energy = energy[x] + energy[y]
    r_squared = torch.where((energy > precision**2 * energy.max())[:, None], power / (p * energy)[:, None], 0.0)
    best, frequency = r_squared.clamp(max=1).max(dim=1)
    columns = {"component_x": x, "component_y": y, "frequency": frequency + 1, "r_squared": best}
    table = pl.DataFrame({name: column.numpy() for name, column in columns.items()})
    return table.sort("r_squared", descending=True, maintain_order=True)


def residue_circles(W_E: Float[Tensor, "residue d_model"], n_circles: int = 3) -> pl.DataFrame:
    """Place the residues on the best circles of an embedding's principal components, of which no two share a component.

    Returns:
        one row per circle and residue: ``circle`` (from 1, the best first), the columns of ``circle_fits``,
        ``share_of_variance`` (of the two components, in [0, 1]), ``residue``, and its coordinates ``x`` and ``y``.

    Raises:
        ValueError: fewer than 3 residues or 2 dimensions, no circle asked for, rows that are not finite or all equal.
    """
    if n_circles < 1:
        raise ValueError(f"n_circles is {n_circles}; pass at least 1")
    components = principal_components(W_E, min(N_PAIRED_COMPONENTS, *W_E.shape))
    circles: list[pl.DataFrame] = []
    taken: set[int] = set()
    for fit in circle_fits(components.scores).iter_rows(named=True):
        pair = [fit["component_x"], fit["component_y"]]
        if len(circles) == n_circles or taken.intersection(pair):
            continue
        taken.update(pair)
        share = components.explained_variance_ratio[pair].sum().item()
        columns = {"circle": len(circles) + 1, **fit, "share_of_variance": share}
        x, y = components.scores[:, pair].T.tolist()
        points = pl.DataFrame({"residue": range(len(W_E)), "x": x, "y": y})
        circles.append(points.select(*(pl.lit(value).alias(name) for name, value in columns.items()), *points.columns))
    return pl.concat(circles)


def _centred(rows: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
    """The rows less their mean, in float64 on the CPU, checked."""
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f"the matrix has shape {tuple(rows.shape)}; pass [n d_model] with at least 2 rows")
    rows = rows.detach().to("cpu", torch.float64)
    if not rows.isfinite().all():
        raise ValueError(f"{int((~rows.isfinite()).sum())} entries are not finite; look for a diverged run")
    if (rows == rows[0]).all():
        raise ValueError("all rows of the matrix are equal; without variance there is no geometry")
    return rows - rows.mean(dim=0)


def _real_dimensions(p: int) -> np.ndarray:
    """Real dimensions of each frequency 1..p // 2: two (sine and cosine), but one at Nyquist; p - 1 in all."""
    dimensions = np.full(p // 2, 2.0)
    if p % 2 == 0:
        dimensions[-1] = 1.0
    return dimensions
