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


@pytest.mark.parametrize("n_lines", [2, 3, 5, 8])
def test_rows_are_as_high_as_plotly_draws_their_tallest_cell(n_lines):
    figure = style.table_figure(["a", "b"], [["<br>".join(["text"] * n_lines), "text"], ["text", "text"]], [1, 1])
    # A lower row would grow when it is drawn, and push the last line of the table out of the picture.
    assert figure.data[0].cells.height >= FONT_SIZE * LINE_SPACING * n_lines + 2 * CELL_PADDING


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
