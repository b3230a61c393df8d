"""Execute notebooks anew and write their outputs into them: ``python analyses/execute_notebooks.py [NOTEBOOK ...]``.

Figures are there as pictures too where kaleido and a Chrome or Chromium are installed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
SECONDS_PER_CELL = 300
#: The bars of other packages, which live in the process that showed them and are dead in a file.
WIDGET = "application/vnd.jupyter.widget-view+json"


def executed(path: Path, check: str | None = None) -> NotebookNode:
    """Execute a copy of a notebook where it sees the shipped results, and nothing else that lies here.

    Args:
        check: code that is executed after the last cell, and leaves nothing.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    if check is not None:
        notebook.cells.append(nbformat.v4.new_code_cell(check))
    with tempfile.TemporaryDirectory() as clone:
        (Path(clone) / NOTEBOOKS.name).mkdir()
        (Path(clone) / "figures").symlink_to(ROOT / "figures")
        place = {"metadata": {"path": str(Path(clone) / NOTEBOOKS.name)}}
        NotebookClient(
            notebook, timeout=SECONDS_PER_CELL, resources=place, record_timing=False, coalesce_streams=True
        ).execute()
    if check is not None:
        notebook.cells.pop()
    return without_what_changes(notebook)


def without_what_changes(notebook: NotebookNode) -> NotebookNode:
    """Drop what is of this machine or this execution alone."""
    notebook.metadata = NotebookNode(kernelspec=notebook.metadata.kernelspec, language_info={"name": "python"})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    return notebook


def main(paths: list[str]) -> None:
    for path in map(Path, paths) if paths else sorted(NOTEBOOKS.glob("*.ipynb")):
        nbformat.write(executed(path), path)
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
