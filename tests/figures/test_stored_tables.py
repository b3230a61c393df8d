"""Redrawing without training: each row at the best scale that is stored, runs before tables, and whose they are."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from rtinterp.figures.draw import redraw
from rtinterp.figures.provenance import origins, with_provenance
from rtinterp.figures.render import table_path, write_table
from rtinterp.figures.stored_tables import best_stored_table
from rtinterp.papers.random_transformers import FIGURES, PAPER
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.store import RunStore
from rtinterp.tasks import Corpus

N_SEEDS = 2


@pytest.fixture(scope="session")
def computed(tiny_store: RunStore, corpus: Corpus) -> dict[str, pl.DataFrame]:
    """Every figure's table from its runs, as the repository may bring it along."""
    tables = {}
    for name, figure in FIGURES.items():
        specs = PAPER.specs(figure, "tiny", N_SEEDS, corpus)
        tables[name] = figure.compute([tiny_store.load(spec) for spec in specs])
        if specs:
            tables[name] = with_provenance(tables[name], "tiny", "shipped")
    return tables


@pytest.fixture
def shipped(out: Path) -> Path:
    """What came with the repository."""
    return out


@pytest.fixture
def folder(shipped: Path) -> Path:
    """Where the shipped drawings of the paper lie."""
    return shipped / PAPER.name


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What a user draws."""
    return tmp_path / "results"


@pytest.fixture
def none(tmp_path: Path) -> RunStore:
    """A user's store without runs."""
    return RunStore(tmp_path / "none")


@pytest.fixture
def tables(computed: dict[str, pl.DataFrame], folder: Path) -> dict[str, pl.DataFrame]:
    """The same tables, also written, as older versions did: without the column that says whose they are."""
    for name, table in computed.items():
        write_table(table.select(pl.exclude("source")), name, folder)
    return computed


@pytest.fixture
def found(shipped: Path, results: Path, none: RunStore):
    """The best table of a figure."""

    def find(name: str, store: RunStore = none, corpus: Corpus | None = None) -> pl.DataFrame:
        return best_stored_table(PAPER, FIGURES[name], origins(store, results, shipped), corpus)

    return find


def assert_same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """But for what a csv file rounds off and does not know: the last decimals, and how long an integer is."""
    assert_frame_equal(found, expected, abs_tol=1e-5, check_dtypes=False)


def mine(table: pl.DataFrame) -> pl.DataFrame:
    """The same rows, of runs that were trained here."""
    return table.with_columns(source=pl.lit("trained here"))


def some_of(store: RunStore, path: Path, *parts: str) -> RunStore:
    """A store with the runs whose ids begin with one of these."""
    for run_id in store.run_ids():
        if run_id.startswith(parts):
            shutil.copytree(store.path / run_id, path / run_id)
    return RunStore(path)


def test_every_figure_is_drawn_from_its_shipped_table_alone(tables: dict[str, pl.DataFrame], found) -> None:
    for name, figure in FIGURES.items():
        table = found(name)
        assert table.columns == tables[name].columns
        assert table.select(pl.col(pl.String)).equals(tables[name].select(pl.col(pl.String)))
        title = figure.plot(table).layout.title.text
        assert title == figure.plot(tables[name]).layout.title.text
        assert figure.experiment is None or "tiny scale, 2 seeds, shipped" in title


def test_runs_go_before_tables_and_say_whose_they_are(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, folder: Path, found
) -> None:
    name = "figure7_width"
    write_table(tables[name].with_columns(test_accuracy=pl.lit(0.123)), name, folder)
    assert found(name, tiny_store).equals(mine(tables[name]))
    assert "tiny scale, 2 seeds, trained here" in FIGURES[name].plot(found(name, tiny_store)).layout.title.text


def test_what_came_with_the_repository_is_read_and_only_what_no_table_has_is_computed(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, shipped: Path, results: Path, none: RunStore, capsys
) -> None:
    name = "figure7_width"
    some_of(tiny_store, shipped / "runs", "")
    theirs = origins(none, results, shipped)
    table = best_stored_table(PAPER, FIGURES[name], theirs)
    assert table is not None
    assert_same(table, tables[name])
    assert "computing" not in capsys.readouterr().err
    table_path(name, shipped / PAPER.name).unlink()
    table = best_stored_table(PAPER, FIGURES[name], theirs)
    assert table is not None
    assert table.equals(tables[name])


def test_what_is_drawn_among_what_is_shipped_is_shipped(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, shipped: Path
) -> None:
    name = "figure7_width"
    table = best_stored_table(PAPER, FIGURES[name], origins(tiny_store, shipped, shipped))
    assert table.equals(tables[name])


def test_seeds_of_several_sources_stand_together_and_are_told_apart(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, folder: Path, found
) -> None:
    name = "figure7_width"
    more = pl.concat([tables[name], tables[name].with_columns(seed=pl.col("seed") + N_SEEDS)])
    write_table(more, name, folder)
    table = found(name, tiny_store)
    assert len(table) == len(more)
    of_source = {source: set(rows["seed"]) for (source,), rows in table.group_by("source")}
    assert of_source == {"trained here": {0, 1}, "shipped": {2, 3}}
    n = len(tables[name])
    assert f"tiny scale, 4 seeds, {n} runs trained here, {n} shipped" in FIGURES[name].plot(table).layout.title.text


def test_a_larger_scale_goes_before_more_seeds(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, folder: Path, found
) -> None:
    name = "figure7_width"
    many = tables[name].with_columns(scale=pl.lit("quick"))
    write_table(pl.concat([many, many.with_columns(seed=pl.col("seed") + N_SEEDS)]), name, folder)
    assert found(name, tiny_store)["scale"].unique().to_list() == ["tiny"]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> str:
    """A scale larger than all others, which has the tiny one's sizes."""
    monkeypatch.setitem(SCALES, "large", SCALES["tiny"])
    return "large"


def is_adder(table: pl.DataFrame) -> pl.Series:
    """Which rows are of the wide random transformers that add modulo p."""
    at = pl.col("task").str.starts_with("ModularAddition") & (pl.col("body") == "transformer")
    return table.select(at & (pl.col("d_model") == 24) & (pl.col("trainable") == "embeddings")).to_series()


def with_adders_at(scale: str, table: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The table with some of its rows again at another scale; these rows."""
    adders = table.filter(is_adder(table)).with_columns(scale=pl.lit(scale))
    return pl.concat([table, adders]), adders


def test_each_row_stands_at_its_own_best_scale(
    tables: dict[str, pl.DataFrame], folder: Path, large: str, found
) -> None:
    """Table 4 has a row for each task and regime."""
    name = "table4_explained_variance"
    both, adders = with_adders_at(large, tables[name])
    write_table(both, name, folder)
    table = found(name)
    assert_same(table.filter(is_adder(table)), adders)
    others = tables[name].filter(~is_adder(tables[name]))
    assert_same(table.filter(~is_adder(table)), others)
    plotted = FIGURES[name].plot(table)
    first, *rest = plotted.data[0].cells["values"][0]
    assert "large scale, 2 seeds, shipped" in first
    assert all("tiny scale, 2 seeds, shipped" in cell for cell in rest)
    for scale in ("large", "tiny"):
        assert f"{scale} scale, 2 seeds, shipped · width" in plotted.layout.title.text


def test_what_is_stored_of_a_row_at_a_larger_scale_stands_above_the_whole_row(
    tables: dict[str, pl.DataFrame], folder: Path, large: str, found
) -> None:
    """Table 1 has a row for each task, and of one task one model of several at the larger scale."""
    name = "table1_accuracy"
    both, adders = with_adders_at(large, tables[name])
    write_table(both, name, folder)
    table = found(name)
    assert_same(table, pl.concat([adders, tables[name]]))
    write_table(tables[name].with_columns(scale=pl.lit(large)), name, folder)
    assert found(name)["scale"].unique().to_list() == [large]


def test_a_drawing_without_rows_stands_at_one_scale(
    tables: dict[str, pl.DataFrame], folder: Path, large: str, found
) -> None:
    name = "figure7_width"
    both, _ = with_adders_at(large, tables[name])
    write_table(both, name, folder)
    assert_same(found(name), tables[name])


def test_models_that_are_stored_are_opened_and_the_rest_is_read(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, folder: Path, tmp_path: Path, found, capsys
) -> None:
    name, column = "table4_explained_variance", "share_principal_components"
    write_table(tables[name].with_columns(pl.lit(0.123).alias(column)), name, folder)
    table = found(name, some_of(tiny_store, tmp_path / "some", "modular_addition-d24-embeddings"))
    assert re.fullmatch(rf"{name}: computing from \d stored runs?\n", capsys.readouterr().err), "what lasts is told"
    opened = is_adder(table)
    assert_same(table.filter(opened), mine(tables[name].filter(is_adder(tables[name]))))
    assert table.filter(~opened)[column].unique().to_list() == [0.123]
    assert table.filter(~opened)["source"].unique().to_list() == ["shipped"]
    assert table.select("task", "trainable", "seed", "site").equals(
        tables[name].select("task", "trainable", "seed", "site")
    )


def test_some_models_alone_are_what_they_are_among_all(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, tmp_path: Path, found
) -> None:
    """The narrow models are narrow although no wider ones are stored."""
    name = "table1_accuracy"
    table = found(name, some_of(tiny_store, tmp_path / "some", "modular_addition-d16"))
    assert table["source"].unique().sort().to_list() == ["shipped", "trained here"]
    assert_same(table.select(pl.exclude("source")), tables[name].select(pl.exclude("source")))


def test_own_earlier_drawings_are_used_where_the_runs_are_gone(
    computed: dict[str, pl.DataFrame], results: Path, found
) -> None:
    name = "figure7_width"
    write_table(mine(computed[name]), name, results / PAPER.name)
    assert_same(found(name), mine(computed[name]))
    write_table(computed[name], name, results / PAPER.name)
    assert found(name) is None, "a copy of what was shipped once is not ours"


def test_stored_seeds_are_counted_from_the_first_that_the_scale_reports(
    computed: dict[str, pl.DataFrame], tiny_store: RunStore, monkeypatch: pytest.MonkeyPatch, found
) -> None:
    """Of seeds 0 and 1, both stored, a scale chosen on seed 0 shows the other."""
    name = "figure3_embeddings"
    monkeypatch.setitem(SCALES, "tiny", dataclasses.replace(SCALES["tiny"], first_seed=1))
    assert found(name, tiny_store).equals(mine(computed[name].filter(pl.col("seed") == 1)))
    monkeypatch.setitem(SCALES, "tiny", dataclasses.replace(SCALES["tiny"], first_seed=2))
    assert found(name, tiny_store) is None


def test_a_damaged_run_leaves_the_table_as_it_was(
    tables: dict[str, pl.DataFrame], tiny_store: RunStore, tmp_path: Path, found
) -> None:
    name = "figure3_embeddings"
    store = some_of(tiny_store, tmp_path / "some", "modular_addition-d24-embeddings")
    for run_id in store.run_ids():
        (store.path / run_id / "trained.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"left out a damaged run.*trained\.safetensors"):
        assert_same(found(name, store), tables[name])


def test_a_table_of_an_unknown_scale_is_left_out(tables: dict[str, pl.DataFrame], folder: Path, found) -> None:
    name = "figure7_width"
    write_table(tables[name].drop("scale"), name, folder)
    with pytest.warns(UserWarning, match="does not say at which of the scales"):
        assert found(name) is None


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-such-browser"))


def test_redrawing_everything_changes_nothing_that_is_shipped(
    tables: dict[str, pl.DataFrame], shipped: Path, folder: Path, results: Path, none: RunStore, no_browser: None
) -> None:
    (folder / "figure7_width.png").write_bytes(b"as shipped")
    (results / PAPER.name).mkdir(parents=True)
    (results / PAPER.name / "figure7_width.png").write_bytes(b"of an earlier table")
    before = {path: path.read_bytes() for path in shipped.rglob("*") if path.is_file()}
    redraw([PAPER], none, results, shipped=shipped)
    assert {path: path.read_bytes() for path in shipped.rglob("*") if path.is_file()} == before
    for name, figure in FIGURES.items():
        table = pl.read_csv(table_path(name, results / PAPER.name), infer_schema_length=None)
        assert figure.experiment is None or table["source"].unique().to_list() == ["shipped"]
    assert not list(results.rglob("*.png")), "an earlier picture beside a new table"
    page = (results / "index.html").read_text()
    assert "--scale tiny --seeds 2 --only figure7_width" in page
    assert "What is claimed, and whether it holds here" in page
    assert "The paper beside ours" not in page, "nothing tiny is"
    assert ".png" not in page


def test_drawing_one_figure_keeps_the_rest_of_the_claims_and_no_comparison_of_former_sizes(
    tables: dict[str, pl.DataFrame], shipped: Path, results: Path, none: RunStore, no_browser: None
) -> None:
    compared, claimed = (table_path(name, results / PAPER.name) for name in ("paper_vs_ours", "claims"))
    compared.parent.mkdir(parents=True)
    compared.write_text("quantity,paper,ours_median\nof a toy,100,99\n")
    redraw([PAPER], none, results, shipped=shipped)
    everything = claimed.read_bytes()
    assert len(set(pl.read_csv(claimed)["claim"])) == len(PAPER.claims)
    redraw([PAPER.only(["table1_accuracy"])], none, results, shipped=shipped)
    assert claimed.read_bytes() == everything
    assert pl.read_csv(compared).is_empty()


def test_nothing_to_draw_from_is_told(results: Path, none: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="nothing was drawn"):
        redraw([PAPER.only(["figure7_width"])], none, results)
    assert "--scale quick trains what it needs" in capsys.readouterr().err
