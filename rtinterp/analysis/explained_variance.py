"""How few directions the residual stream occupies: subspace selection, measured (paper section 6, tables 4, 5 and 7).

Random transformers are said to steer their hidden states into a low-dimensional subspace in which the frozen network
already computes the task. Two shares of the variance test this: that of the top k principal components (low-dimensional
at all?) and that of the k most variable coordinates, the paper's "neurons" (aligned with the coordinate axes?).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rtinterp.analysis.batches import CountedBatches, each_counted
from rtinterp.tasks.numbers import as_numbers

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

TOP_K = 10
"""Components and coordinates counted in the paper's tables 4, 5 and 7."""


class StreamingCovariance:
    """Mean and covariance of activations that arrive in chunks, in O(d_model^2) memory.

    Keeps the mean and the scatter about it, and merges each chunk's own (Chan, Golub and LeVeque 1979). Never forms a
    sum of squares about zero, so a mean far larger than the spread costs no precision; chunk sizes do not change the
    result beyond rounding; identical activations have a covariance of exactly zero.

    Attributes:
        n: activations seen.
        mean: their mean, in the units of the activations.
    """

    def __init__(self, d_model: int, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64) -> None:
        if d_model < 1:
            raise ValueError(f"d_model is {d_model}; pass at least 1")
        self.n = 0
        self.mean: Float[Tensor, " d_model"] = torch.zeros(d_model, device=device, dtype=dtype)
        self._scatter = torch.zeros(d_model, d_model, device=device, dtype=dtype)

    @torch.no_grad()
    def update(self, activations: Float[Tensor, "n d_model"]) -> None:
        """Add any number of activations, zero included.

        Raises:
            ValueError: another shape, or activations that are not finite (nothing is then added).
        """
        d_model = len(self.mean)
        if activations.ndim != 2 or activations.shape[1] != d_model:
            raise ValueError(f"activations has shape {tuple(activations.shape)}; pass [n d_model = {d_model}]")
        if not activations.isfinite().all():
            bad = int((~activations.isfinite()).any(dim=1).sum())
            raise ValueError(f"{bad} of {len(activations)} activations are not finite; look for a diverged run")
        if not len(activations):
            return
        chunk = activations.to(self.mean)
        # Through the first row, so that the mean of identical rows is exact.
        chunk_mean = chunk[0] + (chunk - chunk[0]).mean(dim=0)
        deviations = chunk - chunk_mean
        step = chunk_mean - self.mean
        total = self.n + len(chunk)
        self._scatter += deviations.T @ deviations + torch.outer(step, step) * (self.n * len(chunk) / total)
        self.mean = self.mean + step * (len(chunk) / total)
        self.n = total

    @property
    def covariance(self) -> Float[Tensor, "d_model d_model"]:
        """Unbiased covariance (divisor n - 1), in squared units of the activations.

        Raises:
            ValueError: fewer than two activations seen.
        """
        if self.n < 2:
            raise ValueError(f"{self.n} activations seen; a covariance needs at least 2")
        return self._scatter / (self.n - 1)


def top_k_component_share(covariance: Float[Tensor, "d_model d_model"], k: int = TOP_K) -> float:
    """Compute the share of the variance, in [0, 1], along the ``k`` principal components that have most of it.

    It is unchanged by rotating or scaling the activations, never below ``top_k_coordinate_share``, and at least
    ``k / d_model``.

    Raises:
        ValueError: k not in 1..d_model; a covariance that is not square or not finite; zero variance.
    """
    _check_covariance(covariance, k)
    eigenvalues = torch.linalg.eigvalsh(covariance.double()).clamp(min=0)  # ascending
    return (eigenvalues[-k:].sum() / eigenvalues.sum()).item()


def top_k_coordinate_share(covariance: Float[Tensor, "d_model d_model"], k: int = TOP_K) -> float:
    """Compute the share of the variance, in [0, 1], in the ``k`` residual coordinates that have most of it.

    These are the "neurons" of the paper's table 4 (not MLP neurons). The share is unchanged by scaling and by permuting
    coordinates; rotating the activations changes it. It equals ``top_k_component_share`` for a diagonal covariance.

    Raises:
        ValueError: as ``top_k_component_share``.
    """
    _check_covariance(covariance, k)
    variances = covariance.diagonal().double()
    return (variances.topk(k).values.sum() / variances.sum()).item()


def residual_explained_variance(
    model: HookedModel,
    batches: CountedBatches,
    k: int = TOP_K,
) -> pl.DataFrame:
    """Measure the shares of the residual stream's variance in ``k`` components and ``k`` coordinates, layer by layer.

    Sites: the embedding (token + position) and the output of every block, the last one BEFORE the final LayerNorm; of a
    recurrent model the token embedding and the hidden states of every layer. One mean over all sequences and positions
    is subtracted, so differences between positions count as variance.

    Args:
        batches: one or several, of any sizes, whose positions count up to the last scored one of each sequence
            (``positions_that_feed``); or pairs of tokens and a mask, True at the positions to count, such as
            ``(tokens, tokens != pad_token)``. Activations that are masked out are never read, but later positions see
            their tokens: pads must come after what is counted.

    Returns:
        one row per site with columns ``site`` ("embedding", "after layer 0", ...), ``layer`` (the layer that it is
        after, counted from 0; null for the embedding), ``n_activations``, ``k``, ``share_principal_components`` and
        ``share_coordinates`` (in [0, 1]).

    Raises:
        ValueError: k not in 1..d_model, a mask of another shape than its tokens, fewer than 2 activations, activations
            that are not finite, or no variance at some site.
    """
    _check_k(k, model.cfg.d_model)
    statistics: list[StreamingCovariance] = []
    for tokens, included in each_counted(batches):
        activations = _residual_stream(model, tokens, included)
        if not statistics:
            # Apple's GPUs have no float64.
            device = "cpu" if activations.device.type == "mps" else activations.device
            statistics = [StreamingCovariance(model.cfg.d_model, device=device) for _ in activations]
        for statistic, site_activations in zip(statistics, activations, strict=True):
            statistic.update(site_activations)
    if not statistics:
        raise ValueError("batches is empty; pass at least one (tokens, included) pair")
    layers = (None, *range(model.cfg.n_layers))
    rows = [_site_row(layer, statistic, k) for layer, statistic in zip(layers, statistics, strict=True)]
    return pl.DataFrame(rows, schema_overrides={"layer": pl.Int64})


@torch.no_grad()
def _residual_stream(
    model: HookedModel,
    tokens: Int64[Tensor, "batch pos"],
    included: Bool[Tensor, "batch pos"],
) -> Float[Tensor, "site n d_model"]:
    """Activations at the included positions, at the embedding and after every layer."""
    tokens, included = as_numbers(tokens, "tokens"), torch.as_tensor(included)
    if tokens.ndim != 2 or included.shape != tokens.shape or included.dtype != torch.bool:
        raise ValueError(
            f"tokens has shape {tuple(tokens.shape)}, its mask {tuple(included.shape)} of {included.dtype}; "
            "pass two [batch pos] tensors, the mask boolean"
        )
    n_layers = model.cfg.n_layers
    if not included.any():
        return torch.empty(n_layers + 1, 0, model.cfg.d_model, device=model.W_E.device, dtype=model.W_E.dtype)
    n_pos = int(included.any(dim=0).nonzero().max()) + 1  # causal: later positions change nothing before them
    sites = _sites(model)
    _, cache = model.run_with_cache(tokens[:, :n_pos], names_filter=sites, stop_at_layer=n_layers)
    return torch.stack([cache[site][included[:, :n_pos].to(cache[site].device)] for site in sites])


def _sites(model: HookedModel) -> list[str]:
    """Hook points at the embedding and after every layer."""
    layers = range(model.cfg.n_layers)
    if "layers.0.hook_hidden" in model.hook_dict:
        return ["hook_embed", *(f"layers.{layer}.hook_hidden" for layer in layers)]
    return ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in layers)]


def _site_row(layer: int | None, statistic: StreamingCovariance, k: int) -> dict[str, str | int | float | None]:
    covariance = statistic.covariance
    return {
        "site": "embedding" if layer is None else f"after layer {layer}",
        "layer": layer,
        "n_activations": statistic.n,
        "k": k,
        "share_principal_components": top_k_component_share(covariance, k),
        "share_coordinates": top_k_coordinate_share(covariance, k),
    }


def _check_k(k: int, d_model: int) -> None:
    if not 1 <= k <= d_model:
        raise ValueError(f"k is {k}; pass 1 to {d_model}, the number of residual coordinates (d_model)")


def _check_covariance(covariance: Tensor, k: int) -> None:
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise ValueError(f"covariance has shape {tuple(covariance.shape)}; pass [d_model d_model]")
    _check_k(k, len(covariance))
    if not covariance.isfinite().all():
        raise ValueError("the covariance is not finite; look for overflow in the activations")
    if covariance.trace() <= 0:
        raise ValueError(f"the total variance is {covariance.trace():g}; a share needs activations that differ")
