"""Figures of a notebook as pictures beside the interactive ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import plotly.io
import pytest
from choreographer.browsers.chromium import Chromium

from rtinterp.plot import show_pictures_too


def test_without_a_browser_figures_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no browser"))
    renderers = plotly.io.renderers.default
    assert not show_pictures_too()
    assert plotly.io.renderers.default == renderers


@pytest.mark.slow
@pytest.mark.skipif(Chromium.find_browser(skip_local=False) is None, reason="needs a Chrome or Chromium")
def test_a_page_that_nbconvert_makes_of_a_notebook_has_its_figures(tmp_path: Path) -> None:
    cells = ["from rtinterp import plot", "assert plot.show_pictures_too()", "import torch", "plot.heads(torch.eye(2))"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("\n".join(cells))])
    nbformat.write(notebook, tmp_path / "drawn.ipynb")
    convert = ["-m", "nbconvert", "--to", "html", "--execute", "drawn.ipynb"]
    subprocess.run([sys.executable, *convert], cwd=tmp_path, check=True, capture_output=True)
    assert 'src="data:image/png;base64,' in (tmp_path / "drawn.html").read_text(encoding="utf-8")
