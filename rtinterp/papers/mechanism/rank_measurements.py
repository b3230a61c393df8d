"""What is measured of a run at every site, over the rank of what is kept or taken out; several figures show it."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import polars as pl
import torch

from rtinterp.analysis import (
    Continuation,
    Intervention,
    Subspace,
    accuracy,
    divergences,
    expected_overlap,
    is_right,
    least_rank,
    margins,
    nats,
    overlap,
    principal_angles,
    project,
    ranks_up_to,
    refined_curve,
    remove,
    variance_share,
)
from rtinterp.analysis.rank_curves import Effect
from rtinterp.figures.accuracies import floor_columns
from rtinterp.figures.figure import with_run_columns
from rtinterp.papers.mechanism.bases import BASES_SEED, FOUND, SiteBases, site_bases, with_other_seeds
from rtinterp.tasks import Batch, Task
from rtinterp.training.run import Run

#: What the figures that show this have in common.
MEASUREMENT = "ranks"
#: Test sequences on which effects are measured.
N_TEST_SEQUENCES = 100
#: Draws of each kind of random directions that stand beside those that suffice, as many as these.
BESIDE = {"random": 20, "matched": 3}
#: Of the ranks that double, controls are measured at every second one.
CONTROL_STEP = 2
SITE_SCHEMA = {
    "site": pl.String,
    **dict.fromkeys(("k95_principal", "k95_sensitive"), pl.Int64),
    **dict.fromkeys(("variance_principal", "variance_sensitive", "overlap", "expected_overlap"), pl.Float64),
    **dict.fromkeys(("smallest_angle", "median_angle"), pl.Float64),
    "rank": pl.Int64,
    **dict.fromkeys((f"{basis}_{name}" for basis in BESIDE for name in ("min", "median", "max")), pl.Float64),
}
#: ``project``: the first k directions are kept. ``remove``: they are taken out.
EFFECTS: dict[str, Effect] = {"keep": project, "remove": remove}
#: Least ranks are those that reach these shares of what lies between guessing and the intact accuracy.
SHARES = {"k50": 0.5, "k95": 0.95}


class Measured(NamedTuple):
    """The tables of a run.

    Attributes:
        curves: a row per site, basis, effect and rank.
        sites: a row per site, which compares the directions of each basis that suffice.
    """

    curves: pl.DataFrame
    sites: pl.DataFrame


#: By content of the run: figures that show the same measurements are drawn one after the other.
_done: dict[str, Measured] = {}


def measured(runs: Sequence[Run]) -> list[Measured]:
    """Measure every run; one that was measured before in this process is not measured again."""
    found = []
    for run, other in with_other_seeds(runs):
        key = _digest(run) + ("" if other is None else _digest(other))
        if key not in _done:
            _done[key] = Measured(*(with_run_columns(run, table) for table in _measure(run, other)))
        found.append(_done[key])
    return found


def _digest(run: Run) -> str:
    digest = hashlib.sha256(run.run_id.encode())
    for name in sorted(run.trained):
        digest.update(run.trained[name].cpu().numpy().tobytes())
    return digest.hexdigest()


def some_test_sequences(task: Task, n: int = N_TEST_SEQUENCES) -> Batch:
    """Choose test sequences at random, the same of every run of a task."""
    test_set = task.test_set()
    return test_set[torch.randperm(len(test_set), generator=torch.Generator().manual_seed(BASES_SEED))[:n]]


def _measure(run: Run, other: Run | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    batch, floors = some_test_sequences(run.spec.task), floor_columns(run.spec.task)
    intact = accuracy(run.model, batch)
    curves, sites = [], []
    for site, bases in site_bases(run, other).items():
        at_site = _Site(Continuation(run.model, batch, site), bases, intact, float(floors["floor_accuracy"]))
        curves.append(pl.concat(at_site.curves()).select(pl.lit(site).alias("site"), pl.all()))
        sites.append({"site": site, **at_site.compared(curves[-1])})
    extra = {name: pl.lit(value) for name, value in {"intact": intact, "n_test_rows": len(batch), **floors}.items()}
    return pl.concat(curves).with_columns(**extra), pl.DataFrame(sites, schema=SITE_SCHEMA).with_columns(**extra)


class _Site:
    """One site of a run."""

    @torch.no_grad()
    def __init__(self, rest: Continuation, bases: SiteBases, intact: float, floor: float) -> None:
        self.rest, self.bases, self.intact, self.floor = rest, bases, intact, floor
        self.d_model = rest.activations.shape[-1]
        self.extremes: dict[bool, dict[str, float]] = {}
        self.intact_logits = rest.logits(Intervention(rest.site, lambda h, _: h))

    def curves(self) -> Iterator[pl.DataFrame]:
        """All curves; the controls stand at the embedding and after whole layers only."""
        for basis in self.bases.names if self._is_pictured else (*FOUND, "random"):
            yield self._curve(basis, "keep")
            if self._is_pictured and basis in (*FOUND, "random"):
                yield self._curve(basis, "remove")

    @property
    def _is_pictured(self) -> bool:
        return not self.rest.site.endswith("resid_mid")

    def _curve(self, basis: str, effect: str) -> pl.DataFrame:
        rows: dict[int, dict[str, float]] = {}

        def value_at(rank: int) -> float:
            found = self._at(basis, effect, rank)
            if found is None:
                return float("nan")
            rows[rank] = found
            return found["accuracy"]

        ranks = ranks_up_to(self.d_model)
        if basis not in FOUND:
            ranks = [0, *ranks[1:-1:CONTROL_STEP], self.d_model]
        if effect == "keep" and basis in FOUND and self.intact > self.floor:
            refined_curve(value_at, ranks, self.intact, self.floor, tuple(SHARES.values()))
        else:
            for rank in ranks:
                value_at(rank)
        labels = {"basis": basis, "effect": effect}
        return pl.DataFrame([{**labels, "rank": rank, **rows[rank]} for rank in sorted(rows)])

    def _at(self, basis: str, effect: str, rank: int) -> dict[str, float] | None:
        """What is measured at a rank, where there are such directions; that of all and of none is one for all bases."""
        subspace = self.bases.first(basis, rank)
        if subspace is None:
            return None
        if rank not in (0, self.d_model):
            return self._measures(subspace, EFFECTS[effect])
        all_are_kept = (rank == self.d_model) == (effect == "keep")
        if all_are_kept not in self.extremes:
            self.extremes[all_are_kept] = self._measures(subspace, EFFECTS[effect])
        return {**self.extremes[all_are_kept], "variance": rank / self.d_model}

    @torch.no_grad()
    def _measures(self, subspace: Subspace, effect: Effect) -> dict[str, float]:
        logits, expected = self.rest.logits(effect(self.rest.site, subspace, None)), self.rest.expected
        return {
            "accuracy": is_right(logits, expected).double().mean().item(),
            "cross_entropy": nats(logits, expected).double().mean().item(),
            "logit_difference": margins(logits, expected).double().mean().item(),
            "kl_divergence": divergences(logits, self.intact_logits).double().mean().item(),
            "variance": variance_share(self.bases.statistics.covariance, subspace),
        }

    def compared(self, curves: pl.DataFrame) -> dict[str, Any]:
        """Compare the directions of each basis that suffice with each other, and with as many random ones."""
        kept = curves.filter(pl.col("effect") == "keep").partition_by("basis", as_dict=True)
        k95 = {basis: least_rank_or_none(kept[basis,], self.intact, self.floor, SHARES["k95"]) for basis in FOUND}
        row: dict[str, Any] = {f"k95_{basis}": rank for basis, rank in k95.items()}
        enough = {basis: self.bases.nested[basis].first(rank) for basis, rank in k95.items() if rank}
        if len(enough) < len(FOUND):
            return row
        covariance = self.bases.statistics.covariance
        row |= {f"variance_{basis}": variance_share(covariance, subspace) for basis, subspace in enough.items()}
        one, two = enough.values()
        angles = principal_angles(one, two).rad2deg()
        row |= {"overlap": overlap(one, two), "expected_overlap": expected_overlap(one.rank, two.rank, self.d_model)}
        row |= {"smallest_angle": angles.min().item(), "median_angle": angles.median().item()}
        rank = min(one.rank, two.rank)
        return row | {"rank": rank} | self._beside(rank)

    def _beside(self, rank: int) -> dict[str, float | None]:
        """Accuracy with so many random directions, least, median and most of the draws."""
        found: dict[str, float | None] = {}
        for basis, n_draws in BESIDE.items():
            drawn = [self.bases.first(basis, rank, draw) for draw in range(n_draws)]
            values = sorted(self._measures(one, project)["accuracy"] for one in drawn if one is not None)
            if values:
                found |= {f"{basis}_min": values[0], f"{basis}_max": values[-1]}
                found[f"{basis}_median"] = statistics.median(values)
        return found


def least_rank_or_none(curve: pl.DataFrame, intact: float, floor: float, share: float) -> int | None:
    """Find the least rank from which on a share of the accuracy above the floor is reached; None if there is none."""
    if intact <= floor:
        return None
    return least_rank(curve.select("rank", pl.col("accuracy").alias("value")), intact, floor, share)
