"""Signals that end a training between two steps rather than in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TERMINATED = 128 + signal.SIGTERM


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during a training; the message says what was kept and how to go on."""

    def _render_traceback_(self) -> list[str]:
        """IPython asks for the lines that a cell shows: where the training stood in our code helps nobody."""
        return [f"{KeyboardInterrupt.__name__}: {self}"]


class Interruption:
    """Within this context SIGINT and SIGTERM are noted, so that what runs can save its state first; a context manager.

    A second SIGINT is not noted but obeyed at once. At the end of the context the former handlers are back, and an
    interrupt that nobody has obeyed is raised. Python runs signal handlers in the main thread; in other threads, and
    where the former handler ignores a signal, nothing changes.
    """

    def __init__(self) -> None:
        self._noted: int | None = None
        self._former: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    @property
    def requested(self) -> bool:
        return self._noted is not None

    def obey(self) -> None:
        """Raise what the noted signal means.

        Raises:
            KeyboardInterrupt: SIGINT.
            SystemExit: SIGTERM, with the shell's code 143.
        """
        noted, self._noted = self._noted, None
        if noted == signal.SIGINT:
            raise KeyboardInterrupt
        if noted == signal.SIGTERM:
            raise SystemExit(TERMINATED)

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                # None: set by other than Python, which could not be restored.
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                    self._former[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._former.items():
            signal.signal(signum, handler)
        if error is None:
            self.obey()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and self._noted is not None:
            raise KeyboardInterrupt
        if self._noted is None:
            self._noted = signum
