"""Drawing writes every file, trains nothing twice and does without a browser."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from rtinterp.figures import FIGURES
from rtinterp.figures.draw import draw
from rtinterp.store import RunStore, run_store

N_SEEDS = 2


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-such-browser"))


class Links(HTMLParser):
    """Everything a page points to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if name in ("href", "src") and value]


def test_drawing_writes_tables_pages_and_an_index_whose_links_exist(
    tiny_store: RunStore, out: Path, no_browser: None, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(list(FIGURES.values()), tiny_store, out, scale="tiny", n_seeds=N_SEEDS, device="cpu")
    for name in FIGURES:
        assert pl.read_csv(out / "data" / f"{name}.csv")["seed"].n_unique() == N_SEEDS
        assert (out / f"{name}.html").stat().st_size < 2**20, "plotly.js is shared"
    targets = Links((out / "index.html").read_text()).targets
    assert {f"{name}.html" for name in FIGURES} <= set(targets)
    assert all((out / target).is_file() for target in targets)
    assert (out / "plotly.min.js").is_file()
    assert "No PNG and SVG images" in capsys.readouterr().err


def test_drawing_again_trains_nothing(
    tiny_store: RunStore, out: Path, no_browser: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(specs: list, **_: object) -> list:
        assert not list(specs), "trained again"
        return []

    monkeypatch.setattr(run_store, "train_in_stacks", refuse)
    draw([FIGURES["figure7_width"]], tiny_store, out, scale="tiny", n_seeds=N_SEEDS, device="cpu")
    assert (out / "figure7_width.html").is_file()


def test_images_are_written_where_there_is_a_browser(tiny_store: RunStore, out: Path) -> None:
    from choreographer.browsers.chromium import Chromium

    if Chromium.find_browser(skip_local=False) is None:
        pytest.skip("no Chrome or Chromium here")
    draw([FIGURES["figure3_embeddings"]], tiny_store, out, scale="tiny", n_seeds=N_SEEDS, device="cpu")
    assert (out / "figure3_embeddings.png").read_bytes().startswith(b"\x89PNG")
    assert "seed 1" in (out / "figure3_embeddings.svg").read_text()
