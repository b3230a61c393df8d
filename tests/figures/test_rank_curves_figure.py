"""How few directions suffice: what must hold whatever the models have learnt, and what the drawings show."""

from __future__ import annotations

import polars as pl
import pytest

from rtinterp.papers.mechanism import FIGURES, PAPER, rank_measurements, table_ranks, table_variance_and_use
from rtinterp.papers.mechanism.bases import BASES, FOUND
from rtinterp.papers.mechanism.figure_rank_curves import compute, plot
from rtinterp.papers.mechanism.rank_measurements import measured
from rtinterp.store import RunStore
from rtinterp.training.run import Run

TINY = "tiny"
TASKS = ("modular_addition", "needle_in_a_haystack")


@pytest.fixture(scope="module")
def runs(tiny_store: RunStore) -> list[Run]:
    """Two seeds of random transformers of one task, one of each kind of the other."""
    specs = PAPER.specs(FIGURES["figure_rank_curves"], TINY, 2)
    chosen = [spec for spec in specs if spec.task.name == TASKS[0] and spec.trainable == "embeddings"]
    chosen += [spec for spec in specs if spec.task.name == TASKS[1] and spec.seed == 0]
    assert len(chosen) == 4
    return [tiny_store.load(spec.run_id) for spec in chosen]


@pytest.fixture(scope="module")
def table(runs: list[Run]) -> pl.DataFrame:
    return compute(runs)


def test_every_run_has_every_basis_and_another_seed_where_there_is_one(table: pl.DataFrame) -> None:
    for _, of_run in table.group_by("task", "trainable", "seed"):
        expected = set(BASES) - ({"other seed"} if of_run["task"][0].startswith("Needle") else set())
        embedding = of_run.filter(pl.col("site") == "blocks.0.hook_resid_pre")
        assert set(embedding["basis"]) == expected
        assert set(embedding.filter(pl.col("effect") == "remove")["basis"]) == {*FOUND, "random"}
        assert of_run["site"].n_unique() == 5
        after_attention = of_run.filter(pl.col("site").str.ends_with("resid_mid"))
        assert set(after_attention["basis"]) == {*FOUND, "random"}
        assert set(after_attention["effect"]) == {"keep"}


def test_all_directions_are_the_intact_model_and_none_are_the_mean(table: pl.DataFrame) -> None:
    d_model = table["d_model"][0]
    whole = table.filter((pl.col("effect") == "keep") & (pl.col("rank") == d_model))
    untouched = table.filter((pl.col("effect") == "remove") & (pl.col("rank") == 0))
    for rows in (whole, untouched):
        # Rounding may turn a few near ties of models that have hardly learnt anything.
        assert ((rows["accuracy"] - rows["intact"]).abs() <= 0.02).all()
        assert (rows["kl_divergence"].abs() < 1e-4).all()
    of_none = table.filter((pl.col("effect") == "keep") & (pl.col("rank") == 0))
    of_all = table.filter((pl.col("effect") == "remove") & (pl.col("rank") == d_model))
    both = of_none.join(of_all, on=["task", "trainable", "seed", "site", "basis"], suffix="_removed")
    assert len(both) == len(of_all)
    assert ((both["cross_entropy"] - both["cross_entropy_removed"]).abs() <= 1e-3).all()


def test_principal_directions_have_most_of_the_variance_at_every_rank(table: pl.DataFrame) -> None:
    keys = ["task", "trainable", "seed", "site", "rank"]
    largest = table.filter(pl.col("basis") == "principal").group_by(keys).agg(pl.col("variance").max())
    others = table.filter(pl.col("basis") != "principal").join(largest, on=keys, suffix="_principal")
    assert (others["variance"] <= others["variance_principal"] + 1e-6).all()
    by_basis = table.filter(pl.col("effect") == "keep").partition_by("basis", as_dict=True)
    matched = by_basis["matched",].join(by_basis["sensitive",], on=keys, suffix="_sensitive")
    assert len(matched) > 0
    assert ((matched["variance"] - matched["variance_sensitive"]).abs() < 1e-3).all()


def test_what_several_figures_show_is_measured_once(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured(runs)
    monkeypatch.setattr(rank_measurements, "_measure", None)
    for before, again in zip(first, measured(runs), strict=True):
        assert before is again
    with pytest.raises(TypeError):
        measured(runs[:1])  # without another seed beside it, the measurement is another


def test_least_ranks_are_those_of_the_curves(runs: list[Run], table: pl.DataFrame) -> None:
    ranks = table_ranks.compute(runs)
    assert set(ranks["basis"]) == set(BASES) - {"matched"}
    learnt = ranks.filter(pl.col("intact") > pl.col("floor_accuracy"))
    keys = ["task", "trainable", "seed", "site", "basis"]
    curves = table.filter(pl.col("effect") == "keep").join(learnt, on=keys)
    for name, share in (("k50", 0.5), ("k95", 0.95)):
        enough = pl.col("floor_accuracy") + share * (pl.col("intact") - pl.col("floor_accuracy"))
        after = curves.filter(pl.col("rank") >= pl.col(name))
        assert (after.select(pl.col("accuracy") >= enough - 1e-9).to_series()).all()
    assert (ranks.filter(pl.col("intact") <= pl.col("floor_accuracy"))["k95"].is_null()).all()


def test_bases_are_compared_where_each_suffices(runs: list[Run]) -> None:
    sites, ranks = table_variance_and_use.compute(runs), table_ranks.compute(runs)
    assert len(sites) == 5 * len(runs)
    k95 = ranks.pivot(on="basis", index=["task", "trainable", "seed", "site"], values="k95")
    both = sites.join(k95, on=["task", "trainable", "seed", "site"])
    assert both["k95_principal"].equals(both["principal"], null_equal=True)
    known = sites.drop_nulls("overlap")
    assert known["overlap"].is_between(0, 1).all()
    larger = known.select(pl.max_horizontal("k95_principal", "k95_sensitive") / pl.col("d_model")).to_series()
    assert ((known["expected_overlap"] - larger).abs() < 1e-9).all()
    assert (known["random_min"] <= known["random_median"]).all()
    assert (known["random_median"] <= known["random_max"]).all()


def test_the_drawing_has_the_medians_over_seeds(table: pl.DataFrame) -> None:
    figure = plot(table)
    assert {trace.name for trace in figure.data if trace.showlegend} == set(BASES.values())
    first = table.filter(
        (pl.col("task") == table["task"][0]) & (pl.col("site") == table["site"][0]) & (pl.col("basis") == "random")
        & (pl.col("effect") == "remove") & (pl.col("rank") == 4)
    )  # fmt: skip
    assert len(first) == 2
    trace = next(trace for trace in figure.data if trace.name == BASES["random"] and trace.line.dash == "dot")
    assert trace.y[list(trace.x).index(4)] == pytest.approx(first["accuracy"].median())


def test_tables_tell_what_was_not_learnt(runs: list[Run]) -> None:
    ranks = table_ranks.compute(runs)
    learnt = ranks.with_columns(intact=1.0, heuristic_accuracy=0.5, k95=pl.lit(7), k50=pl.lit(3))
    for table, told in ((ranks.with_columns(intact=0.0), {table_ranks.NOT_LEARNT}), (learnt, {"7", "3"})):
        (drawn,) = table_ranks.plot(table).to_dict()["data"]
        cells = {cell for column in drawn["cells"]["values"][1:] for cell in column if cell}
        assert all(any(word in cell for word in told) for cell in cells)
    (drawn,) = table_variance_and_use.plot(table_variance_and_use.compute(runs)).to_dict()["data"]
    assert len(drawn["cells"]["values"]) == len(table_variance_and_use.HEADER)


def test_axes_have_titles_and_heuristics_are_named_beside_the_panels(table: pl.DataFrame) -> None:
    layout = plot(table).to_dict()["layout"]
    axes = {name: axis["title"]["text"] for name, axis in layout.items() if "axis" in name and "title" in axis}
    assert {text for name, text in axes.items() if name.startswith("x")} == {"k directions"}
    assert axes["yaxis"] == "accuracy"
    names = [note for note in layout["annotations"] if note["text"].replace("<br>", " ") in set(table["heuristic"])]
    assert len(names) == len(table.select("task", "trainable").unique())
    assert all(note["x"] > 1 and note["xref"].endswith(" domain") for note in names)
