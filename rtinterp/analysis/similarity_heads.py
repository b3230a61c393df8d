"""Heads that compare: whether a head looks at terms like the present one, and with which sign it writes them.

"Negative similarity head" has two readings. By the first, a head looks away from similar terms: its attention scores
fall with similarity (``similarity_correlation`` below 0). By the second, it looks at similar terms, and writes the
opposite of what it finds (``similarity_correlation`` above 0 and a ``gain`` below 0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.analysis.ablations import head_writes
from rtinterp.analysis.layer_parts import check_adds_up

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


def similarity_correlation(
    scores: Float[Tensor, "batch head query_pos key_pos"], terms: Float[Tensor, "batch pos dimension"]
) -> Float[Tensor, " head"]:
    """Correlate attention scores with the similarity of terms, the effect of positions taken out; in [-1, 1].

    The similarity of two terms is their distance times -1. For every pair of different positions of which the head
    sees one from the other, Pearson's correlation is taken over sequences, so that no difference between positions
    enters, and then the mean over pairs.

    Raises:
        ValueError: there are fewer than three sequences, or two positions.
    """
    n_batch, n_pos = terms.shape[:2]
    if n_batch < 3 or n_pos < 2:
        raise ValueError(f"terms have the shape {list(terms.shape)}; pass 3 sequences of 2 positions at least")
    query, key = torch.tril_indices(n_pos, n_pos, offset=-1, device=terms.device)
    similarity = -torch.linalg.vector_norm(terms[:, query] - terms[:, key], dim=-1)
    return _correlation(scores[:, :, query, key].transpose(1, 2), similarity[..., None]).nanmean(dim=0)


@torch.no_grad()
def head_contributions(
    model: HookedModel, tokens: Float[Tensor, "batch pos dimension"]
) -> Float[Tensor, "batch pos layer head d_vocab_out"]:
    """Compute what each head adds to the outputs directly, with the final norm's scale as it is.

    Raises:
        ValueError: the model is not a transformer with a final norm that only centres and scales, or its body scales
            the residual stream.
    """
    any_model: Any = model
    if not hasattr(model, "ln_final") or not hasattr(any_model.ln_final, "b"):
        raise ValueError(f"{type(model).__name__} has no final LayerNorm with weights; pass a transformer that has one")
    check_adds_up(model)
    layers = range(model.cfg.n_layers)
    names = [*(f"blocks.{layer}.attn.hook_z" for layer in layers), "ln_final.hook_scale"]
    _, cache = model.run_with_cache(tokens, names_filter=names)
    writes = torch.stack([head_writes(model, layer, cache[f"blocks.{layer}.attn.hook_z"]) for layer in layers], dim=2)
    centred = writes - writes.mean(-1, keepdim=True)
    return centred / cache["ln_final.hook_scale"][:, :, None, None] * any_model.ln_final.w @ model.W_U


@torch.no_grad()
def head_table(model: HookedModel, terms: Float[Tensor, "batch pos dimension"], first_position: int) -> pl.DataFrame:
    """Measure every head of a transformer that reads vectors.

    Args:
        terms: what it reads.
        first_position: from which on gains and weights are taken; early positions have little to look at.

    Returns:
        columns ``layer``, ``head``; ``similarity_correlation``; ``gain``: the slope of what a head adds to the outputs
        against the term that it gathers, the sum of terms by attention, over sequences and dimensions within each
        position; and ``previous_weight``: its mean attention on the position before.

    Raises:
        ValueError: as ``head_contributions``, or outputs have another dimension than terms.
    """
    contributions = head_contributions(model, terms)[:, first_position:]
    if contributions.shape[-1] != terms.shape[-1]:
        raise ValueError(f"terms have {terms.shape[-1]} dimensions, outputs {contributions.shape[-1]}")
    names = [
        f"blocks.{layer}.attn.{part}"
        for layer in range(model.cfg.n_layers)
        for part in ("hook_attn_scores", "hook_pattern")
    ]
    _, cache = model.run_with_cache(terms, names_filter=names)
    tables: list[pl.DataFrame] = []
    for layer in range(model.cfg.n_layers):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"]
        gathered = torch.einsum("bhqk,bkd->bqhd", pattern, terms.to(pattern))[:, first_position:]
        columns = {
            "similarity_correlation": similarity_correlation(cache[f"blocks.{layer}.attn.hook_attn_scores"], terms),
            "gain": _slope(contributions[:, :, layer], gathered),
            "previous_weight": pattern.diagonal(-1, dim1=2, dim2=3)[..., first_position - 1 :].mean((0, 2)),
        }
        of_layer = pl.DataFrame({name: column.tolist() for name, column in columns.items()})
        tables.append(of_layer.with_row_index("head").insert_column(0, pl.lit(layer).alias("layer")))
    return pl.concat(tables)


def _correlation(x: Float[Tensor, "batch ..."], y: Float[Tensor, "batch ..."]) -> Float[Tensor, ...]:
    """Pearson's, over the batch; nan where one does not vary."""
    x, y = x - x.mean(0), y - y.mean(0)
    return (x * y).sum(0) / (x.square().sum(0) * y.square().sum(0)).sqrt()


def _slope(
    y: Float[Tensor, "batch pos head dimension"], x: Float[Tensor, "batch pos head dimension"]
) -> Float[Tensor, " head"]:
    """Of y against x, both centred at each position, with one coefficient for all positions and dimensions."""
    x, y = x - x.mean(0), y - y.mean(0)
    return (x * y).sum((0, 1, 3)) / x.square().sum((0, 1, 3))
