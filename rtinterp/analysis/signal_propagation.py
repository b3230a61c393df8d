"""How tokens keep apart on their way through the layers: their cosines, and their norms (Dong et al. 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


def token_cosine(residual: Float[Tensor, "batch pos d_model"]) -> float:
    """Average the cosine of two different positions of a sequence, over all pairs and sequences; in [-1, 1].

    Raises:
        ValueError: there is only one position.
    """
    n_pos = residual.shape[1]
    if n_pos < 2:
        raise ValueError(f"residual has the shape {list(residual.shape)}; pass two positions at least")
    unit = F.normalize(residual.double(), dim=-1)
    # The squared norm of a sum of unit vectors is the sum of all their cosines, each with itself included.
    of_all = unit.sum(1).square().sum(-1)
    return ((of_all - n_pos) / (n_pos * (n_pos - 1))).mean().item()


def mean_square(residual: Float[Tensor, "batch pos d_model"]) -> float:
    """Average the squared norm of a position over d_model."""
    return residual.double().square().mean().item()


@torch.no_grad()
def propagation_table(model: HookedModel, tokens: Int64[Tensor, "batch pos"]) -> pl.DataFrame:
    """Measure cosines and norms of the residual stream before the first layer and after each.

    At initialisation this tells whether tokens can still be told apart where the layers end: cosines near 1 say that
    all positions hold the same.

    Returns:
        One row per depth: ``layer`` (layers passed, from 0), ``cosine`` (the mean between different positions) and
        ``mean_square`` (the mean squared norm over d_model).

    Raises:
        ValueError: the model is not a transformer, or sequences have only one position.
    """
    if "blocks.0.hook_resid_pre" not in model.hook_dict:
        raise ValueError(f"{type(model).__name__} has no residual stream; pass a transformer")
    n_layers: int = model.cfg.n_layers
    sites = ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(n_layers))]
    _, cache = model.run_with_cache(tokens, names_filter=sites, stop_at_layer=n_layers)
    rows = [(layer, token_cosine(cache[site]), mean_square(cache[site])) for layer, site in enumerate(sites)]
    return pl.DataFrame(rows, schema=["layer", "cosine", "mean_square"], orient="row")
