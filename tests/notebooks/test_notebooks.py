"""Notebooks are shipped executed: what is in the files is what their code gives, and its values are right."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from execute_notebooks import NOTEBOOKS, executed
from nbformat import NotebookNode

MAX_BYTES = 1_500_000
PLOT, PICTURE = "application/vnd.plotly.v1+json", "image/png"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
#: Of numbers that a training on another machine may end with.
TOLERANCE = {"rel_tol": 0.05, "abs_tol": 0.05}
NAMES = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cell: NotebookNode) -> list[tuple[str, dict[str, Any]]]:
    """Kind and contents of each output; those of streams by the stream's name."""
    return [
        (output.output_type, {output.name: output.text} if output.output_type == "stream" else dict(output.data))
        for output in cell.outputs
    ]


def check_same_text(shipped: str, fresh: str, where: object) -> None:
    """The same words, and nearly the same numbers."""
    assert NUMBER.sub("", shipped).split() == NUMBER.sub("", fresh).split(), where
    for old, new in zip(NUMBER.findall(shipped), NUMBER.findall(fresh), strict=True):
        assert math.isclose(float(old), float(new), **TOLERANCE), (where, old, new)


def without_numbers(figure: dict[str, Any]) -> str:
    return NUMBER.sub("", json.dumps(figure, sort_keys=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_notebook_was_executed_from_top_to_bottom(name: str) -> None:
    path = NOTEBOOKS / f"{name}.ipynb"
    assert path.stat().st_size < MAX_BYTES
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in shown} <= {"display_data", "execute_result", "stream"}
    assert not [output.text for output in shown if output.get("name") == "stderr"]
    plots = [output.data for output in shown if PLOT in output.get("data", {})]
    assert plots
    assert all(PICTURE in data for data in plots)


@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_a_notebook_gives_what_is_shipped_and_its_values_are_right(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pictures are the same figures once more, and take seconds.
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no browser"))
    path = NOTEBOOKS / f"{name}.ipynb"
    check = Path(__file__).with_name(f"check_{name}.py").read_text(encoding="utf-8")
    shipped = code_cells(nbformat.read(path, as_version=4))
    fresh = code_cells(executed(path, check))
    for old, new in zip(shipped, fresh, strict=True):
        assert [kind for kind, _ in outputs(old)] == [kind for kind, _ in outputs(new)], old.source
        for (_, was), (_, now) in zip(outputs(old), outputs(new), strict=True):
            assert "stderr" not in now, now
            assert was.keys() - {PICTURE} == now.keys() - {PICTURE}
            for kind in now.keys() & {"text/plain", "stdout"}:
                check_same_text(was[kind], now[kind], old.source)
            if PLOT in now:
                assert without_numbers(was[PLOT]) == without_numbers(now[PLOT])
