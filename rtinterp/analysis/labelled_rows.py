"""How accuracy differs between kinds of test rows, such as strings of different lengths."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from rtinterp.analysis.intervals import count_rows, wilson
from rtinterp.tasks import Batch


def accuracy_by_label(
    right: Bool[Tensor, " prediction"], batch: Batch, labels: Mapping[str, Integer[Tensor, " batch"]]
) -> pl.DataFrame:
    """Tell the accuracy of the rows of each kind apart.

    Args:
        right: whether each scored prediction is right, in the order of ``prediction_table``.
        batch: what was predicted; a row that stands in it twice counts twice in an accuracy.
        labels: one or several labels of every row, by name; rows that have all of them in common are a kind.

    Returns:
        One row per kind that occurs, in the order of the labels: the labels, ``n_rows``, ``n_distinct``,
        ``n_effective`` (as how many equally frequent rows they count), ``accuracy`` of predictions in [0, 1], and the
        ends of its 95 % interval over rows, ``low`` and ``high``.

    Raises:
        ValueError: not one label per row, no labels, or not one truth value per prediction.
    """
    wrong = {name: list(of_rows.shape) for name, of_rows in labels.items() if of_rows.shape != (len(batch),)}
    if wrong or not labels:
        raise ValueError(f"labels have shapes {wrong}; pass one label for each of {len(batch)} rows")
    row_of_prediction = batch.scored.nonzero()[:, 0]
    if right.shape != row_of_prediction.shape:
        raise ValueError(
            f"right has shape {list(right.shape)}; pass one for each of {len(row_of_prediction)} predictions"
        )
    kinds, kind_of_row = torch.stack([of_rows.long() for of_rows in labels.values()], dim=1).unique(
        dim=0, return_inverse=True
    )
    kind_of_prediction = kind_of_row[row_of_prediction]
    rows = []
    for number, kind in enumerate(kinds.tolist()):
        share = right[kind_of_prediction == number].double().mean().item()
        tokens = batch.tokens[kind_of_row == number]
        counted = count_rows(tokens)
        low, high, _ = wilson(share * counted.effective, counted.effective)
        counts = {"n_rows": len(tokens), "n_distinct": counted.distinct, "n_effective": counted.effective}
        rows.append({**dict(zip(labels, kind, strict=True)), **counts, "accuracy": share, "low": low, "high": high})
    return pl.DataFrame(rows)
