"""What the runs of a store need of their locks, asked of ours and of ``SoftFileLease`` of filelock.

The lease fails each of these tests, which is why a store has locks of its own. A version of filelock that passes one
makes that test fail: see then what of ``rtinterp.store.locks`` it can replace.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import SoftFileLease, Timeout
from lock_references import ELSEWHERE, claimed_by, ended_process

from rtinterp.store import locks
from rtinterp.store.claims import STALE_SECONDS
from rtinterp.store.locks import Claim, Locks
from rtinterp.store.owner import this_process

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="has older versions of filelock only, with other gaps"
)


class StoreLocks:
    """A run that one process had, or has, and another wants."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_taken(self) -> bool:
        """Whether the other process gets it."""
        claim = Locks(self._folder).claim(["a"], 10)
        if isinstance(claim, Claim):
            claim.release()
        return isinstance(claim, Claim)

    def killed(self) -> None:
        """Its owner was killed on this machine."""
        claimed_by(ended_process(), self._folder, ["a"])

    def cut_off(self) -> None:
        """Its owner was killed, or its machine lost power, before what it wrote of itself was on the disk."""
        claimed_by(ELSEWHERE, self._folder, ["a"]).write_text("")

    def elsewhere(self) -> None:
        """Its owner, on another machine, renews it no more."""
        claimed_by(ELSEWHERE, self._folder, ["a"])

    def suspended(self) -> None:
        """Its owner lives on this machine but does not get to run."""
        claimed_by(this_process(), self._folder, ["a"])

    @contextlib.contextmanager
    def held(self) -> Iterator[Path]:
        """Its owner renews it all the time; what changes when it does."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(locks, "HEARTBEAT_SECONDS", 0.02)
            claim = Locks(self._folder).claim(["a"], 10)
            assert isinstance(claim, Claim)
            with claim:
                yield claim._path


class Lease:
    """The same, with a lease."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._marker = folder / "a"
        self._owner = self._lease()
        self._other = self._lease()

    def is_taken(self) -> bool:
        with contextlib.suppress(Timeout):
            self._other.acquire(blocking=False)
        return self._other.is_locked

    def killed(self) -> None:
        self._acquire_in_a_process_that_dies(in_function="os.kill")

    def cut_off(self) -> None:
        self._acquire_in_a_process_that_dies(in_function="os.write")
        assert self._marker.read_bytes() == b""

    def elsewhere(self) -> None:
        facts = f"pid=7\nhost=elsewhere\nmode=lease\ntoken=0\nduration={STALE_SECONDS}\n"
        self._marker.write_text(f"filelock/2\n{facts}")

    def suspended(self) -> None:
        self._owner.acquire()

    @contextlib.contextmanager
    def held(self) -> Iterator[Path]:
        with SoftFileLease(self._marker, lease_duration=0.1, heartbeat_interval=0.02):
            yield self._marker

    def _lease(self) -> SoftFileLease:
        """A lease that is not renewed for as long as a test takes."""
        return SoftFileLease(self._marker, lease_duration=STALE_SECONDS, heartbeat_interval=STALE_SECONDS - 1)

    def _acquire_in_a_process_that_dies(self, in_function: str) -> None:
        code = f"""
import os, signal, sys, filelock
kill = os.kill
lease = filelock.SoftFileLease(sys.argv[1], lease_duration={STALE_SECONDS})
{in_function} = lambda *_: kill(os.getpid(), signal.SIGKILL)
lease.acquire()
os.kill()
"""
        died = subprocess.run([sys.executable, "-c", code, self._marker])
        assert died.returncode < 0


LACKS = pytest.mark.xfail(strict=True, raises=AssertionError, reason="SoftFileLease does not do this")
BOTH = pytest.mark.parametrize("kind", [StoreLocks, pytest.param(Lease, marks=LACKS)])


def is_taken_within(seconds: float, run: StoreLocks | Lease, clock: list[float]) -> bool:
    """Looking every second."""
    for _ in range(int(seconds)):
        if run.is_taken():
            return True
        clock[0] += 1
    return False


@pytest.mark.parametrize("kind", [StoreLocks, Lease])
def test_both_give_a_dead_owners_run_to_another(
    tmp_path: Path, kind: type[StoreLocks | Lease], clock: list[float]
) -> None:
    run = kind(tmp_path / "locks")
    run.killed()
    assert run.is_taken()
    run = kind(tmp_path / "others")
    run.elsewhere()
    assert not is_taken_within(STALE_SECONDS - 5, run, clock)
    assert is_taken_within(10, run, clock)


@BOTH
def test_an_owner_that_was_cut_off_blocks_a_run_for_some_time_only(
    tmp_path: Path, kind: type[StoreLocks | Lease], clock: list[float]
) -> None:
    """The lease makes its file first and writes into it then; that of an owner killed in between is kept for good."""
    run = kind(tmp_path / "locks")
    run.cut_off()
    assert is_taken_within(2 * STALE_SECONDS, run, clock)


@BOTH
def test_a_dead_owner_loses_a_run_on_a_network_file_system(
    tmp_path: Path, kind: type[StoreLocks | Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease is taken by an exchange of two names, which NFS, SMB, Lustre and the like refuse."""
    run = kind(tmp_path / "locks")
    run.killed()
    monkeypatch.setattr("filelock._soft.exchange_names", lambda *_: False)
    assert run.is_taken()


@BOTH
def test_a_suspended_owner_keeps_a_run(tmp_path: Path, kind: type[StoreLocks | Lease], clock: list[float]) -> None:
    run = kind(tmp_path / "locks")
    run.suspended()
    assert not is_taken_within(2 * STALE_SECONDS, run, clock)


@BOTH
def test_a_pause_of_all_machines_costs_nobody_a_run(
    tmp_path: Path, kind: type[StoreLocks | Lease], clock: list[float]
) -> None:
    run = kind(tmp_path / "locks")
    run.elsewhere()
    assert not run.is_taken()
    clock[0] += 100 * STALE_SECONDS
    assert not run.is_taken()


def fail(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@BOTH
def test_a_disk_that_fails_for_a_while_ends_no_heartbeat(
    tmp_path: Path, kind: type[StoreLocks | Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    with kind(tmp_path / "locks").held() as file:
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail)
            patch.setattr(os, "utime", fail)
            time.sleep(0.3)
        before, end = file.stat().st_mtime_ns, time.monotonic() + 1
        while file.stat().st_mtime_ns == before and time.monotonic() < end:
            time.sleep(0.01)
        assert file.stat().st_mtime_ns > before
