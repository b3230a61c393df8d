"""The two heads of retrieval: one from each value to the marker before it, one from the query to the right value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.analysis.attention import attention_patterns, attention_score
from rtinterp.tasks import NeedleInAHaystack

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


def retrieval_scores(model: HookedModel, tokens: Int64[Tensor, "batch pos"], task: NeedleInAHaystack) -> pl.DataFrame:
    """Score every head in both roles, by the weight in [0, 1] that it gives where the role looks.

    A few hundred sequences at a time; every pair of every context counts the same, and so does every query.

    Args:
        tokens: sequences of the task.

    Returns:
        One row per head: ``layer``, ``head``, ``prev_score`` (mean weight from a value to the position before it, its
        marker) and ``retr_score`` (mean weight from the query to the value that stands at the marker asked for).

    Raises:
        ValueError: the model has no attention patterns, or tokens are longer than it reads.
    """
    patterns = attention_patterns(model, tokens)
    row, marker, value = task.key_value_positions(tokens)
    every_row = torch.arange(len(tokens))
    prev = attention_score(patterns, batch_index=row, query_pos=value, key_pos=marker)
    retr = attention_score(
        patterns,
        batch_index=every_row,
        query_pos=task.query_position(tokens),
        key_pos=task.queried_value_position(tokens),
    )
    layer, head = torch.cartesian_prod(*map(torch.arange, prev.shape)).unbind(1)
    columns = {"layer": layer, "head": head, "prev_score": prev.flatten(), "retr_score": retr.flatten()}
    return pl.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
