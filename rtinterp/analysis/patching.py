"""What a patch at each layer and position brings back."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from jaxtyping import Float
from torch import Tensor


def recovery_table(recovery: Float[Tensor, "layer pos"], labels: Sequence[str]) -> pl.DataFrame:
    """Make one row per layer and position of what patching gave, such as ``patching.get_act_patch_resid_pre``.

    Args:
        recovery: (m - m_corrupted) / (m_clean - m_corrupted) of a measure m: 0 as corrupted, 1 as clean.
        labels: what to call each position; labels may repeat, positions do not.

    Returns:
        columns ``layer pos label recovery``, in the order of the tensor.

    Raises:
        ValueError: another rank, or not one label per position.
    """
    if recovery.ndim != 2:
        raise ValueError(f"recovery has shape {tuple(recovery.shape)}; pass [layer pos]")
    n_layers, n_pos = recovery.shape
    if len(labels) != n_pos:
        raise ValueError(f"{len(labels)} labels for {n_pos} positions; pass one label per position")
    return pl.DataFrame(
        {
            "layer": [layer for layer in range(n_layers) for _ in range(n_pos)],
            "pos": list(range(n_pos)) * n_layers,
            "label": list(labels) * n_layers,
            "recovery": recovery.detach().flatten().tolist(),
        }
    )
