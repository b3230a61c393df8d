"""How accuracy in k-hop induction depends on the number of hops, and on whether they lead anywhere."""

from __future__ import annotations

import polars as pl
from jaxtyping import Bool
from torch import Tensor

from rtinterp.analysis.intervals import wilson
from rtinterp.tasks import Batch, KHopInduction


def accuracy_by_hops(right: Bool[Tensor, " prediction"], batch: Batch, task: KHopInduction) -> pl.DataFrame:
    """Tell the accuracy of each number of hops, where they lead to a character and where they lead nowhere.

    The first position of a sequence, where the answer is always the same, is left out. Who always answers "~" is right
    wherever hops lead nowhere, so that ``defined_accuracy`` alone tells what was understood. Its 95 % interval takes
    predictions for independent ones.

    Args:
        right: whether each scored prediction is right, in the order of ``prediction_table``.
        batch: sequences of the task.

    Returns:
        One row per number of hops that occurs: ``hops``, ``n_sequences``, ``n_defined`` and ``n_undefined``
        (predictions), ``accuracy`` of both, ``defined_accuracy``, its ``low`` and ``high`` ends, and
        ``undefined_accuracy``; in [0, 1], null where there is no such prediction.

    Raises:
        ValueError: not one truth value per prediction.
    """
    sequence, position = batch.scored.nonzero().unbind(1)
    if right.shape != sequence.shape:
        raise ValueError(f"right has shape {list(right.shape)}; pass one for each of {len(sequence)} predictions")
    hops, defined = batch.tokens[:, 0][sequence], batch.scored_targets != task.undefined_token
    rows = []
    for n_hops in hops.unique().tolist():
        chosen = (hops == n_hops) & (position > 0)
        of_defined, of_undefined = right[chosen & defined], right[chosen & ~defined]
        share = _share(of_defined)
        low, high = (None, None) if share is None else wilson(share * len(of_defined), len(of_defined))[:2]
        rows.append(
            {
                "hops": n_hops,
                "n_sequences": int((batch.tokens[:, 0] == n_hops).sum()),
                "n_defined": len(of_defined),
                "n_undefined": len(of_undefined),
                "accuracy": _share(right[chosen]),
                "defined_accuracy": share,
                "low": low,
                "high": high,
                "undefined_accuracy": _share(of_undefined),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def _share(right: Bool[Tensor, " prediction"]) -> float | None:
    return right.double().mean().item() if len(right) else None
