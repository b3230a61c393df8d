"""Which process trains which runs of a store, so that no two train the same.

A process that trains a stack has a claim: ``claims/TOKEN.json``, which a thread renews every few seconds, and in it for
every run ``locks/RUN_ID/TOKEN``, an empty file. The token is new for every claim.

- A lock is taken by renaming a folder that already holds the token's file to ``locks/RUN_ID``, which fails while that
  is a folder that is not empty. It is given back, or taken from a dead owner, by removing the token's file: that names
  the very claim that is meant, so of several processes that find a dead owner's lock none can remove a live one's.
- All runs of a stack are claimed or none, in the order of their ids, so of two processes that want the same stack one
  gets all of it.
- An owner on this machine is dead when its process is. One elsewhere is taken for dead when its claim has not changed
  for ``STALE_SECONDS`` while we looked at it, by our own clock; clocks of machines are never compared. Time during
  which we did not look does not count, so a pause of all machines makes nobody stale.
- An owner that was taken for dead, say because its machine slept, finds its token's file gone before it writes
  anything, and stops. Were it to publish at that very moment, a run would still be whole and never overwritten.

Assumed of the file system, which may be a network folder: rename is atomic and never replaces a folder that is not
empty; a new file is seen by the others within ``STALE_SECONDS``. File locks are not used.

Nor is ``SoftFileLease`` of filelock, which does much of this; ``tests/store/test_lease.py`` shows what it does not. The
file of an owner that was killed, or lost power, before its content was written is kept for good, and so is a dead
owner's where the file system cannot exchange two names, as network file systems cannot: nobody could ever train those
runs. A process that was suspended loses a run although it lives, so do all when all machines were paused, and a disk
that fails for a while ends the heartbeat.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import shutil
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path

from rtinterp.store.claims import ClaimFacts, look_at
from rtinterp.store.durable import write_whole
from rtinterp.store.errors import StoreError, explain
from rtinterp.store.owner import this_process
from rtinterp.store.progress import Progress

HEARTBEAT_SECONDS = 3.0

#: Errors of a rename to a folder that is not empty.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)


class LockLostError(StoreError):
    """Another process took over what this one was training."""


class Locks:
    """The claims on the runs of one store.

    Args:
        folder: made by the first claim.
    """

    def __init__(self, folder: Path) -> None:
        self.claims_folder = folder / "claims"
        self._locks = folder / "locks"

    def claim(self, run_ids: Sequence[str], n_steps: int) -> Claim | Progress:
        """A claim on all of the runs, or what the process that has one of them is doing.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            self.claims_folder.mkdir(parents=True, exist_ok=True)
            self._locks.mkdir(exist_ok=True)
            self.remove_stale()
            with contextlib.ExitStack() as unless_all:
                claim = Claim(self.claims_folder, self._locks, run_ids, n_steps)
                unless_all.callback(claim.release)
                for run_id in sorted(run_ids):
                    while not claim.lock(run_id):
                        if (holder := self._holder(run_id)) is not None:
                            return holder
                claim.keep()
                unless_all.pop_all()
        except OSError as error:
            raise StoreError(f"{self._locks}: cannot be written: {explain(error)}") from error
        return claim

    def in_progress(self) -> list[Progress]:
        """What live processes train, in no order."""
        return [progress for path in self._claims() if (progress := look_at(path)) is not None and progress.run_ids]

    def remove_stale(self) -> None:
        """Remove claims of owners that are dead, with their locks."""
        folders = [path for path in self._locks.iterdir() if not path.name.startswith(".")]
        for path in self._claims():
            if look_at(path) is None:
                for folder in folders:
                    _unlock(folder, path.stem)
                shutil.rmtree(self._locks / f".{path.stem}", ignore_errors=True)
                path.unlink(missing_ok=True)
        for folder in folders:
            # Only if an owner died, or is, between removing its file and this.
            _remove_empty(folder)

    def _holder(self, run_id: str) -> Progress | None:
        """Who has the lock of a run; None if it can be tried again, since it is free or was a dead owner's."""
        with contextlib.suppress(FileNotFoundError):
            for token in [path.name for path in (self._locks / run_id).iterdir()]:
                if (holder := look_at(self.claims_folder / f"{token}.json")) is not None:
                    return holder
                _unlock(self._locks / run_id, token)
        return None

    def _claims(self) -> list[Path]:
        try:
            return sorted(path for path in self.claims_folder.iterdir() if path.suffix == ".json")
        except (FileNotFoundError, NotADirectoryError):
            return []


class Claim(contextlib.AbstractContextManager["Claim"]):
    """Runs that this process alone trains; a context manager that gives them back."""

    def __init__(self, claims: Path, locks: Path, run_ids: Sequence[str], n_steps: int) -> None:
        self._token = uuid.uuid4().hex
        self._path, self._locks = claims / f"{self._token}.json", locks
        self._facts = ClaimFacts(1, this_process(), tuple(run_ids), 0, 0, n_steps, None)
        self._told: tuple[int, float | None] = (0, None)
        self._locked: list[str] = []
        self._ended = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._renew_until_ended, name="rtinterp heartbeat", daemon=True)
        self._write()

    def lock(self, run_id: str) -> bool:
        """Whether the run is now locked by this claim."""
        aside = self._locks / f".{self._token}"
        aside.mkdir(exist_ok=True)
        (aside / self._token).touch()
        for _ in range(2):
            try:
                os.rename(aside, self._locks / run_id)
            except OSError as error:
                if error.errno not in _TAKEN and not (os.name == "nt" and isinstance(error, PermissionError)):
                    raise
                # Some systems rename to no folder at all, also if it is empty.
                _remove_empty(self._locks / run_id)
            else:
                self._locked.append(run_id)
                return True
        return False

    def keep(self) -> None:
        """Renew the claim from now on."""
        self._thread.start()

    def tell(self, step: int, train_loss: float | None) -> None:
        """What others see at the next renewal.

        Raises:
            LockLostError: the heartbeat has noticed that the claim is lost.
        """
        self._told = step, train_loss
        if self._lost:
            self.verify()

    def verify(self) -> None:
        """Look whether the claim still holds.

        Raises:
            LockLostError: another process has taken it over.
            StoreError: the store is gone.
        """
        if self._is_held():
            return
        if not self._locks.is_dir():
            raise StoreError(f"{self._locks.parent.parent}: the store was removed while runs were trained into it")
        raise LockLostError(f"{self._locks.parent.parent}: another process took over {self._facts.run_ids[0]}")

    def release(self) -> None:
        """Give all back; what cannot be removed is stale when this process ends."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(OSError):
            for run_id in self._locked:
                _unlock(self._locks / run_id, self._token)
            shutil.rmtree(self._locks / f".{self._token}", ignore_errors=True)
            self._path.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        self.release()

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            if not self._is_held():
                self._lost = True
                return
            # Without a new beat others may take over, which is noticed then; a full disk ends no training.
            with contextlib.suppress(OSError):
                self._write()

    def _is_held(self) -> bool:
        for run_id in self._locked:
            try:
                os.stat(self._locks / run_id / self._token)
            except (FileNotFoundError, NotADirectoryError):
                return False
            except OSError:
                continue
        return True

    def _write(self) -> None:
        step, loss = self._told
        sound = loss if loss is not None and math.isfinite(loss) else None
        self._facts = dataclasses.replace(self._facts, beat=self._facts.beat + 1, step=step, train_loss=sound)
        write_whole(self._path, json.dumps(dataclasses.asdict(self._facts)).encode())


def _unlock(folder: Path, token: str) -> None:
    """Remove the lock of one claim, if it is there, and of no other."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        (folder / token).unlink()
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    """Remove the folder of a run that nobody has, and not one that another has taken since."""
    with contextlib.suppress(OSError):
        folder.rmdir()
