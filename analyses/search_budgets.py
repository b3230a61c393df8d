"""Search learning rates for random, fully trained and LSTM models alike: `python analyses/search_budgets.py --help`."""

from __future__ import annotations

from pathlib import Path

import tyro

from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.papers.random_transformers.search import search, trials
from rtinterp.store import RunStore
from rtinterp.training.environment import resolve_device


def search_budgets(
    *,
    scale: str = "quick",
    tasks: tuple[str, ...] = (),
    seeds: int = 1,
    minutes: float | None = None,
    runs: Path = Path("runs"),
    out: Path = Path("figures/random_transformers"),
    device: str | None = None,
) -> None:
    """Train every trial that the store lacks, on validation rows, and write data/search_SCALE.csv.

    Args:
        scale: sizes, steps and batches: quick, short or paper.
        tasks: names of tasks, such as modular_addition; all if not given.
        seeds: so many seeds of every trial, from 100 on.
        minutes: stop then; the same command goes on.
        runs: the run store.
        out: gets data/search_SCALE.csv.
        device: cpu or cuda; cuda where there is one if not given.
    """
    if scale not in SCALES:
        raise SystemExit(f"unknown scale {scale!r}; known: {', '.join(SCALES)}")
    try:
        search(scale, trials(SCALES[scale], tasks, seeds), RunStore(runs), out, resolve_device(device), minutes)
    except ValueError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    tyro.cli(search_budgets)
