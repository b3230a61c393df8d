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
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from rtinterp.store.claims import ClaimFacts, forget, is_stale, progress_of, read_claim
from rtinterp.store.durable import aside_name
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
            claim = Claim(self.claims_folder, self._locks, run_ids, n_steps)
            try:
                holder = self._lock_all(claim, run_ids)
            except BaseException:
                claim.release()
                raise
        except OSError as error:
            raise StoreError(f"{self._locks}: cannot be written: {explain(error)}") from error
        if holder is not None:
            claim.release()
            return holder
        claim.keep()
        return claim

    def in_progress(self) -> list[Progress]:
        """What live processes train, in no order."""
        facts = (read_claim(path) for path in self._tokens() if not is_stale(path))
        return [progress_of(claim) for claim in facts if claim is not None]

    def remove_stale(self) -> None:
        """Remove claims of owners that are dead, with their locks."""
        locks = [path for path in self._locks.iterdir() if not path.name.startswith(".")]
        for path in self._tokens():
            if is_stale(path):
                for folder in locks:
                    _unlock(folder, path.stem)
                shutil.rmtree(self._locks / f".{path.stem}", ignore_errors=True)
                path.unlink(missing_ok=True)
                forget(path)
        for folder in locks:
            # Only if an owner died, or is, between removing its file and this.
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _lock_all(self, claim: Claim, run_ids: Sequence[str]) -> Progress | None:
        for run_id in sorted(run_ids):
            while not claim.lock(run_id):
                holder = self._holder(run_id)
                if holder is not None:
                    return holder
        return None

    def _holder(self, run_id: str) -> Progress | None:
        """Who has the lock of a run; None if it can be tried again, since it is free or was a dead owner's."""
        try:
            tokens = [path.name for path in (self._locks / run_id).iterdir()]
        except FileNotFoundError:
            return None
        for token in tokens:
            path = self.claims_folder / f"{token}.json"
            facts = read_claim(path)
            if facts is not None and not is_stale(path):
                return progress_of(facts)
            if facts is None and path.exists() and not is_stale(path):
                return Progress((run_id,), "another machine", 0, 0, 0, None)
            _unlock(self._locks / run_id, token)
        return None

    def _tokens(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            yield from sorted(path for path in self.claims_folder.iterdir() if path.suffix == ".json")


class Claim:
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
                with contextlib.suppress(OSError):
                    (self._locks / run_id).rmdir()
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

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        aside = self._path.with_name(aside_name())
        try:
            aside.write_text(json.dumps(dataclasses.asdict(self._facts)), encoding="utf-8")
            os.replace(aside, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise


def _unlock(folder: Path, token: str) -> None:
    """Remove the lock of one claim, if it is there, and of no other."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        (folder / token).unlink()
        # Not if another has taken it since.
        with contextlib.suppress(OSError):
            folder.rmdir()
