"""Imports go one way: from a room of the package only to rooms on its left, and never in a circle."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator, Mapping
from importlib.util import resolve_name
from pathlib import Path

import pytest

import rtinterp

PACKAGE = Path(rtinterp.__file__).parent

#: From left to right, as data flows.
ROOMS = (
    *("strict", "cards", "registry", "tasks", "models", "training", "store", "executors"),
    *("analysis", "plot", "figures", "papers", "cli"),
)


def imports_of(package: Path) -> dict[str, set[str]]:
    """What each module imports of the package: at its top, in functions and for type checkers alike."""
    files = {_module_name(path, package): path for path in package.rglob("*.py")}
    return {name: set(_imported(name, path, files)) - {name} for name, path in files.items()}


def _module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(name: str, path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    within = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), within)
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield from (module for module in (whole if whole in files else source,) if module in files)


def against_the_flow(imports: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """Imports of a room to the right, or of the package's face, which takes from every room."""
    (face,) = (name for name in imports if "." not in name)
    return {
        (name, imported)
        for name, targets in imports.items()
        if name != face
        for imported in targets
        if imported == face or _place(imported) > _place(name)
    }


def _place(module: str) -> int:
    return ROOMS.index(module.split(".")[1])


def test_imports_go_from_left_to_right() -> None:
    assert against_the_flow(imports_of(PACKAGE)) == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graphlib.TopologicalSorter(imports_of(PACKAGE)).prepare()


@pytest.mark.parametrize(
    "line",
    [
        "import rtinterp.store.files",
        "from rtinterp.store import files",
        "from rtinterp.store.files import read",
        "from ..store.files import read",
        "def read():\n    from rtinterp.store.files import read",
        "if TYPE_CHECKING:\n    from rtinterp.store.files import read",
        "from rtinterp import RunStore",
    ],
)
def test_a_wrong_import_is_seen_in_every_form(line: str, tmp_path: Path) -> None:
    package = tmp_path / "rtinterp"
    for room in ("tasks", "store"):
        (package / room).mkdir(parents=True)
    for path in ("__init__", "tasks/__init__", "store/__init__"):
        (package / f"{path}.py").touch()
    (package / "store/files.py").write_text("from rtinterp.tasks import base\n")
    (package / "tasks/base.py").write_text("")
    assert not against_the_flow(imports_of(package))
    (package / "tasks/base.py").write_text(f"{line}\n")
    ((name, _),) = against_the_flow(imports_of(package))
    assert name == "rtinterp.tasks.base"
    if line != "from rtinterp import RunStore":
        with pytest.raises(graphlib.CycleError):
            graphlib.TopologicalSorter(imports_of(package)).prepare()
