"""``rtinterp show RUN``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import tyro

from rtinterp.cli.curve import text_curve
from rtinterp.cli.options import run_command
from rtinterp.store import RunStore
from rtinterp.store.remake import remake_command
from rtinterp.training.spec import spec_to_json

PROGRAM = "rtinterp show"
#: Evaluations that are printed as numbers; the curves show all.
MAX_ROWS = 12
MIB = 2**20
LEAST_IN_DECIMALS = 1e-3


def show(run: tyro.conf.Positional[str], /, *, runs: Path = Path("runs")) -> None:
    """Show one stored run: spec, environment, the command that remakes it, metrics and loss over steps.

    Args:
        run: a run id, as `rtinterp list` prints it, or how one begins.
        runs: the run store.
    """
    store = RunStore(runs)
    run_id = store.named(run)
    loaded = store.load(run_id)
    print(run_id)
    print(spec_to_json(loaded.spec))
    for name, value in dataclasses.asdict(loaded.environment).items():
        print(f"{name:20}{_readable(name, value)}")
    print(f"{'body fingerprint':20}{loaded.fingerprint[:16]}, verified")
    if loaded.stopped_at_step is not None:
        print(f"{'stopped at step':20}{loaded.stopped_at_step:,} of {loaded.spec.training.n_steps:,}")
    if loaded.kept_steps:
        print(f"{'kept steps':20}{', '.join(f'{step:,}' for step in loaded.kept_steps)}")
    print(f"{'to remake it':20}{remake_command(loaded, store)}\n")
    _print_history(loaded.history)


def _readable(name: str, value: object) -> str:
    if value is None:
        return "-"
    return f"{value / MIB:,.0f} MiB" if name == "peak_memory_bytes" and isinstance(value, int) else str(value)


def _print_history(history: pl.DataFrame) -> None:
    steps = history["step"].to_list()
    labels = {column: column.replace("_", " ") for column in history.columns}
    for column in (*history.columns[3:], "test_loss"):
        values = history[column].to_list()
        low, high = (0.0, 1.0) if column == "test_accuracy" else (min(values), max(values))
        if high > low:
            print("\n".join(text_curve(steps, values, low, high, labels[column])) + "\n")
    print(f"{'step':>8}" + "".join(f"  {labels[column]}" for column in history.columns[1:]))
    rows = len(history)
    chosen = sorted({round(i * (rows - 1) / (MAX_ROWS - 1)) for i in range(MAX_ROWS)}) if rows > 1 else [0]
    for step, *values in (history.row(row) for row in chosen):
        cells = zip(values, history.columns[1:], strict=True)
        print(f"{step:8,}" + "".join(f"{_number(value):>{2 + len(column)}}" for value, column in cells))


def _number(value: float) -> str:
    """Four decimals, unless that hides what there is."""
    return f"{value:.4f}" if not value or abs(value) >= LEAST_IN_DECIMALS else f"{value:.2e}"


def main(arguments: Sequence[str]) -> None:
    run_command(show, arguments, PROGRAM)
