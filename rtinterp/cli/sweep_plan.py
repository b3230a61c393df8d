"""What ``rtinterp sweep --plan`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from rich.console import Console
from rich.table import Table

from rtinterp.papers import Paper
from rtinterp.store import RunStore
from rtinterp.tasks import Corpus
from rtinterp.training.cost import ASSUMED_SHARE_OF_PEAK, Cost, cost
from rtinterp.training.environment import describe_device
from rtinterp.training.peak import matmul_peak
from rtinterp.training.spec import RunSpec

SECONDS_PER_DAY = 86_400


def print_plan(
    experiments: Mapping[Paper, Sequence[str]],
    n_seeds: int,
    corpus: Corpus | None,
    store: RunStore,
    device: torch.device,
) -> None:
    """Print how many runs every scale has, how many the store lacks, and what those would cost on the device.

    Args:
        experiments: the names of each paper's experiments.
    """
    peak = matmul_peak(device)
    for paper, names in experiments.items():
        Console().print(_table(paper, names, n_seeds, corpus, store, peak))
        if paper.cost:
            print(f"The paper says that its experiments took {paper.cost}.")
    print(
        f"\nOn {describe_device(device)}, at {ASSUMED_SHARE_OF_PEAK:.0%} of its measured {peak / 1e9:,.0f} GFLOP/s in "
        f"float32, without evaluation. A run that several experiments share is counted for the first."
    )


def _table(
    paper: Paper, names: Sequence[str], n_seeds: int, corpus: Corpus | None, store: RunStore, peak: float
) -> Table:
    """The plan of one paper's experiments."""
    table = Table(title=f"{paper.title} ({paper.name})", title_justify="left", box=None, header_style="bold")
    for column in ("scale", "experiment"):
        table.add_column(column)
    for column in ("runs", "stored", "to train", "PFLOP", "estimated time"):
        table.add_column(column, justify="right")
    for scale in paper.scales:
        seen: dict[RunSpec, None] = {}
        for name in names:
            specs = list(dict.fromkeys(paper.experiments[name](paper.scales[scale], n_seeds, corpus)))
            new = [spec for spec in specs if spec not in seen]
            seen.update(dict.fromkeys(new))
            missing = store.missing(new)
            table.add_row(scale, name, str(len(specs)), str(len(new) - len(missing)), *cost_cells(cost(missing, peak)))
        missing = store.missing(seen)
        total = cost(missing, peak)
        table.add_row(scale, "all", str(len(seen)), str(len(seen) - len(missing)), *cost_cells(total), style="bold")
    return table


def cost_cells(estimate: Cost) -> tuple[str, str, str]:
    """Write how many runs these are, their floating-point operations and how long they take."""
    return str(estimate.n_runs), f"{estimate.flops / 1e15:,.2f}", _duration(estimate.seconds)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * SECONDS_PER_DAY else f"{seconds / SECONDS_PER_DAY:,.1f} days"
