"""The README and the pages beside the code: what they tell a reader to type works and prints what they say."""

from __future__ import annotations

import functools
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from rtinterp.cli import main
from rtinterp.papers import PAPERS

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "analyses/README.md",
    "figures/README.md",
    "rtinterp/models/README.md",
    "rtinterp/store/README.md",
)
MOST_WORDS_OF_README = 1200
#: An accuracy differs between processors by a few test sequences.
TOLERANCE = 0.01

#: Commands that take longer than a minute, and the function that each would call, of which only the arguments are read.
LONG = {
    r"sweep (?!--plan)": "rtinterp.cli.sweep.sweep",
    r"figures": "rtinterp.cli.figures.figures",
    r"train spec": "rtinterp.cli.train._train",
}


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str, language: str) -> list[str]:
    """What stands between fences of a language, which is none for commands and what they print."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)
    return [block for written_in, block in blocks if written_in == language]


def commands_of(page: str) -> list[str]:
    """Lines to type, without their comments."""
    lines = [line.partition(" #")[0].strip() for block in blocks_of(page, "") for line in block.splitlines()]
    return [line for line in lines if line.startswith(("rtinterp ", "python analyses/", "make "))]


def typed() -> list[str]:
    return [command for page in PAGES for command in commands_of(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped runs, where commands and snippets leave what they write."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "figures").symlink_to(ROOT / "figures", target_is_directory=True)
    return folder


def run_snippets(page: str, folder: Path) -> str:
    blocks = blocks_of(page, "python")
    assert blocks
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", "\n".join(blocks)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_snippets_of_the_readme_print_what_it_says(folder: Path) -> None:
    printed = run_snippets("README.md", folder)
    promised = re.search(r"prints, .*?```\n(.*?)```", text_of("README.md"), re.DOTALL)
    assert promised is not None
    number = r"0?\.\d+"
    found, expected = printed[: len(promised[1])], promised[1]
    assert re.sub(number, "#", found).splitlines()[:3] == re.sub(number, "#", expected).splitlines()
    values = [[float(n) for n in re.findall(number, text)] for text in (found, expected)]
    assert values[0] == pytest.approx(values[1], abs=TOLERANCE)
    assert (folder / "runs").is_dir()


def test_the_snippets_on_regimes_run(folder: Path) -> None:
    assert run_snippets("rtinterp/models/README.md", folder) == "unembedding+mlp+norms\n"


@pytest.mark.parametrize("page", ["README.md", "rtinterp/store/README.md"])
def test_commands_are_accepted(
    page: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(folder)
    for line in commands_of(page):
        if line.startswith("make "):
            target = shlex.split(line)[1]
            subprocess.run(["make", "--dry-run", "--directory", ROOT, target], check=True, capture_output=True)
            continue
        command = re.sub(r"^python analyses/make_figures.py", "rtinterp figures", line).removeprefix("rtinterp ")
        with monkeypatch.context() as patched:
            for path in (path for pattern, path in LONG.items() if re.match(pattern, command)):
                only_read_arguments(path, patched)
            try:
                status = main(shlex.split(command))
            except SystemExit as exit_:
                status = exit_.code
        assert not status, (line, capsys.readouterr().err)


def only_read_arguments(path: str, patched: pytest.MonkeyPatch) -> None:
    module, _, name = path.rpartition(".")
    function = getattr(importlib.import_module(module), name)

    @functools.wraps(function)
    def do_nothing(*args: object, **kwargs: object) -> None:
        return None

    patched.setattr(path, do_nothing)


def test_every_long_command_is_typed_somewhere() -> None:
    commands = [re.sub(r"^(rtinterp |python analyses/make_)", "", command) for command in typed()]
    assert [pattern for pattern in LONG if not any(re.match(pattern, command) for command in commands)] == []


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        links = re.findall(r"\]\(([^)#]+?)\)", text_of(page))
        local = [link for link in links if "://" not in link]
        assert [link for link in local if not (ROOT / page).parent.joinpath(link).exists()] == [], page


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").split()) < MOST_WORDS_OF_README


def test_the_page_of_figures_says_at_what_scale_each_ships() -> None:
    page = text_of("figures/README.md")
    rows = re.findall(r"^\| \[.*?\]\((\S+)/(\w+)\.png\) `(\w+)` \|.*\| (.*?) \|$", page, re.MULTILINE)
    assert {row[2] for row in rows} == {name for paper in PAPERS.values() for name in paper.figures}
    for folder, picture, name, standing in rows:
        assert picture == name
        table = pl.read_csv(ROOT / "figures" / folder / "data" / f"{name}.csv", infer_schema_length=None)
        if "scale" not in table.columns:
            assert standing == "the paper's sizes"
            continue
        scales, n_seeds = sorted(table["scale"].unique()), table["seed"].n_unique()
        assert standing == f"{' and '.join(scales)}, {n_seeds} seed{'s' * (n_seeds > 1)}", name
