"""``rtinterp verify``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import track

from rtinterp.store.verify import verify

PROGRAM = "rtinterp verify"


def verify_runs(path: tyro.conf.Positional[Path] = Path("runs"), /) -> None:
    """Check every run of a store: hashes, spec, shapes, finite values, the body that its seed makes, other files.

    Prints a line for each fault and one with the counts. The exit status is 1 if there is a fault.

    Args:
        path: the run store.
    """
    n_runs, verdicts = verify(path)
    console = Console(stderr=True)
    faults = n_damaged = 0
    shown = track(verdicts, "verifying", n_runs, console=console, transient=True, disable=not console.is_terminal)
    for verdict in shown:
        for fault in verdict.faults:
            print(fault)
        faults += len(verdict.faults)
        n_damaged += bool(verdict.faults)
    print(f"{n_runs} runs checked in {path}: {n_runs - n_damaged} sound, {n_damaged} damaged, {faults} faults")
    if faults:
        raise SystemExit(1)


def main(arguments: Sequence[str]) -> None:
    tyro.cli(verify_runs, args=arguments, prog=PROGRAM)
