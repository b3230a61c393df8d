"""Drawing writes every file, trains nothing twice and does without a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import polars as pl
import pytest
from corpus_references import write_corpus
from rich.console import Console

from rtinterp.executors.sweep import Report, Sweep
from rtinterp.executors.workers import Workers
from rtinterp.figures import Figure, NoCorpusError, Paper
from rtinterp.figures.commands import command_line
from rtinterp.figures.draw import draw
from rtinterp.papers.random_transformers import FIGURES, PAPER
from rtinterp.store import RunStore, StoreError
from rtinterp.tasks import Corpus, open_corpus
from rtinterp.training.spec import RunSpec

N_SEEDS = 2


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-such-browser"))


def refuse_to_train(*_: object, **__: object) -> None:
    raise AssertionError("trained again")


class Links(HTMLParser):
    """Everything a page points to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if name in ("href", "src") and value]


def test_drawing_writes_tables_pages_and_an_index_whose_links_exist(
    tiny_store: RunStore, corpus: Corpus, out: Path, no_browser: None, capsys: pytest.CaptureFixture[str]
) -> None:
    draw([PAPER], tiny_store, out, scale="tiny", n_seeds=N_SEEDS, corpus=corpus, device="cpu")
    for name, figure in FIGURES.items():
        table = pl.read_csv(out / PAPER.name / "data" / f"{name}.csv")
        assert figure.experiment is None or table["seed"].n_unique() == N_SEEDS
        assert (out / PAPER.name / f"{name}.html").stat().st_size < 2**20, "plotly.js is shared"
    targets = Links((out / "index.html").read_text()).targets
    assert {f"{PAPER.name}/{name}.html" for name in FIGURES} <= set(targets)
    assert all((out / target).is_file() for target in targets if not target.startswith("#"))
    assert (out / "plotly.min.js").is_file()
    assert "No PNG and SVG images" in capsys.readouterr().err


def test_drawing_again_trains_nothing(
    tiny_store: RunStore, out: Path, no_browser: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtinterp.store.resumable.train_stack_kept", refuse_to_train)
    draw([PAPER.only(["figure7_width"])], tiny_store, out, scale="tiny", n_seeds=N_SEEDS, device="cpu")
    assert (out / PAPER.name / "figure7_width.html").is_file()


def test_a_missing_or_small_corpus_is_told_before_anything_is_trained(out: Path, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    figures = [PAPER.only(["figure3_embeddings", "figure4_language_loss"])]
    with pytest.raises(NoCorpusError, match="pass --corpus PATH"):
        draw(figures, store, out, scale="tiny", n_seeds=1, device="cpu")
    few = Corpus(("the cat sat.",) * 3, ("a dog ran.",))
    with pytest.raises(ValueError, match="fewer than d_vocab=300"):
        draw(figures, store, out, scale="tiny", n_seeds=1, corpus=few, device="cpu")
    assert not out.exists()
    assert not store.run_ids()


def test_no_file_says_where_the_corpus_lies(
    tiny_store: RunStore, corpus: Corpus, out: Path, no_browser: None, tmp_path: Path
) -> None:
    folder = write_corpus(tmp_path / "where the text lies", corpus)
    paper = PAPER.only([name for name, figure in FIGURES.items() if PAPER.needs_corpus(figure)])
    assert len(paper.figures) == 3
    draw([paper], tiny_store, out, scale="tiny", n_seeds=N_SEEDS, corpus=open_corpus(folder), device="cpu")
    for path in out.rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        assert str(tmp_path) not in text, path.name
        assert "where the text lies" not in text, path.name
    index = (out / "index.html").read_text()
    assert index.count("--seeds 2 --corpus PATH") == 3, "of each figure"


def test_only_figures_on_language_are_said_to_need_a_corpus(
    tiny_store: RunStore, corpus: Corpus, out: Path, no_browser: None
) -> None:
    figures = [PAPER.only(["figure3_embeddings", "figure4_language_loss"])]
    draw(figures, tiny_store, out, scale="tiny", n_seeds=N_SEEDS, corpus=corpus, device="cpu")
    index = (out / "index.html").read_text()
    assert "--scale tiny --seeds 2 --only figure3_embeddings<" in index
    assert "--scale tiny --seeds 2 --corpus PATH --only figure4_language_loss<" in index
    assert command_line("quick", 3) == "python analyses/make_figures.py --scale quick --seeds 3"


def test_what_was_drawn_before_stays_on_the_page(tiny_store: RunStore, out: Path, no_browser: None) -> None:
    for name in ("figure3_embeddings", "figure2_attention", "figure7_width"):
        draw([PAPER.only([name])], tiny_store, out, scale="tiny", n_seeds=N_SEEDS, device="cpu")
    table = out / PAPER.name / "data" / "figure7_width.csv"
    table.write_text("seed,columns\n0,of another version\n")
    other = Paper("theory", "Theory", {}, experiments={}, scales={"tiny": None})
    draw([other, PAPER.only(["table6_parameters"])], tiny_store, out, scale="tiny", n_seeds=N_SEEDS, device="cpu")
    page = (out / "index.html").read_text()
    listed = [target for target in Links(page).targets if target.endswith(".html")]
    drawn = ("figure3_embeddings", "figure2_attention", "table6_parameters")
    assert listed == [f"{PAPER.name}/{name}.html" for name in drawn], "in the paper's order, each once"
    assert page.count("--scale tiny --seeds 2 --only figure2_attention<") == 1


def test_a_figure_that_needs_no_runs_is_drawn_without_any(out: Path, no_browser: None, tmp_path: Path) -> None:
    def compute(runs: list) -> pl.DataFrame:
        assert runs == []
        return pl.DataFrame({"bound": ["a", "b"], "width": [6, 9]})

    def plot(table: pl.DataFrame) -> go.Figure:
        return go.Figure(go.Bar(x=table["bound"], y=table["width"]), {"width": 300, "height": 200})

    figure = Figure("bounds", "Bounds", "From theory.", experiment=None, compute=compute, plot=plot)
    paper = Paper("theory", "Theory", {"bounds": figure}, experiments={}, scales={"tiny": None})
    assert not paper.needs_corpus(figure)
    store = RunStore(tmp_path / "runs")
    draw([paper], store, out, scale="tiny", n_seeds=N_SEEDS, device="cpu")
    assert pl.read_csv(out / "theory" / "data" / "bounds.csv")["width"].to_list() == [6, 9]
    assert "From theory." in (out / "index.html").read_text()
    assert not store.run_ids()


def test_images_are_written_where_there_is_a_browser(tiny_store: RunStore, out: Path) -> None:
    from choreographer.browsers.chromium import Chromium

    if Chromium.find_browser(skip_local=False) is None:
        pytest.skip("no Chrome or Chromium here")
    draw([PAPER.only(["figure3_embeddings"])], tiny_store, out, scale="tiny", n_seeds=N_SEEDS, device="cpu")
    assert (out / PAPER.name / "figure3_embeddings.png").read_bytes().startswith(b"\x89PNG")
    assert "seed 1" in (out / PAPER.name / "figure3_embeddings.svg").read_text()


def test_a_damaged_run_costs_its_figures_and_no_others(
    tiny_store: RunStore, out: Path, no_browser: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore(shutil.copytree(tiny_store.path, tmp_path / "runs"))
    paper = PAPER.only(["figure2_attention", "figure3_embeddings"])
    figures = [paper.figures["figure2_attention"], paper.figures["figure3_embeddings"]]
    needed, others = ([spec.run_id for spec in PAPER.specs(figure, "tiny", N_SEEDS)] for figure in figures)
    victim = next(run_id for run_id in needed if run_id not in others)
    (store.path / victim / "history.csv").write_text("edited")
    with pytest.raises(StoreError, match=r"not drawn: figure2_attention; .*history\.csv: truncated or edited"):
        draw([paper], store, out, scale="tiny", n_seeds=N_SEEDS, device="cpu")
    assert f"figure2_attention: not drawn: {store.path / victim}/history.csv" in capsys.readouterr().err
    assert (out / PAPER.name / "figure3_embeddings.html").is_file()
    assert "figure2_attention" not in (out / "index.html").read_text()


def test_a_run_that_came_with_the_repository_is_not_trained_again(
    tiny_store: RunStore, out: Path, tmp_path: Path, no_browser: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = PAPER.figures["figure3_embeddings"]
    first, second = (spec.run_id for spec in PAPER.specs(figure, "tiny", N_SEEDS))
    shutil.copytree(tiny_store.path / first, tmp_path / "shipped" / "runs" / first)
    shutil.copytree(tiny_store.path / second, tmp_path / "runs" / second)
    monkeypatch.setattr("rtinterp.store.resumable.train_stack_kept", refuse_to_train)
    store, shipped = RunStore(tmp_path / "runs"), tmp_path / "shipped"
    draw([PAPER.only([figure.name])], store, out, scale="tiny", n_seeds=N_SEEDS, shipped=shipped, device="cpu")
    table = pl.read_csv(out / PAPER.name / "data" / f"{figure.name}.csv")
    assert set(table.select("seed", "source").unique().rows()) == {(0, "shipped"), (1, "trained here")}
    assert set(table["scale"]) == {"tiny"}
    drawing = (out / PAPER.name / f"{figure.name}.html").read_text()
    assert "tiny scale, 2 seeds, 1 run trained here, 1 shipped" in drawing


def listed(out: Path) -> list[str]:
    """The figures on the page, all of whose links exist; none if there is no page."""
    if not (out / "index.html").exists():
        return []
    page = (out / "index.html").read_text()
    assert page.rstrip().endswith("</html>")
    targets = Links(page).targets
    assert [target for target in targets if not target.startswith("#") and not (out / target).is_file()] == []
    return [name for name in FIGURES if f"{PAPER.name}/{name}.html" in targets]


SMALL = PAPER.only(["table7_explained_variance", "figure2_attention", "table6_parameters"])
#: What takes less training comes first.
IN_ORDER = ["table6_parameters", "figure2_attention", "table7_explained_variance"]


def as_listed(names: list[str]) -> list[str]:
    return [name for name in FIGURES if name in names]


@pytest.fixture
def handed_over(tiny_store: RunStore, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What ``train`` is asked for in this process; the runs come from the store that has all of them."""
    asked = []

    def train(specs: list[RunSpec], *, store: RunStore, **_: object) -> None:
        asked.append(specs)
        for spec in specs:
            store.save(tiny_store.load(spec))

    monkeypatch.setattr("rtinterp.figures.draw.train", train)
    return asked


def test_each_figure_is_on_the_page_before_the_next_is_trained(
    tiny_store: RunStore, out: Path, tmp_path: Path, no_browser: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_page = []

    def train(specs: list[RunSpec], *, store: RunStore, **_: object) -> None:
        on_page.append(listed(out))
        for spec in specs:
            store.save(tiny_store.load(spec))

    monkeypatch.setattr("rtinterp.figures.draw.train", train)
    draw([SMALL], RunStore(tmp_path / "runs"), out, scale="tiny", n_seeds=1, device="cpu")
    assert on_page == [as_listed(IN_ORDER[:1]), as_listed(IN_ORDER[:2])]
    assert listed(out) == as_listed(IN_ORDER)


def test_an_interrupt_leaves_a_page_of_what_was_drawn(
    tiny_store: RunStore,
    out: Path,
    tmp_path: Path,
    no_browser: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def train(specs: list[RunSpec], *, store: RunStore, **_: object) -> None:
        if len(listed(out)) == 2:
            raise KeyboardInterrupt
        for spec in specs:
            store.save(tiny_store.load(spec))

    monkeypatch.setattr("rtinterp.figures.draw.train", train)
    with pytest.raises(KeyboardInterrupt):
        draw([SMALL], RunStore(tmp_path / "runs"), out, scale="tiny", n_seeds=1, device="cpu")
    assert listed(out) == as_listed(IN_ORDER[:2])
    assert f"2 of 3 figures: {out / 'index.html'}" in capsys.readouterr().err


def test_figures_are_drawn_while_other_processes_train(
    tiny_store: RunStore,
    out: Path,
    tmp_path: Path,
    no_browser: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The pool of workers is a pretended one: it tells of one run after the other."""
    on_page, workers_asked_for = [], []

    def train(sweep: Sweep, workers: Workers, console: Console, meanwhile: Callable[[], None]) -> Report:
        workers_asked_for.append((workers.executor, workers.n_workers))
        for spec in sweep.specs:
            sweep.store.save(tiny_store.load(spec))
            meanwhile()
            on_page.append(listed(out))
        return Report(len(sweep.specs), [], ["a stack: no memory"])

    monkeypatch.setattr("rtinterp.figures.draw.train_in_processes", train)
    monkeypatch.setattr("rtinterp.store.resumable.train_stack_kept", refuse_to_train)
    draw([SMALL], RunStore(tmp_path / "runs"), out, scale="tiny", n_seeds=1, device="cpu", n_workers=3)
    first, second = (len(PAPER.specs(FIGURES[name], "tiny", 1)) for name in IN_ORDER[1:])
    assert first == 1
    assert on_page == [as_listed(IN_ORDER[:2])] * second + [as_listed(IN_ORDER)]
    assert workers_asked_for == [("loky", 3)]
    assert "not trained: a stack: no memory" in capsys.readouterr().err


def test_what_cannot_be_trained_elsewhere_is_left_to_this_process(
    out: Path, tmp_path: Path, no_browser: None, monkeypatch: pytest.MonkeyPatch, handed_over: list
) -> None:
    monkeypatch.setattr("rtinterp.figures.draw.train_in_processes", lambda *_: Report(0, [], ["no"]))
    draw([SMALL], RunStore(tmp_path / "runs"), out, scale="tiny", n_seeds=1, device="cpu", n_workers=2)
    assert list(map(len, handed_over)) == [len(PAPER.specs(FIGURES[name], "tiny", 1)) for name in IN_ORDER[1:]]
    assert listed(out) == as_listed(IN_ORDER)
