"""The page of all figures: its structure, without a browser."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import polars as pl
import pytest
from shipped_page import write_shipped_page

from rtinterp.figures import Figure, Paper, style
from rtinterp.figures.html_tables import table_of
from rtinterp.figures.pages import Drawn, write_index
from rtinterp.papers.random_transformers import FIGURES, PAPER

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """The elements of a page in order, each with the tags that it is in and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[dict] = []
        self.elements: list[dict] = []
        self.feed(text)
        self.close()
        assert not self.open, "every element ends"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), "no attribute twice"
        within = [one["tag"] for one in self.open]
        element = {"tag": tag, **dict(attrs), "within": within, "text": "", "section": self.section()}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()["tag"] == tag, f"</{tag}> ends another element"

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element["text"] += data

    def section(self) -> str | None:
        """The id of the innermost section that is open."""
        return next((one["id"] for one in reversed(self.open) if one["tag"] in ("section", "nav")), None)

    def find(self, tag: str, **attributes: str) -> list[dict]:
        found = [one for one in self.elements if one["tag"] == tag]
        return [one for one in found if all(one.get(name) == value for name, value in attributes.items())]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shipped_page(tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def headings(page: Page) -> Iterator[tuple[int, dict]]:
    return ((int(one["tag"][1]), one) for one in page.elements if one["tag"] in ("h1", "h2", "h3", "h4"))


def test_claims_and_comparison_come_first_then_the_list_then_the_figures(page: Page) -> None:
    parts = [one["id"] for one in page.elements if one["tag"] in ("section", "nav") and one["section"] is None]
    assert parts == ["claims", "comparison", "figures", PAPER.name]
    figures = [one["id"] for one in page.find("section", **{"class": "figure"})]
    assert figures == list(FIGURES)
    assert [link["href"] for link in page.find("a") if link["section"] == "figures"] == [
        f"#{name}" for name in (PAPER.name, *FIGURES)
    ]


def test_headings_are_in_order_and_ids_and_anchors_match(page: Page) -> None:
    levels = [level for level, _ in headings(page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [one["id"] for one in page.elements if "id" in one]
    assert len(set(ids)) == len(ids)
    anchors = {link["href"][1:] for link in page.find("a") if link["href"].startswith("#")}
    labels = {one["aria-labelledby"] for one in page.elements if "aria-labelledby" in one}
    assert anchors | labels <= set(ids)


def test_nothing_is_framed_and_only_tables_may_scroll(page: Page) -> None:
    assert not page.find("iframe")
    boxes = page.find("div", **{"class": "scroll"})
    assert all(box["tabindex"] == "0" and box["role"] == "group" and box["aria-label"] for box in boxes)
    assert len(boxes) == len(page.find("table"))
    assert all("div" in table["within"] for table in page.find("table"))


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_has_its_title_caption_command_and_files(page: Page, path: Path, name: str) -> None:
    figure = FIGURES[name]
    within = [one for one in page.elements if one["section"] == name]
    assert next(one["text"] for one in within if one["tag"] == "h3") == figure.title
    caption = next(one["text"] for one in within if one.get("class") == "caption")
    assert caption.split()[:2] == figure.caption.split()[:2]
    assert next(one["text"] for one in within if one["tag"] == "code").endswith(f"--only {name}")
    hrefs = [one["href"] for one in within if one["tag"] == "a" and not one["href"].startswith("#")]
    assert hrefs[:2] == [f"{PAPER.name}/{name}.html", f"{PAPER.name}/data/{name}.csv"]
    assert all((path.parent / href).is_file() for href in hrefs)


def test_tables_are_html_and_plots_have_no_width_of_their_own(page: Page) -> None:
    plots = {one["section"]: json.loads(one["text"]) for one in page.find("script", type="application/json")}
    tables = {one["section"] for one in page.find("table")} - {"claims", "comparison"}
    assert set(plots) | tables == set(FIGURES)
    assert not set(plots) & tables
    assert all(name.startswith("table") or name == "figure5_completions" for name in tables)
    for figure in plots.values():
        for layout in (figure["wide"], figure["narrow"]):
            assert "width" not in layout
            assert "title" not in layout, "the page has it"
            assert layout["autosize"]
    described = page.find("div", **{"class": "plot"})
    titles = tuple(figure.title for figure in FIGURES.values())
    assert all(one["role"] == "img" and one["aria-label"].startswith(titles) for one in described)


def test_what_a_table_lists_is_all_there(page: Page) -> None:
    within = [one for one in page.elements if one["section"] == "table6_parameters"]
    cells = [one["text"] for one in within if one["tag"] in ("th", "td")]
    header, *rows = [cells[start : start + 9] for start in range(0, len(cells), 9)]
    assert header[-1] == "random / normal"
    assert rows[0] == [
        "Modular addition199 tokens, 5 positions", "2, 1024", "203,776", "5,120", "203,776", "25,194,496", "412,672",
        "25,607,168", "1.6%",
    ]  # fmt: skip


def test_the_page_breaks_the_lines_of_prose_itself() -> None:
    cell = "Once upon<br>a time" + style.small("there was") + "<br><b>an end</b>"
    written = table_of(style.table_figure(["held-out<br>prompt"], [[cell]], [1]), "Stories")
    assert written is not None
    assert f'scope="row">{cell.replace("upon<br>a", "upon a")}</th>' in written
    assert 'scope="col"><b>held-out<br>prompt</b></th>' in written


def test_the_page_works_offline(page: Page, path: Path) -> None:
    sources = [one["src"] for one in page.elements if "src" in one]
    assert sources == ["plotly.min.js"]
    assert (path.parent / "plotly.min.js").stat().st_size > 2**20
    assert len(list(path.parent.rglob("plotly.min.js"))) == 1


def drawing(text: str) -> go.Figure:
    return go.Figure(go.Table(header={"values": [text]}, cells={"values": [[text]]}))


def test_texts_of_drawings_are_no_code_of_the_page(tmp_path: Path) -> None:
    text = "a</script><script>alert()</script> < <b onclick='x'>b"
    bar = go.Figure(go.Bar(x=[text], y=[1]), {"title": text})
    figures = [
        Figure(name, "A & B", "c", None, compute=lambda _: pl.DataFrame(), plot=lambda _: bar) for name in ("a", "b")
    ]
    paper = Paper("theory", "<Theory>", {one.name: one for one in figures}, experiments={}, scales={})
    drawn = [Drawn(paper, one, pl.DataFrame(), of) for one, of in zip(figures, (bar, drawing(text)), strict=True)]
    path = write_index(drawn, {"theory": pl.DataFrame()}, tmp_path)
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.find("script")) == 3, "plotly, the bars, the page's own"
    assert not [one for one in page.elements if "onclick" in one]
    assert json.loads(page.find("script", type="application/json")[0]["text"])["data"][0]["x"] == [text]
    assert [one["text"] for one in page.find("th", scope="row")] == [text]


def test_a_figure_more_makes_a_page_that_has_both(tmp_path: Path) -> None:
    figures = {
        name: Figure(name, name, "c", None, compute=lambda _: pl.DataFrame(), plot=lambda _: drawing("x"))
        for name in ("one", "two")
    }
    paper = Paper("theory", "Theory", figures, experiments={}, scales={})
    drawn = [Drawn(paper, figure, pl.DataFrame(), drawing("x")) for figure in figures.values()]
    for n in (1, 2):
        page = Page(write_index(drawn[:n], {"theory": pl.DataFrame()}, tmp_path).read_text(encoding="utf-8"))
        assert [one["id"] for one in page.find("section", **{"class": "figure"})] == ["one", "two"][:n]
    assert [one.name for one in tmp_path.iterdir()] == ["index.html"], "nothing is left aside"
