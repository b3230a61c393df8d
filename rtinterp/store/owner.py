"""Which process made something in a store, and whether that process still lives."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import socket
import uuid
from pathlib import Path

from rtinterp.strict import strict

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")
_TAG = re.compile(r"(?P<place>[0-9a-f]{12})\.(?P<pid>\d{1,10})\.(?P<started>\d{0,20})")


@strict
class Owner:
    """A process.

    Attributes:
        host: name of its machine, for people.
        place: the machine since it was started, and the container: process ids mean something only within one place.
        pid: its id there.
        started: when it was started, by the machine's own count: process ids are used again. Empty if unknown.
    """

    host: str
    place: str
    pid: int
    started: str

    @property
    def tag(self) -> str:
        """Place, id and start as part of a file name."""
        return f"{self.place}.{self.pid}.{self.started}"


def this_process() -> Owner:
    pid = os.getpid()
    return Owner(socket.gethostname(), _place(), pid, _started(pid) or "")


def is_dead(owner: Owner) -> bool | None:
    """Whether a process has ended; None if that cannot be seen from here."""
    if os.name != "posix" or owner.place != _place() or owner.pid < 1:
        return None
    try:
        os.kill(owner.pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    # Another process may have the id by now, or nobody may have asked yet how this one ended.
    return bool(owner.started) and _started(owner.pid) != owner.started


def owner_of_name(name: str) -> Owner | None:
    """The process whose tag is part of a file name, if there is one."""
    tag = _TAG.search(name)
    return None if tag is None else Owner("", tag["place"], int(tag["pid"]), tag["started"])


@functools.cache
def _place() -> str:
    try:
        machine = f"{BOOT_ID.read_text()}{os.readlink(PID_NAMESPACE)}"
    except OSError:
        machine = str(uuid.getnode())
    return hashlib.sha256(f"{socket.gethostname()}{machine}".encode()).hexdigest()[:12]


def _started(pid: int) -> str | None:
    """Start of a process in clock ticks since the machine's; None if it has ended or the system does not tell."""
    try:
        # The name before the last bracket may hold anything.
        state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]
