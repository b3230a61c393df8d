"""What ``rtinterp sweep --plan`` prints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table

from rtinterp.experiments import EXPERIMENTS, SCALES
from rtinterp.store import RunStore
from rtinterp.tasks import Corpus
from rtinterp.training.cost import ASSUMED_SHARE_OF_PEAK, Cost, cost
from rtinterp.training.environment import describe_device
from rtinterp.training.peak import matmul_peak
from rtinterp.training.spec import RunSpec

#: What the paper says its experiments took.
PAPER_V100_DAYS = 154
SECONDS_PER_DAY = 86_400


def print_plan(
    experiments: Sequence[str], n_seeds: int, corpus: Corpus | None, store: RunStore, device: torch.device
) -> None:
    """How many runs every scale has, how many of them the store lacks, and what those would cost on the device."""
    peak = matmul_peak(device)
    table = Table(box=None, header_style="bold")
    for column in ("scale", "experiment"):
        table.add_column(column)
    for column in ("runs", "stored", "to train", "PFLOP", "estimated time"):
        table.add_column(column, justify="right")
    for scale in SCALES:
        seen: dict[RunSpec, None] = {}
        for name in experiments:
            specs = list(dict.fromkeys(EXPERIMENTS[name](SCALES[scale], n_seeds, corpus)))
            new = [spec for spec in specs if spec not in seen]
            seen.update(dict.fromkeys(new))
            missing = store.missing(new)
            table.add_row(scale, name, str(len(specs)), str(len(new) - len(missing)), *_cells(cost(missing, peak)))
        missing = store.missing(seen)
        total = cost(missing, peak)
        table.add_row(scale, "all", str(len(seen)), str(len(seen) - len(missing)), *_cells(total), style="bold")
    Console().print(table)
    print(
        f"\nOn {describe_device(device)}, at {ASSUMED_SHARE_OF_PEAK:.0%} of its measured {peak / 1e9:,.0f} GFLOP/s in "
        f"float32, without evaluation. A run that several experiments share is counted for the first. The paper says "
        f"that its experiments took about {PAPER_V100_DAYS} V100-days."
    )


def _cells(estimate: Cost) -> tuple[str, str, str]:
    return str(estimate.n_runs), f"{estimate.flops / 1e15:,.2f}", _duration(estimate.seconds)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * SECONDS_PER_DAY else f"{seconds / SECONDS_PER_DAY:,.1f} days"
