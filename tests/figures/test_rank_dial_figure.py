"""The rank dial: which runs are told apart, the least rank that is read off, and what the drawing shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from rtinterp.figures.provenance import with_provenance
from rtinterp.papers.mechanism import PAPER
from rtinterp.papers.mechanism.figure_rank_dial import FIGURE, KINDS, NOTHING, kind, least_sufficient_rank, plot
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.store.training import train
from rtinterp.tasks import DecimalAddition

if TYPE_CHECKING:
    from rtinterp.training.run import Run

TINY = "tiny"


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    specs = PAPER.experiments["rank_dial"](SCALES[TINY], 1, None)
    return train([spec for spec in specs if isinstance(spec.task, DecimalAddition)], device="cpu", progress=False)


@pytest.fixture(scope="module")
def table(runs: list[Run]) -> pl.DataFrame:
    return with_provenance(FIGURE.compute(runs), "quick", "shipped")


def test_runs_that_differ_in_their_rank_alone_are_told_apart(runs: list[Run], table: pl.DataFrame) -> None:
    assert len(table) == len(runs) == table["parametrisation"].n_unique()
    expected = [1 if run.spec.parametrisation is None else 0 for run in runs]
    assert [int(name == NOTHING) for name in table["restricted"]] == expected
    assert table.filter(pl.col("restricted") == NOTHING)["rank"].to_list() == [table["d_model"][0]]
    named = {spec.parametrisation and kind(spec.parametrisation) for spec in (run.spec for run in runs)}
    assert set(table["restricted"]) == {NOTHING, *named} - {None}
    assert {"all embeddings", "W_E", "W_pos", "W_U"} <= set(table["restricted"]) <= {NOTHING, *KINDS}


def test_the_least_rank_is_the_planted_one() -> None:
    rows = [
        {"restricted": name, "rank": rank, "accuracy": value, "floor_accuracy": 0.1}
        for name, values in {"all embeddings": {2: 0.1, 4: 0.97, 8: 1.0}, "W_E": {2: 0.2, 4: 0.3}}.items()
        for rank, value in values.items()
    ]
    rows.append({"restricted": NOTHING, "rank": 64, "accuracy": 1.0, "floor_accuracy": 0.1})
    table = pl.DataFrame(rows)
    assert least_sufficient_rank(table, "all embeddings") == 4
    assert least_sufficient_rank(table, "W_E") is None
    unlearnt = table.with_columns(pl.lit(0.1).alias("accuracy"))
    assert least_sufficient_rank(unlearnt, "all embeddings") is None


def test_the_drawing_has_a_line_for_every_kind_and_a_dot_for_every_run(table: pl.DataFrame) -> None:
    figure: Any = plot(table)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [trace.name for trace in lines] == list(KINDS)
    dots = [y for trace in figure.data if trace.mode == "markers" for y in trace.y]
    assert sorted(dots) == sorted(table.filter(pl.col("restricted") != NOTHING)["accuracy"].to_list())
