"""Tables that other processes compute are those of this one, to the bit; what they cannot do is done here."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import plotly.graph_objects as go
import polars as pl
import psutil
import pytest
from corpus_references import write_corpus

from rtinterp.figures import Figure
from rtinterp.figures import computing as computing_module
from rtinterp.figures.computing import Wanted, computed_elsewhere
from rtinterp.figures.draw import draw, redraw
from rtinterp.figures.figure import run_columns
from rtinterp.papers import mechanism
from rtinterp.papers.random_transformers import FIGURES, PAPER
from rtinterp.store import RunStore, StoreError
from rtinterp.tasks import Corpus, open_corpus
from rtinterp.training.run import Run

N_SEEDS = 2
#: One of them without runs.
WITHOUT_LANGUAGE = ["figure2_attention", "figure3_embeddings", "table6_parameters"]
NAMES = [*WITHOUT_LANGUAGE, "figure4_language_loss"]


@pytest.fixture(autouse=True)
def no_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-such-browser"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text", corpus)


def tables(out: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (out / PAPER.name / "data").glob("*.csv")}


def refuse(*_: object) -> None:
    raise AssertionError("computed here")


def test_tables_of_two_processes_are_those_of_one(
    tiny_store: RunStore, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers, redrawn = [PAPER.only(NAMES)], [PAPER.only(WITHOUT_LANGUAGE)]
    options = {"scale": "tiny", "n_seeds": N_SEEDS, "corpus": open_corpus(text), "corpus_path": str(text)}
    draw(papers, tiny_store, tmp_path / "one", **options, device="cpu")
    redraw(redrawn, tiny_store, tmp_path / "redrawn by one")
    for module in ("draw", "stored_tables"):
        monkeypatch.setattr(f"rtinterp.figures.{module}.compute_here", refuse)
    draw(papers, tiny_store, tmp_path / "two", **options, device="cpu", n_workers=2)
    redraw(redrawn, tiny_store, tmp_path / "redrawn by two", n_workers=2)
    assert {*NAMES} <= set(tables(tmp_path / "one"))
    assert {*WITHOUT_LANGUAGE} <= set(tables(tmp_path / "redrawn by one"))
    assert tables(tmp_path / "two") == tables(tmp_path / "one")
    assert tables(tmp_path / "redrawn by two") == tables(tmp_path / "redrawn by one")


def test_a_damaged_run_costs_its_figures_and_no_others(
    tiny_store: RunStore, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore(shutil.copytree(tiny_store.path, tmp_path / "runs"))
    paper = PAPER.only(["figure2_attention", "figure3_embeddings"])
    (victim,) = (spec.run_id for spec in PAPER.specs(paper.figures["figure2_attention"], "tiny", 1))
    (store.path / victim / "history.csv").write_text("edited")
    with pytest.raises(StoreError, match=r"not drawn: figure2_attention; .*history\.csv: truncated or edited"):
        draw([paper], store, out, scale="tiny", n_seeds=1, device="cpu", n_workers=2)
    assert f"figure2_attention: not drawn: {store.path / victim}/history.csv" in capsys.readouterr().err
    assert "figure3_embeddings" in tables(out)
    assert "figure2_attention" not in tables(out)


def lengths(runs: Sequence[Run]) -> pl.DataFrame:
    return pl.DataFrame([{**run_columns(run), "length": len(run.history)} for run in runs])


def broken(runs: Sequence[Run]) -> pl.DataFrame:
    raise ZeroDivisionError(f"{len(runs)} runs")


def of_compute(compute: Callable[[Sequence[Run]], pl.DataFrame], name: str) -> Figure:
    return dataclasses.replace(FIGURES["figure7_width"], name=name, compute=compute, plot=lambda _: go.Figure())


def test_what_no_other_process_can_import_is_computed_here(tiny_store: RunStore, out: Path) -> None:
    asked: list[int] = []

    def in_a_notebook(runs: Sequence[Run]) -> pl.DataFrame:
        asked.append(len(runs))
        return lengths(runs)

    computes = {"first": lengths, "second": lengths, "third": in_a_notebook}
    figures = {name: of_compute(compute, name) for name, compute in computes.items()}
    paper = dataclasses.replace(PAPER, figures=figures, listed=figures, compared={}, claims=())
    draw([paper], tiny_store, out, scale="tiny", n_seeds=1, device="cpu", n_workers=2)
    assert asked == [len(PAPER.specs(FIGURES["figure7_width"], "tiny", 1))]
    assert len(set(tables(out).values())) == 1


def test_an_error_comes_out_as_it_does_in_one_process(tiny_store: RunStore, out: Path) -> None:
    figures = {name: of_compute(compute, name) for name, compute in {"good": lengths, "bad": broken}.items()}
    paper = dataclasses.replace(PAPER, figures=figures, listed=figures, compared={}, claims=())
    with pytest.raises(ZeroDivisionError, match=r"\d runs"):
        draw([paper], tiny_store, out, scale="tiny", n_seeds=1, device="cpu", n_workers=2)
    assert set(tables(out)) == {"good"}


def test_an_interrupt_ends_the_processes(tiny_store: RunStore, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[psutil.Process] = []

    def interrupted(*_: object) -> None:
        began.extend(
            child for child in psutil.Process().children(recursive=True) if "popen_loky" in " ".join(child.cmdline())
        )
        raise KeyboardInterrupt

    monkeypatch.setattr("rtinterp.figures.draw.GrowingPage.add", interrupted)
    paper = PAPER.only(["figure2_attention", "figure7_width"])
    with pytest.raises(KeyboardInterrupt):
        draw([paper], tiny_store, out, scale="tiny", n_seeds=1, device="cpu", n_workers=2)
    assert began
    assert not psutil.wait_procs(began, timeout=30)[1]


@pytest.fixture
def handed_out(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, int]]]:
    """Pretends to be a pool that can do nothing: the function and the number of runs of every table it is asked for."""
    asked: list[list[tuple[str, int]]] = []

    def pretend(function: object, arguments: Iterable[str], n_workers: int) -> Iterator[tuple[int, list[None]]]:
        for number, text in enumerate(arguments):
            tasks = json.loads(text)
            asked.append([(task["module"].rpartition(".")[2], len(task["runs"])) for task in tasks])
            yield number, [None] * len(tasks)

    monkeypatch.setattr(computing_module, "in_processes", pretend)
    return asked


def wanted(*names: str) -> dict[str, Wanted]:
    paper = mechanism.PAPER
    return {
        name: Wanted(
            paper.figures[name], [(RunStore("none"), spec) for spec in paper.specs(paper.figures[name], "quick", 1)]
        )
        for name in names
    }


def test_what_takes_longest_comes_first_and_one_measurement_goes_to_one_process(handed_out: list) -> None:
    of_ranks = ("figure_rank_curves", "table_ranks", "table_variance_and_use")
    assert not list(computed_elsewhere(wanted("figure_warm_starts", of_ranks[0], "figure_circuits", *of_ranks[1:]), 2))
    assert handed_out == [[(name, 8) for name in of_ranks], [("figure_circuits", 8)], [("figure_warm_starts", 1)]]


def test_for_one_measurement_alone_no_other_process_begins(handed_out: list) -> None:
    assert not list(computed_elsewhere(wanted("figure_rank_curves", "table_ranks"), 2))
    assert handed_out == []
