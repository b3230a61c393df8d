import pytest

from rtinterp.figures import style

# plotly.js, traces/table: what it draws a cell with, whatever height was asked for.
FONT_SIZE, LINE_SPACING, CELL_PADDING = 12, 1.3, 8


@pytest.mark.parametrize("n_lines", [2, 3, 5, 8])
def test_rows_are_as_high_as_plotly_draws_their_tallest_cell(n_lines):
    figure = style.table_figure(["a", "b"], [["<br>".join(["text"] * n_lines), "text"], ["text", "text"]], [1, 1])
    # A lower row would grow when it is drawn, and push the last line of the table out of the picture.
    assert figure.data[0].cells.height >= FONT_SIZE * LINE_SPACING * n_lines + 2 * CELL_PADDING
