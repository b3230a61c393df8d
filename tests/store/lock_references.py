"""Owners of claims that are elsewhere, or are no more."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from rtinterp.store import locks
from rtinterp.store.locks import Claim, Locks
from rtinterp.store.owner import Owner, this_process

ELSEWHERE = Owner("elsewhere", "0" * 12, 7, "1")


def started_at(process: subprocess.Popen) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]


def ended_process() -> Owner:
    """A process of this machine that is no more."""
    process = subprocess.Popen(["sleep", "1000"])
    started = started_at(process)
    process.kill()
    process.wait()
    return dataclasses.replace(this_process(), pid=process.pid, started=started)


def claimed_by(owner: Owner, folder: Path, run_ids: list[str]) -> Path:
    """A claim as that process would have left it; its file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "this_process", lambda: owner)
        patch.setattr(locks, "HEARTBEAT_SECONDS", 1e6)
        claim = Locks(folder).claim(run_ids, 10)
    assert isinstance(claim, Claim)
    return claim._path
