"""Check every run of a store, file by file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from rtinterp.store.errors import StoreError, UnregisteredError, explain, one_line
from rtinterp.store.record import StoredRun


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is wrong with a run; nothing, if there are no faults.

    Attributes:
        faults: each a line that names the file.
        unregistered: why no more than its record and environment could be checked, if its task or body is not
            registered in this process, which is no fault of the run.
    """

    run_id: str
    faults: tuple[str, ...]
    unregistered: str | None = None


def verify(path: Path) -> tuple[int, Iterator[Verdict]]:
    """How many runs there are to check, and a verdict on each, as soon as it is checked.

    A run is a folder whose name does not begin with a dot; a link in the place of one is a fault.

    Raises:
        StoreError: the store is not there, or not a folder.
    """
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        folders = [entry for entry in entries if entry.is_symlink() or entry.is_dir()]
    except (OSError, ValueError) as error:
        raise StoreError(f"{one_line(path)}: cannot be read: {explain(error)}") from error
    return len(folders), (verify_run(folder) for folder in folders)


def verify_run(folder: Path) -> Verdict:
    """Check hashes, spec, shapes, values and fingerprint of one run, and that it holds nothing else."""
    stored = StoredRun(folder)
    checks: tuple[Callable[[], object], ...] = (
        lambda: stored.record,
        lambda: stored.spec,
        lambda: stored.history,
        lambda: stored.environment,
        lambda: stored.trained,
        lambda: stored.kept,
        stored.check_fingerprint,
        lambda: _check_nothing_else(folder, stored.files),
    )
    # A fault in the record or the spec shows in every check that needs them.
    errors = [error for check in checks if (error := _error(check)) is not None]
    faults = dict.fromkeys(str(error) for error in errors if not isinstance(error, UnregisteredError))
    unregistered = next((str(error) for error in errors if isinstance(error, UnregisteredError)), None)
    return Verdict(one_line(folder.name), tuple(faults), unregistered)


def _error(check: Callable[[], object]) -> StoreError | None:
    try:
        check()
    except StoreError as error:
        return error
    return None


def _check_nothing_else(folder: Path, files: set[str]) -> None:
    """A run is its files: nothing that nobody listed can hide beside them."""
    if folder.is_symlink():
        return  # said already, and what it leads to is not looked at
    try:
        extra = sorted(one_line(entry.name) for entry in folder.iterdir() if entry.name not in files)
    except OSError as error:
        raise StoreError(f"{one_line(folder)}: cannot be read: {explain(error)}") from error
    if extra:
        more = f" and {len(extra) - 5} more" if len(extra) > 5 else ""
        raise StoreError(f"{one_line(folder)}: holds what is no part of a run: {', '.join(extra[:5])}{more}")
