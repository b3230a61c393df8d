"""How many directions are needed: a measure against the rank of what is kept of a site, or removed from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from rtinterp.analysis.interventions import Intervention, Where, intervene, project
from rtinterp.analysis.predictions import accuracy
from rtinterp.analysis.subspaces import Subspace
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: ``project`` (is it sufficient?) or ``remove`` (is it necessary?).
Effect: TypeAlias = Callable[[str, Subspace, Where], Intervention]


def ranks_up_to(d_model: int) -> list[int]:
    """List 0, the powers of two below ``d_model``, and ``d_model``.

    Raises:
        ValueError: d_model is less than 1.
    """
    if d_model < 1:
        raise ValueError(f"d_model is {d_model}; pass at least 1")
    powers = [2**exponent for exponent in range(d_model.bit_length())]
    return [0, *(power for power in powers if power < d_model), d_model]


def rank_curve(
    model: HookedModel,
    batch: Batch,
    site: str,
    subspace: Subspace,
    ranks: Sequence[int],
    effect: Effect = project,
    where: Where = None,
    measure: Callable[[HookedModel, Batch], float] = accuracy,
) -> pl.DataFrame:
    """Measure a model of which only the first k directions of a site are kept, or which lacks them.

    Args:
        batch: what is measured; test sequences, where the subspace was found on others.
        ranks: the values of k, such as ``ranks_up_to(d_model)``.
        effect: ``project`` or ``remove``.
        where: the positions that change, a function of the tokens for large batches; all if not given.
        measure: ``accuracy``, ``cross_entropy``, ``logit_difference``, or one of your own.

    Returns:
        columns ``rank`` and ``value``.

    Raises:
        ValueError: a rank that the subspace does not have, or what ``intervene`` and the measure refuse.
    """
    rows: list[tuple[int, float]] = []
    for rank in ranks:
        with intervene(model, effect(site, subspace.first(rank), where)):
            rows.append((rank, measure(model, batch)))
    return pl.DataFrame(rows, schema=["rank", "value"], orient="row")


def least_rank(curve: pl.DataFrame, intact: float, floor: float, share: float = 0.95) -> int | None:
    """Find the least rank from which on a share of what lies between floor and intact value is reached; None if never.

    Only measured ranks count, so the answer is as fine as they are; smaller ranks that reach it by chance do not count
    if a larger one falls below.

    Raises:
        ValueError: the intact value is not above the floor, or share is not in (0, 1].
    """
    if intact <= floor:
        raise ValueError(
            f"the intact model has {intact:.3g}, the floor is {floor:.3g}: nothing was learnt to take away"
        )
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; pass more than 0, at most 1")
    enough = floor + share * (intact - floor)
    found = None
    for rank, value in curve.sort("rank", descending=True).select("rank", "value").iter_rows():
        if value < enough:
            break
        found = rank
    return found
