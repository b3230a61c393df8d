"""PNG and SVG of figures, through one browser that stays open from the first figure to the last."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

IMAGE_FORMATS = ("png", "svg")
PNG_SCALE = 2


class ImageWriter:
    """Writes images of figures; to be closed.

    Attributes:
        why_not: why there are no images; None while there are.
    """

    def __init__(self) -> None:
        self.why_not: str | None = None
        self._browser: Any = None
        self._loop = asyncio.new_event_loop()
        # A thread of its own: a notebook's main thread already has a loop that runs.
        self._thread = ThreadPoolExecutor(1)

    def write(self, figure: go.Figure, path: Path) -> None:
        """Write a PNG and an SVG, if there is a browser; the first call starts it, which takes some seconds.

        Args:
            path: of the images, without their ending.
        """
        if self.why_not is not None:
            return
        try:
            import kaleido
            from choreographer import errors
        except ImportError:
            self.why_not = "kaleido is not installed (pip install 'rtinterp[images]')"
            return
        images = [
            {
                "fig": figure.to_dict(),
                "path": path.with_name(f"{path.name}.{image_format}"),
                "opts": {"format": image_format, "scale": PNG_SCALE if image_format == "png" else 1},
            }
            for image_format in IMAGE_FORMATS
        ]
        try:
            if self._browser is None:
                self._browser = self._run(_opened(kaleido))
            self._run(self._browser.write_fig_from_object(images))
        except errors.ChromeNotFoundError:
            self.why_not = "no Chrome or Chromium was found on this machine"
        except (errors.BrowserFailedError, errors.BrowserClosedError) as error:
            self.why_not = f"the browser failed: {error}"

    def close(self) -> None:
        """End the browser."""
        if self._browser is not None:
            self._run(self._browser.close())
        self._thread.submit(self._loop.close).result()
        self._thread.shutdown()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._thread.submit(self._loop.run_until_complete, coroutine).result()


async def _opened(kaleido: Any) -> Any:
    browser = kaleido.Kaleido(n=1, mathjax=False)
    await browser.open()
    return browser
