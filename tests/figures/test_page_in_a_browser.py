"""The page of all figures as a browser lays it out: no scroll bars but those of wide tables."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path

import pytest
from choreographer.browsers.chromium import Chromium
from shipped_page import write_shipped_page

WIDTHS = (1280, 420)
#: A4 within its margins, at 96 pixels an inch.
PRINTED_WIDTH = 688
SCROLLERS = """(one) => /auto|scroll/.test(getComputedStyle(one).overflow + getComputedStyle(one).overflowX)
  && (one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight)"""
MEASURE = f"""<script>addEventListener("load", () => {{
  if (location.search === "?print")
    for (const rule of document.styleSheets[0].cssRules)
      if (rule.media) rule.media.mediaText = rule.media.mediaText === "print" ? "all" : "not all";
  plots.forEach((plot) => draw(plot, onScreen));
  setTimeout(() => parent.postMessage({{
    width: innerWidth,
    scrollWidth: document.documentElement.scrollWidth,
    scrollers: [...document.querySelectorAll("body *")].filter({SCROLLERS}).map((one) => one.className),
    toClick: [...document.querySelectorAll("summary, details, .modebar-container, .up")]
      .filter((one) => one.getClientRects().length > 0).map((one) => one.className || one.tagName),
    plots: plots.map((plot) => [plot.clientWidth, plot._fullLayout.width, plot._fullLayout.xaxis._length]),
    legends: plots.filter((plot) => plot._fullLayout.legend?.orientation === "h").map((plot) =>
      plot.querySelector(".legend").getBoundingClientRect().top - Math.max(
        ...[...plot.querySelectorAll(".infolayer [class$=title]")].map((one) => one.getBoundingClientRect().bottom))),
  }}, "*"), 500);
}});</script></body>"""
#: A browser's window is not made as narrow as a telephone; a frame is.
FRAMES = """<!doctype html><title>frames</title><script>
const measured = [];
addEventListener("message", (event) => {
  measured.push(event.data);
  document.documentElement.setAttribute("data-measured", JSON.stringify(measured));
});
</script>"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict]:
    """What the page measures of itself, by width."""
    browser = Chromium.find_browser(skip_local=False)
    if browser is None:
        pytest.skip("no Chrome or Chromium here")
    out = tmp_path_factory.mktemp("figures")
    page = write_shipped_page(out).read_text(encoding="utf-8")
    (out / "measured.html").write_text(page.replace("</body>", MEASURE), encoding="utf-8")
    style = "height: 900px; border: 0; width:"
    pages = {"measured.html": WIDTHS, "measured.html?print": [PRINTED_WIDTH]}
    frames = (
        f'<iframe src="{name}" style="{style} {width}px"></iframe>'
        for name, widths in pages.items()
        for width in widths
    )
    (out / "frames.html").write_text(FRAMES + "".join(frames), encoding="utf-8")
    return {one["width"]: one for one in json.loads(dumped(browser, out / "frames.html", out / "profile"))}


def dumped(browser: str, path: Path, profile: Path) -> str:
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--window-size=1400,1000",
        "--virtual-time-budget=30000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-measured="([^"]*)"', dom)
    assert found is not None, "the page's script has failed"
    return html.unescape(found[1])


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways(measured: dict[int, dict], width: int) -> None:
    assert measured[width]["scrollWidth"] <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_only_the_boxes_of_wide_tables_scroll(measured: dict[int, dict], width: int) -> None:
    assert set(measured[width]["scrollers"]) <= {"scroll"}


def test_wide_tables_fit_a_wide_page(measured: dict[int, dict]) -> None:
    assert not measured[1280]["scrollers"]


@pytest.mark.parametrize("width", WIDTHS)
def test_plots_take_the_width_that_there_is_and_keep_room_to_read_them(measured: dict[int, dict], width: int) -> None:
    for place, drawn, panel in measured[width]["plots"]:
        assert drawn == place
        assert place > 0.8 * min(width, 1100)
        assert panel > 200


@pytest.mark.parametrize("width", WIDTHS)
def test_legends_stand_below_the_titles_of_axes(measured: dict[int, dict], width: int) -> None:
    assert len(measured[width]["legends"]) >= 3
    assert all(gap > 0 for gap in measured[width]["legends"])


def test_in_print_nothing_scrolls_and_there_is_nothing_to_click(measured: dict[int, dict]) -> None:
    assert measured[PRINTED_WIDTH]["scrollWidth"] <= PRINTED_WIDTH
    assert not measured[PRINTED_WIDTH]["scrollers"]
    assert not measured[PRINTED_WIDTH]["toClick"]
    assert {"SUMMARY", "up"} <= set(measured[1280]["toClick"])
