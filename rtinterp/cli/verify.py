"""``rtinterp verify``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import track

from rtinterp.cli.options import run_command
from rtinterp.store.verify import verify

PROGRAM = "rtinterp verify"


def verify_runs(path: tyro.conf.Positional[Path] = Path("runs"), /) -> None:
    """Check every run of a store: hashes, spec, shapes, finite values, the body that its seed makes, other files.

    Prints a line for each fault and one with the counts. The exit status is 1 if there is a fault. A run whose task is
    not registered is told and is no fault: its tensors and its history cannot be checked without it.

    Args:
        path: the run store.
    """
    n_runs, verdicts = verify(path)
    console = Console(stderr=True)
    faults = n_damaged = n_unregistered = 0
    shown = track(verdicts, "verifying", n_runs, console=console, transient=True, disable=not console.is_terminal)
    for verdict in shown:
        for fault in verdict.faults:
            print(fault)
        faults += len(verdict.faults)
        n_damaged += bool(verdict.faults)
        if verdict.unregistered and not verdict.faults:
            print(f"not checked in full: {verdict.unregistered}")
            n_unregistered += 1
    n_sound = n_runs - n_damaged - n_unregistered
    unregistered = f", {n_unregistered} not registered" if n_unregistered else ""
    print(f"{n_runs} runs checked in {path}: {n_sound} sound{unregistered}, {n_damaged} damaged, {faults} faults")
    if faults:
        raise SystemExit(1)


def main(arguments: Sequence[str]) -> None:
    run_command(verify_runs, arguments, PROGRAM)
