"""How far something is, where the output is no terminal: a plain line every so often."""

from __future__ import annotations

import time

from rich.console import Console

SECONDS_PER_LINE = 30.0


class PlainLines:
    """Prints what it is told last, at most one line in ``SECONDS_PER_LINE``.

    Args:
        seconds: until the first line.
    """

    def __init__(self, console: Console, seconds: float = SECONDS_PER_LINE) -> None:
        self._console = console
        self._line_at = time.monotonic() + seconds
        self._waiting = ""

    def tell(self, line: str) -> None:
        """Print the line if it is time, and keep it for ``end`` if not."""
        self._waiting = line
        now = time.monotonic()
        if now >= self._line_at:
            self._line_at = now + SECONDS_PER_LINE
            self.end()

    def end(self) -> None:
        """Print what was told last, unless it has been printed."""
        if self._waiting:
            self._console.print(self._waiting, highlight=False, markup=False, soft_wrap=True)
            self._waiting = ""
