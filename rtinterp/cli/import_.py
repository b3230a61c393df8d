"""``rtinterp import FILE``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tyro

from rtinterp.cli.options import run_command
from rtinterp.store import RunStore
from rtinterp.store.portable import import_into

PROGRAM = "rtinterp import"


def import_files(files: tyro.conf.Positional[tuple[Path, ...]], /, *, runs: Path = Path("runs")) -> None:
    """Check files that `rtinterp export` wrote, as strictly as `rtinterp verify`, and store their runs.

    Args:
        files: one or several; a run that is already stored stays as it is.
        runs: the run store; made if it is not there.
    """
    if not files:
        raise ValueError("name at least one file that `rtinterp export` wrote")
    store = RunStore(runs)
    for file in files:
        print(f"{file} -> {import_into(store, file)}")


def main(arguments: Sequence[str]) -> None:
    run_command(import_files, arguments, PROGRAM)
