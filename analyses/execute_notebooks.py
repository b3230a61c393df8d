"""Execute notebooks anew and write their outputs into them: `python analyses/execute_notebooks.py --help`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
import tyro
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


def execute_notebooks(paths: tyro.conf.Positional[tuple[Path, ...]] = (), /) -> None:
    """Execute notebooks from top to bottom and write their outputs into them.

    Figures are there as pictures too where kaleido and a Chrome or Chromium are installed.

    Args:
        paths: of notebooks; all in notebooks/ if not given.
    """
    for path in paths:
        if not path.is_file():
            raise SystemExit(f"there is no notebook {path}; pass such as notebooks/1_train_and_open.ipynb")
    for path in paths or sorted(NOTEBOOKS.glob("*.ipynb")):
        nbformat.write(executed(path), path)
        print(path)


if __name__ == "__main__":
    tyro.cli(execute_notebooks)
