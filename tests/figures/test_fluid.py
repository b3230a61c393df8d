"""Drawings that take the width of their place."""

from __future__ import annotations

import itertools
import json

import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots
from shipped_page import shipped_table

from rtinterp.figures import style
from rtinterp.figures.fluid import fluid, subtitle_of, wrapped
from rtinterp.papers.random_transformers import FIGURES


def layouts(figure: go.Figure) -> tuple[dict, dict]:
    drawn = fluid(figure)
    parts = json.loads(drawn.json)
    assert (drawn.wide_height, drawn.narrow_height) == tuple(
        round(parts[kind]["height"]) for kind in ("wide", "narrow")
    )
    return parts["wide"], parts["narrow"]


def grid(rows: int, columns: int) -> go.Figure:
    figure = make_subplots(rows, columns, subplot_titles=[f"panel {number}" for number in range(rows * columns)])
    for row, column in itertools.product(range(rows), range(columns)):
        figure.add_scatter(x=[0, 1], y=[0, 1], name="a", row=row + 1, col=column + 1)
    return style.finish_with(figure, "Title", "one line<br>another", width=1000, height=400)


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 3), (3, 3)])
def test_panels_of_a_grid_stand_in_one_column_each_under_its_title(rows: int, columns: int) -> None:
    _, narrow = layouts(grid(rows, columns))
    n_panels = rows * columns
    names = ["", *range(2, n_panels + 1)]
    assert all(narrow[f"xaxis{name}"]["domain"] == [0, 1] for name in names)
    heights = [narrow[f"yaxis{name}"]["domain"] for name in names]
    assert heights[0][1] == 1
    assert heights[-1][0] == pytest.approx(0)
    assert all(lower[1] < upper[0] for upper, lower in itertools.pairwise(heights))
    titles = {title["text"]: (title["x"], title["y"]) for title in narrow["annotations"]}
    assert titles == {f"panel {number}": (0.5, top) for number, (_, top) in enumerate(heights)}


def test_the_drawing_itself_stays_as_it_is() -> None:
    figure = grid(2, 2)
    before = figure.to_json()
    layouts(figure)
    assert figure.to_json() == before


def test_titles_move_to_the_page_and_leave_no_gap() -> None:
    figure = grid(1, 2)
    assert subtitle_of(figure) == "one line<br>another"
    wide, _ = layouts(figure)
    assert "title" not in wide
    before = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    assert wide["height"] - wide["margin"]["t"] - wide["margin"]["b"] == before
    assert wide["margin"]["t"] < figure.layout.margin.t


def test_a_drawing_without_the_common_look_keeps_its_title() -> None:
    figure = go.Figure(go.Bar(y=[1]), {"title": "My own", "width": 1500})
    assert not subtitle_of(figure)
    for layout in layouts(figure):
        assert layout["title"]["text"] == "My own"
        assert "width" not in layout
        assert layout["height"] > 100


def test_axes_that_lie_on_others_are_not_moved() -> None:
    figure = make_subplots(1, 2, specs=[[{"secondary_y": True}, {}]])
    wide, narrow = layouts(figure.add_scatter(y=[1], row=1, col=1))
    assert [narrow[axis]["domain"] for axis in ("xaxis", "xaxis2")] == [
        wide[axis]["domain"] for axis in ("xaxis", "xaxis2")
    ]


@pytest.mark.parametrize("name", ["figure4_language_loss", "figure6_imitation", "figure7_width"])
def test_legends_stand_below_the_titles_of_axes_and_have_their_room(name: str) -> None:
    for layout in layouts(FIGURES[name].plot(shipped_table(name))):
        plot_height = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
        gap = -layout["legend"]["y"] * plot_height
        assert layout["legend"]["yanchor"] == "top"
        assert 50 < gap < layout["margin"]["b"]


def test_lines_break_between_words_and_not_in_tags() -> None:
    assert wrapped("one two three", 7) == "one two<br>three"
    assert wrapped("one<br>two three", 5) == "one<br>two<br>three"
    assert wrapped("a <span style='x: y'>bb cc</span> d", 4) == "a <span style='x: y'>bb<br>cc</span> d"
    assert wrapped("incomprehensible", 3) == "incomprehensible"
    assert wrapped("a < b", 3) == "a <<br>b"
