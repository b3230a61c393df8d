"""Figures of a notebook as pictures beside the interactive ones."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import plotly.graph_objects as go
import plotly.io

RENDERERS = "plotly_mimetype+png"
#: Until a browser that shows no picture counts as none.
TRIAL_SECONDS = 60


def show_pictures_too() -> bool:
    """Let every figure that a notebook shows from here on be a PNG as well as interactive.

    A saved notebook then has its figures where nothing interactive is shown: on the web, in what ``jupyter nbconvert``
    makes of it, in print. Nothing changes without kaleido (``pip install 'rtinterp[images]'``) and a Chrome or
    Chromium.

    Returns:
        Whether there are pictures from here on.
    """
    try:
        import kaleido
        from choreographer.browsers.chromium import Chromium
    except ImportError:
        return False
    # The way kaleido looks for it; its server, without a browser, waits for ever.
    browser = os.environ.get("BROWSER_PATH") or Chromium.find_browser(skip_local=False)
    if browser is None or not Path(browser).is_file():
        return False
    # One browser for all figures, which takes seconds to start; headers for map tiles would be refused with a warning.
    plotly.io.defaults.headers = {}
    kaleido.start_sync_server(n=1, mathjax=False, silence_warnings=True)
    trial = threading.Thread(target=go.Figure().to_image, daemon=True)
    trial.start()
    trial.join(TRIAL_SECONDS)
    if trial.is_alive():
        return False
    plotly.io.renderers.default = RENDERERS
    return True
