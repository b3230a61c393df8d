"""Where attention heads look, and which head does a given job (paper, figure 2).

Every score is a mean of attention weights over *occurrences*: index lists of equal length that name, for each one, the
sequence (``batch_index``), the position that looks and the position looked at. The weights of one causal query add up
to one, so a score lies in [0, 1], and a head that looks nowhere in particular scores about ``1 / (query_pos + 1)``.

Two sequences of three tokens, one layer, two heads; head 1 looks from the last token to the first, with weight 1 in the
first sequence and 0.5 in the second:

>>> patterns = torch.zeros(1, 2, 2, 3, 3)  # [layer batch head query_pos key_pos]
>>> patterns[0, :, 1, 2, 0] = torch.tensor([1.0, 0.5])
>>> batch_index, query_pos, key_pos = torch.tensor([[0, 1], [2, 2], [0, 0]])  # [occurrence] each
>>> scores = attention_score(patterns, batch_index=batch_index, query_pos=query_pos, key_pos=key_pos)
>>> scores  # [layer head]
tensor([[0.0000, 0.7500]])
>>> best_head(scores)
BestHead(layer=0, head=1, score=0.75)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.tasks.numbers import as_numbers

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel
_HOOK_PATTERN = "attn.hook_pattern"


class BestHead(NamedTuple):
    """The head with the largest score; ``layer`` and ``head`` count from zero."""

    layer: int
    head: int
    score: float


@torch.no_grad()
def attention_patterns(
    model: HookedModel, tokens: Int64[Tensor, "*batch pos"]
) -> Float[Tensor, "layer batch head query_pos key_pos"]:
    """Compute the attention weights of every head in one forward pass that stops before the unembedding.

    The result holds ``n_layers * batch * n_heads * pos**2`` floats: pass a few hundred sequences at a time.

    Args:
        tokens: one sequence ``[pos]`` (the result then has ``batch`` = 1) or several ``[batch pos]``.

    Raises:
        ValueError: tokens of another rank, no tokens, sequences longer than the model's ``n_ctx``, or a model without
            attention.
    """
    if not any(name.endswith(_HOOK_PATTERN) for name in model.hook_dict):
        raise ValueError(f"{type(model).__name__} has no attention patterns; pass a transformer")
    tokens = as_numbers(tokens, "tokens")
    if tokens.ndim not in (1, 2) or tokens.numel() == 0:
        raise ValueError(f"tokens has shape {tuple(tokens.shape)}; pass [pos] or [batch pos], not empty")
    if tokens.shape[-1] > model.cfg.n_ctx:
        raise ValueError(f"sequences of {tokens.shape[-1]} tokens are longer than n_ctx = {model.cfg.n_ctx}; cut them")
    _, cache = model.run_with_cache(
        tokens if tokens.ndim == 2 else tokens[None],
        names_filter=lambda name: name.endswith(_HOOK_PATTERN),
        stop_at_layer=model.cfg.n_layers,
    )
    return torch.stack([cache[f"blocks.{layer}.{_HOOK_PATTERN}"] for layer in range(model.cfg.n_layers)])


def pattern_table(patterns: Float[Tensor, "layer head query_pos key_pos"], labels: Sequence[str]) -> pl.DataFrame:
    """Make one row per attention weight of ONE sequence: take ``attention_patterns(...)[:, i]`` for sequence ``i``.

    Args:
        labels: what to call each position, e.g. ``task.decode(tokens).split()``; labels may repeat, positions do not.

    Returns:
        columns ``layer head query_pos key_pos query_label key_label weight``, in the order of the tensor; the weights
        above the diagonal (zero in a causal model) are kept, so that ``weight`` reshapes back to ``patterns``.

    Raises:
        ValueError: patterns of another rank, not square, or not one label per position.
    """
    if patterns.ndim != 4 or patterns.shape[-1] != patterns.shape[-2]:
        raise ValueError(f"patterns has shape {tuple(patterns.shape)}; pass [layer head pos pos] of one sequence")
    if len(labels) != patterns.shape[-1]:
        raise ValueError(f"{len(labels)} labels for {patterns.shape[-1]} positions; pass one label per position")
    layer, head, query_pos, key_pos = (axis.ravel() for axis in np.indices(patterns.shape))
    names = np.asarray(labels, dtype=object)
    return pl.DataFrame(
        {
            "layer": layer,
            "head": head,
            "query_pos": query_pos,
            "key_pos": key_pos,
            "query_label": pl.Series(names[query_pos].tolist(), dtype=pl.String),
            "key_label": pl.Series(names[key_pos].tolist(), dtype=pl.String),
            "weight": patterns.detach().cpu().numpy().ravel(),
        }
    )


def attention_score(
    patterns: Float[Tensor, "layer batch head query_pos key_pos"],
    *,
    batch_index: Int64[Tensor, " occurrence"],
    query_pos: Int64[Tensor, " occurrence"],
    key_pos: Int64[Tensor, " occurrence"],
) -> Float[Tensor, "layer head"]:
    """Average the weight, in [0, 1], that each head gives to ``key_pos`` when it looks from ``query_pos``.

    Every occurrence counts the same, whatever sequence it is in.

    Raises:
        ValueError: no occurrence, lists of unequal length, an index outside ``patterns``, or a key after its query
            (a causal model gives it no weight, so the two lists are swapped).
    """
    _check_occurrences(patterns, batch_index, query_pos, key_pos)
    # The index lists are separated by slices, so torch puts their common axis first: [occurrence layer head].
    return patterns[:, batch_index, :, query_pos, key_pos].mean(dim=0)


def best_head(scores: Float[Tensor, "layer head"], layer: int | None = None) -> BestHead:
    """Find the head with the largest score, in the whole model or in one ``layer`` (from zero); the first on a tie.

    Raises:
        ValueError: scores of another rank, empty or not finite, or a layer the model does not have.
    """
    if scores.ndim != 2 or scores.numel() == 0 or not scores.isfinite().all():
        raise ValueError(f"scores must be [layer head], finite and not empty; got {tuple(scores.shape)}: {scores}")
    n_layers, n_heads = scores.shape
    if layer is not None and not 0 <= layer < n_layers:
        raise ValueError(f"layer {layer} does not exist; the scores have layers 0 to {n_layers - 1}")
    candidates = scores if layer is None else scores[layer : layer + 1]
    row, head = divmod(int(candidates.argmax()), n_heads)
    return BestHead(row if layer is None else layer, head, candidates[row, head].item())


def _check_occurrences(patterns: Tensor, batch_index: Tensor, query_pos: Tensor, key_pos: Tensor) -> None:
    if patterns.ndim != 5:
        raise ValueError(f"patterns has shape {tuple(patterns.shape)}; pass [layer batch head query_pos key_pos]")
    lengths = [len(batch_index), len(query_pos), len(key_pos)]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise ValueError(f"the index lists have lengths {lengths}; pass equal ones, with at least one occurrence")
    sizes = {"batch_index": (batch_index, 1), "query_pos": (query_pos, 3), "key_pos": (key_pos, 4)}
    for name, (index, axis) in sizes.items():
        if index.min() < 0 or index.max() >= patterns.shape[axis]:
            raise ValueError(
                f"{name} spans {index.min()} to {index.max()}; patterns allows 0 to {patterns.shape[axis] - 1}"
            )
    if (key_pos > query_pos).any():
        raise ValueError(f"{(key_pos > query_pos).sum()} keys come after their query; swap query and key positions")
