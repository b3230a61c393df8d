"""Redrawing without training: the best of what is stored, runs before tables."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from rtinterp.figures.draw import redraw
from rtinterp.figures.figure import with_scale
from rtinterp.figures.render import table_path, write_table
from rtinterp.figures.stored_tables import best_stored_table, standing_of
from rtinterp.papers.random_transformers import FIGURES, PAPER
from rtinterp.store import RunStore
from rtinterp.tasks import Corpus

N_SEEDS = 2


@pytest.fixture(scope="session")
def computed(tiny_store: RunStore, corpus: Corpus) -> dict[str, pl.DataFrame]:
    """Every figure's table from its runs."""
    tables = {}
    for name, figure in FIGURES.items():
        specs = PAPER.specs(figure, "tiny", N_SEEDS, corpus)
        tables[name] = figure.compute([tiny_store.load(spec) for spec in specs])
        if specs:
            tables[name] = with_scale(tables[name], "tiny")
    return tables


@pytest.fixture
def folder(out: Path) -> Path:
    """Where the drawings of the paper lie."""
    return out / PAPER.name


@pytest.fixture
def tables(computed: dict[str, pl.DataFrame], folder: Path) -> dict[str, pl.DataFrame]:
    """The same, also written."""
    for name, table in computed.items():
        write_table(table, name, folder)
    return computed


def some_of(store: RunStore, path: Path, *parts: str) -> RunStore:
    """A store with the runs whose ids begin with one of these."""
    for run_id in store.run_ids():
        if run_id.startswith(parts):
            shutil.copytree(store.path / run_id, path / run_id)
    return RunStore(path)


def test_every_figure_is_drawn_from_its_written_table_alone(tables: dict[str, pl.DataFrame], folder: Path) -> None:
    for name, figure in FIGURES.items():
        stored = best_stored_table(PAPER, figure, [], folder)
        assert figure.plot(stored).layout.title.text == figure.plot(tables[name]).layout.title.text


def test_runs_go_before_tables_of_the_same_standing(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, folder: Path
) -> None:
    name = "figure7_width"
    write_table(tables[name].with_columns(test_accuracy=pl.lit(0.123)), name, folder)
    table = best_stored_table(PAPER, FIGURES[name], [tiny_store], folder)
    assert table.equals(tables[name])
    assert standing_of(table) == ("tiny", N_SEEDS)


def test_a_table_of_more_seeds_goes_before_runs(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, folder: Path
) -> None:
    name = "figure7_width"
    table = tables[name]
    more = pl.concat([table, table.with_columns(seed=pl.col("seed") + N_SEEDS)])
    write_table(more, name, folder)
    assert len(best_stored_table(PAPER, FIGURES[name], [tiny_store], folder)) == len(more)


def test_a_larger_scale_goes_before_more_seeds(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, folder: Path
) -> None:
    name = "figure7_width"
    many = tables[name].with_columns(scale=pl.lit("quick"))
    write_table(pl.concat([many, many.with_columns(seed=pl.col("seed") + N_SEEDS)]), name, folder)
    assert best_stored_table(PAPER, FIGURES[name], [tiny_store], folder)["scale"].unique().to_list() == ["tiny"]


def test_models_that_are_stored_are_opened_and_the_rest_is_read(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, folder: Path, tmp_path: Path
) -> None:
    name, column = "table4_explained_variance", "share_principal_components"
    write_table(tables[name].with_columns(pl.lit(0.123).alias(column)), name, folder)
    random_adders = some_of(tiny_store, tmp_path / "some", "modular_addition-d24-embeddings")
    table = best_stored_table(PAPER, FIGURES[name], [random_adders], folder)
    opened = pl.col("task").str.starts_with("Modular") & (pl.col("trainable") == "embeddings")
    assert table.filter(opened).equals(tables[name].filter(opened))
    assert table.filter(~opened)[column].unique().to_list() == [0.123]
    assert table.select("task", "trainable", "seed", "site").equals(
        tables[name].select("task", "trainable", "seed", "site")
    )


def test_a_damaged_run_leaves_the_table_as_it_was(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, folder: Path, tmp_path: Path
) -> None:
    name = "figure3_embeddings"
    more = pl.concat([tables[name], tables[name].with_columns(seed=pl.col("seed") + N_SEEDS)])
    write_table(more, name, folder)
    store = some_of(tiny_store, tmp_path / "some", "modular_addition-d24-embeddings")
    for run_id in store.run_ids():
        (store.path / run_id / "trained.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"left out a damaged run.*trained\.safetensors"):
        assert len(best_stored_table(PAPER, FIGURES[name], [store], folder)) == len(more)


def test_a_table_of_an_unknown_scale_is_left_out(tables: dict[str, pl.DataFrame], folder: Path) -> None:
    name = "figure7_width"
    write_table(tables[name].drop("scale"), name, folder)
    with pytest.warns(UserWarning, match="does not say at which of the scales"):
        assert best_stored_table(PAPER, FIGURES[name], [], folder) is None


def test_redrawing_everything_from_tables(
    tables: dict[str, pl.DataFrame], folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-such-browser"))
    before = {name: table_path(name, folder).read_bytes() for name in FIGURES}
    redraw([PAPER], [RunStore(tmp_path / "none")], out)
    assert {name: table_path(name, folder).read_bytes() for name in FIGURES} == before
    page = (out / "index.html").read_text()
    assert "--scale tiny --seeds 2 --only figure7_width" in page
    assert "The paper beside ours" in page


def test_drawing_one_figure_keeps_the_rest_of_the_comparison(
    tables: dict[str, pl.DataFrame], folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-such-browser"))
    redraw([PAPER], [], out)
    everything = table_path("paper_vs_ours", folder).read_bytes()
    redraw([PAPER.only(["table1_accuracy"])], [], out)
    assert table_path("paper_vs_ours", folder).read_bytes() == everything


def test_nothing_to_draw_from_is_told(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="nothing was drawn"):
        redraw([PAPER.only(["figure7_width"])], [RunStore(tmp_path / "none")], out)
    assert "--scale quick trains what it needs" in capsys.readouterr().err
