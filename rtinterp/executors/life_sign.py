"""A file that says that a sweep goes on: its workers stop when it is gone, or no longer touched.

It reaches workers on every machine that sees the store, and it ends with the sweep even if that is killed.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

SECONDS_PER_TOUCH = 5.0
SECONDS_PER_QUESTION = 0.1
SECONDS_PER_LOOK = 0.5
#: A network file system may show the time of a file a minute late.
SECONDS_UNTIL_DEAD = 180.0


class LifeSign:
    """The sweep's side; a context manager.

    Args:
        path: of the file, in the run store.
        over: asked several times a second; once it is true, the workers are told to stop.

    Raises:
        OSError: the store cannot be written.
    """

    def __init__(self, path: Path, over: Callable[[], bool]) -> None:
        self.path = path
        self._over = over
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_touching, daemon=True)

    def __enter__(self) -> LifeSign:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    @property
    def ended(self) -> bool:
        return self._over() or self._ended.is_set()

    def _keep_touching(self) -> None:
        touch_at = time.monotonic()
        while not self._ended.wait(SECONDS_PER_QUESTION):
            if self._over():
                self.path.unlink(missing_ok=True)
                return
            if time.monotonic() >= touch_at:
                touch_at += SECONDS_PER_TOUCH
                # Not made again if it is gone.
                with contextlib.suppress(OSError):
                    os.utime(self.path)


def is_alive(path: str) -> bool:
    return Path(path).exists()


def wait_for_the_end(path: str) -> None:
    """Return when the file is gone or was not touched for long, by this machine's clock alone."""
    touched, seen = None, time.monotonic()
    while time.monotonic() - seen < SECONDS_UNTIL_DEAD:
        try:
            now = Path(path).stat().st_mtime_ns
        except FileNotFoundError:
            return
        except OSError:  # a network folder that is away for a moment
            now = touched
        if now != touched:
            touched, seen = now, time.monotonic()
        time.sleep(SECONDS_PER_LOOK)
