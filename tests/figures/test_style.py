import re

import plotly.graph_objects as go
import polars as pl
import pytest

from rtinterp.figures import style
from rtinterp.figures.figure import TASK
from rtinterp.figures.images import ImageWriter
from rtinterp.tasks import DecimalAddition, NeedleInAHaystack

# plotly.js, traces/table: what it draws a cell with, whatever height was asked for.
FONT_SIZE, LINE_SPACING, CELL_PADDING = 12, 1.3, 8


def drawn_height(*n_lines):
    """Of the table's rows alone, with that many lines in their tallest cells."""
    rows = [["<br>".join(["text"] * n), "text"] for n in n_lines]
    layout = style.finish_table_with(style.table_figure(["a", "b"], rows, [1, 1]), "T", "t", width=400).layout
    drawn = layout.height - layout.margin.t - layout.margin.b
    return drawn - style.TABLE_HEADER_HEIGHT - style.TABLE_LAST_LINE_HEIGHT


def test_tasks_are_named_as_in_a_text():
    titles = {
        "KHopInduction(max_hops=1)": "K-hop induction",
        "NeedleInAHaystack()": "Needle in a haystack",
        "mine": "Mine",
    }
    assert {task: style.task_title(task) for task in titles} == titles


@pytest.mark.parametrize("n_lines", [(2, 2), (3, 1), (5, 2, 8)])
def test_tables_are_as_high_as_plotly_draws_the_tallest_cell_of_each_row(n_lines):
    as_drawn = sum(max(FONT_SIZE * LINE_SPACING * n + 2 * CELL_PADDING, drawn_height(1)) for n in n_lines)
    # What lacks would push the last line of the table out of the picture.
    assert as_drawn <= drawn_height(*n_lines) <= as_drawn + max(n_lines) * FONT_SIZE
    assert drawn_height(1, 8) < drawn_height(8, 8), "no row is higher for another's sake"


def test_pictures_leave_room_above_their_titles(tmp_path):
    figure = style.finish_with(go.Figure(), "Title", "one<br>two<br>three", width=400, height=200)
    images = ImageWriter()
    images.write(figure, tmp_path / "picture")
    images.close()
    if images.why_not is not None:
        pytest.skip(images.why_not)
    lines = re.search('class="gtitle".*?</text>', (tmp_path / "picture.svg").read_text(encoding="utf-8"), re.DOTALL)
    assert lines is not None
    # Of every line, where it is set and how many letters' heights further down its baseline lies.
    found = re.findall(r'class="line" dy="([\d.]+)em" x="[\d.]+" y="([\d.]+)"', lines[0])
    baselines = [float(y) + float(shift) * style.TITLE_SIZE for shift, y in found]
    assert len(baselines) == 4
    assert baselines[0] - style.TITLE_SIZE >= 10
    assert baselines[-1] + style.TITLE_SIZE <= figure.layout.margin.t


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (NeedleInAHaystack(4, 16), "max_pairs = 4, n_values = 16"),
        (NeedleInAHaystack(4, 16, test_rows="drawn"), "max_pairs = 4, n_values = 16, test_rows = drawn"),
        (DecimalAddition(2), "n_digits = 2"),
        (DecimalAddition(2, True), "n_digits = 2, score first digit"),
    ],
    ids=repr,
)
def test_a_task_is_told_by_what_was_chosen(task, told):
    assert style.task_parameters(repr(task)) == told


def test_the_size_of_a_task_and_its_test_rows_do_not_part_the_rows_of_a_figure():
    tasks = [
        [DecimalAddition(), DecimalAddition(2), DecimalAddition(2, test_rows="drawn")],
        [DecimalAddition(10, True), DecimalAddition(2, True)],
        [NeedleInAHaystack(), NeedleInAHaystack(4, 16), NeedleInAHaystack(4, 16, test_rows="validation")],
    ]
    told = pl.DataFrame({"task": [repr(task) for alike in tasks for task in alike]}).select(TASK).to_series().to_list()
    assert told == [told[0]] * 3 + [told[3]] * 2 + [told[5]] * 3
    assert len(set(told)) == 3
