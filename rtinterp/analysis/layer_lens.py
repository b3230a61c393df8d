"""What a model would predict after each layer: the residual stream read out early.

After every layer the final norm and the unembedding are applied, as after the last one. A layer's estimate of a value
can then be compared with what may have made it: the terms of the sequence, or estimates without a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


@torch.no_grad()
def layer_estimates(
    model: HookedModel, tokens: Int64[Tensor, "batch pos"] | Float[Tensor, "batch pos dimension"]
) -> Float[Tensor, "site batch pos d_vocab_out"]:
    """Read out the residual stream as the embeddings make it, then after every layer; the last is what is predicted.

    Raises:
        ValueError: the model is not a transformer.
    """
    any_model: Any = model
    if "blocks.0.hook_resid_pre" not in model.hook_dict:
        raise ValueError(f"{type(model).__name__} has no residual stream of blocks; pass a transformer")
    sites = ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(model.cfg.n_layers))]
    _, cache = model.run_with_cache(tokens, names_filter=sites)
    return torch.stack([any_model.unembed(any_model.ln_final(cache[site])) for site in sites])


def share_explained(
    values: Float[Tensor, "row dimension"], predictors: Float[Tensor, "row feature"]
) -> Float64[Tensor, ""]:
    """Compute R^2 of values regressed on predictors and a constant by least squares, over all dimensions together.

    Raises:
        ValueError: there are no more rows than coefficients, or the values do not vary.
    """
    if len(values) <= predictors.shape[1] + 1:
        raise ValueError(f"{len(values)} rows determine no {predictors.shape[1] + 1} coefficients")
    values, features = values.double(), predictors.double()
    values, features = values - values.mean(0), features - features.mean(0)
    total = values.square().sum()
    if total == 0:
        raise ValueError("the values do not vary")
    rest = values - features @ torch.linalg.lstsq(features, values).solution
    return 1 - rest.square().sum() / total


def lens_table(
    estimates: Float[Tensor, "site batch pos dimension"],
    predictors: Mapping[str, Float[Tensor, "batch pos _"]],
    first_position: int,
) -> pl.DataFrame:
    """Compare every layer's estimate with what may have made it, over all positions from one on.

    Args:
        estimates: such as ``layer_estimates``; the first is the embeddings', which is layer -1 in the table.
        predictors: by name: what estimates are regressed on; joined along the last axis it may be several.
        first_position: from which on all predictors are numbers.

    Returns:
        columns ``layer``, ``predictor``, ``r2``, of the regression, and ``mse``, the mean squared difference of the
        two as they are; null where their dimensions differ.
    """
    rows: list[dict[str, object]] = []
    for layer, of_layer in enumerate(estimates, -1):
        values = _rows(of_layer, first_position)
        for name, predictor in predictors.items():
            told = _rows(predictor, first_position)
            off = (values - told).square().mean().item() if told.shape == values.shape else None
            r2 = share_explained(values, told).item()
            rows.append({"layer": layer, "predictor": name, "r2": r2, "mse": off})
    return pl.DataFrame(rows, schema={"layer": pl.Int64, "predictor": pl.String, "r2": pl.Float64, "mse": pl.Float64})


def _rows(values: Shaped[Tensor, "batch pos dimension"], first_position: int) -> Float64[Tensor, "row dimension"]:
    return values[:, first_position:].double().flatten(0, 1)
