"""A progress bar in the cell of a notebook: plain HTML, which needs no ipywidgets and is saved with the notebook."""

from __future__ import annotations

import datetime
import html
import time

SECONDS_PER_REFRESH = 0.25


class CellProgress:
    """Shows a label, a bar as wide as the cell leaves room for, a count, and what is measured.

    Args:
        total: what the count reaches at the end.
    """

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self._start = self._refreshed_at = time.monotonic()
        self._handle = None
        self._done, self._metrics = 0, ""

    def update(self, done: int, metrics: str) -> None:
        """Note how far it is, and show it if the cell has not been touched for a moment."""
        self._done, self._metrics = done, metrics
        now = time.monotonic()
        if now - self._refreshed_at >= SECONDS_PER_REFRESH:
            self._refreshed_at = now
            self.show((now - self._start) / done * (self._total - done) if done else None)

    def show(self, seconds_left: float | None = None) -> None:
        """Show what was noted last."""
        from IPython.display import display

        left = "" if seconds_left is None else f"{datetime.timedelta(seconds=int(seconds_left))} left"
        words = [self._label, f"{self._done}/{self._total}", self._metrics, left]
        shown = {"text/plain": "  ".join(filter(None, words)), "text/html": self._html(words)}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def _html(self, words: list[str]) -> str:
        label, *rest = (html.escape(word) for word in words)
        bar = f'<progress value="{self._done}" max="{self._total}" style="flex: 1; min-width: 6em"></progress>'
        told = "".join(f"<span>{word}</span>" for word in rest if word)
        return (
            '<div style="display: flex; flex-wrap: wrap; align-items: center; gap: 0 1em; '
            f'font-variant-numeric: tabular-nums"><b>{label}</b>{bar}{told}</div>'
        )
