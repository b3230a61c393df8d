"""The figures of the ladder, from planted tables: what is known stands where it belongs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import plotly.graph_objects as go
import polars as pl
import pytest
import torch

from rtinterp.analysis import propagation_table
from rtinterp.papers.ladder import figure_bodies, figure_depth_and_init, figure_map
from rtinterp.papers.ladder.bodies import BODIES, body_of
from rtinterp.papers.ladder.initial_values import INITIAL_VALUES, name_of, transformer
from rtinterp.papers.ladder.rungs import dial_of
from rtinterp.papers.ladder.tables import spec_row
from rtinterp.store.training import train
from rtinterp.training.spec import RunSpec, TrainSpec

#: By what trains, the median of each width; the seeds lie around it.
Medians = Mapping[str, Mapping[int, float]]


def rows_of(task: str, value: int, medians: Medians, **fields: str) -> pl.DataFrame:
    rung = dial_of(task).rung(value, fields)
    rows = [
        spec_row(spec, "cpu", median + shift, median + shift)
        for trainable, at_width in medians.items()
        for width, median in at_width.items()
        for spec, shift in zip(rung.runs(body_of("softmax", width), trainable, range(3)), (-0.2, 0, 0.001), strict=True)
    ]
    return pl.DataFrame(rows).select(pl.lit("quick").alias("scale"), pl.lit("shipped").alias("source"), pl.all())


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return pl.concat(
        [
            rows_of("sorting", 6, {"all": {32: 0.99, 16: 0.7}, "embeddings": {32: 0.5, 64: 0.8, 128: 0.999}}),
            rows_of("sorting", 12, {"all": {32: 0.999, 16: 0.995}, "embeddings": {32: 0.5, 64: 0.8, 128: 0.9}}),
            rows_of("group_word_problem", 12, {"all": {32: 0.4}, "embeddings": {32: 0.5, 128: 0.995}}, group="Z2"),
        ]
    )


def test_what_is_known_of_least_widths(table: pl.DataFrame) -> None:
    known = figure_map.thresholds(table)
    found = known.select("dial", "value", "trainable", "known", "below", "width").rows()
    assert found == [
        ("length", 6, "all", "exactly", 16, 32),
        ("length", 6, "embeddings", "exactly", 64, 128),
        ("length", 12, "all", "at most", None, 16),
        ("length", 12, "embeddings", "more than", 128, None),
        ("length", 12, "all", "more than", 32, None),
        ("length", 12, "embeddings", "open", 32, 128),
    ]
    places = [figure_map.place_of(row) for row in known.iter_rows(named=True)]
    assert places == [5, 7, 4, 7, 5, 6]


def test_the_map_has_a_line_for_every_task(table: pl.DataFrame) -> None:
    figure = figure_map.plot(table)
    lines = {trace.name: trace for trace in figure.data if trace.mode == "lines+markers+text"}
    assert set(lines) == {"Sorting", "Group word problem Z2"}
    sorting, words = lines["Sorting"], lines["Group word problem Z2"]
    assert list(zip(sorting.x, sorting.y, strict=True)) == [(5, 7), (4, 7)]
    assert list(sorting.text) == ["6", "12"]
    assert list(sorting.marker.symbol) == ["circle", "triangle-nw-open"], "at most 16, and more than 128"
    assert list(zip(words.x, words.y, strict=True)) == [(5, 6)]
    assert list(words.marker.symbol) == ["circle-open"]


def test_points_of_one_place_stand_side_by_side(table: pl.DataFrame) -> None:
    twin = table.filter(pl.col("value") == 6).with_columns(
        task=pl.lit("Multiplication(n_digits_a=2, n_digits_b=1)"), dial=pl.lit("digits")
    )
    figure = figure_map.plot(pl.concat([table, twin]))
    points = {trace.name: (trace.x[0], trace.y[0]) for trace in figure.data if trace.mode == "lines+markers+text"}
    half = figure_map.APART / 2
    assert points["Sorting"] == pytest.approx((5 - half, 7 + half))
    assert points["Multiplication"] == pytest.approx((5 + half, 7 - half))
    again = table.filter(pl.col("value") == 6).with_columns(
        pl.when(pl.col("trainable") == "all", pl.col("d_model") == 16)
        .then(0.995)
        .otherwise("accuracy")
        .alias("accuracy"),
        value=pl.lit(7, dtype=table.schema["value"]),
        task=pl.lit("Sorting(length=7)"),
    )
    lines = {trace.name: trace for trace in figure_map.plot(pl.concat([table, again])).data}
    assert len(set(zip(lines["Sorting"].x, lines["Sorting"].y, strict=True))) == 3, "of one task too"


def test_the_list_has_every_rung(table: pl.DataFrame) -> None:
    figure = figure_map.plot(table)
    names = list(figure.layout.yaxis2.ticktext)
    assert names == ["Sorting, length = 6", "Sorting, length = 12", "Group word problem Z2, length = 12"]
    points = {
        (trace.name, names[round(y)]): x
        for trace in figure.data
        if trace.xaxis == "x2"
        for x, y in zip(trace.x, trace.y, strict=True)
    }
    assert points == {
        ("w*, fully trained", names[0]): 5,
        ("W*, random transformer", names[0]): 7,
        ("w*: at most", names[1]): 4,
        ("W*: more than", names[1]): 7,
        ("w*: more than", names[2]): 5,
        ("W*: open", names[2]): 6,
    }


def points(figure: go.Figure, name: str) -> list[tuple[float, float]]:
    found = (
        zip(trace.x, trace.y, strict=True) for trace in figure.data if (trace.name, trace.mode) == (name, "markers")
    )
    return list(itertools.chain.from_iterable(found))


def test_bodies_stand_side_by_side() -> None:
    rung = dial_of("sorting").rung(6)
    specs = [
        run for name in BODIES for kind in ("embeddings", "all") for run in rung.runs(body_of(name, 16), kind, (0, 1))
    ]
    rows = [spec_row(spec, "cpu", number / len(specs), 0.0) for number, spec in enumerate(specs)]
    figure = figure_bodies.plot(pl.DataFrame(rows))
    alone, trained = (points(figure, name) for name in ("embeddings alone", "fully trained"))
    assert [y for _, y in sorted(alone + trained)] == [row["accuracy"] for row in rows], "bodies in order"
    assert [round(x) for x, _ in alone] == [place for place in range(len(BODIES)) for _ in range(2)]
    assert all(
        random < place < normal
        for (random, _), (normal, _) in zip(alone, trained, strict=True)
        for place in [round(random)]
    )


def test_depth_is_shown_by_initial_values() -> None:
    rung = dial_of("sorting").rung(6)
    specs = [
        run
        for depth in (2, 4)
        for name in INITIAL_VALUES
        for run in rung.runs(transformer(16, depth, name), "embeddings", (0,))
    ]
    rows = [
        spec_row(s, "cpu", i / 10, 0.0) | {"initial_values": name_of(s), "cosine": -i / 10} for i, s in enumerate(specs)
    ]
    figure = figure_depth_and_init.plot(pl.DataFrame(rows))
    n = len(INITIAL_VALUES)
    for place, name in enumerate(INITIAL_VALUES):
        above, below = ([place / 10, (place + n) / 10], [-place / 10, -(place + n) / 10])
        assert points(figure, name) == [*zip((2, 4), above, strict=True), *zip((2, 4), below, strict=True)]


def test_tokens_are_followed_before_training() -> None:
    task = dial_of("sorting").rung(6).task
    training = TrainSpec(n_steps=2, batch_size=4, n_warmup_steps=0, learning_rate=0.1)
    (run,) = train([RunSpec(task, transformer(8, 3), training)], device="cpu", progress=False)
    (row,) = figure_depth_and_init.compute([run]).rows(named=True)
    followed = propagation_table(run.initial_model, task.test_set().tokens[: figure_depth_and_init.N_ROWS])
    assert (row["cosine_before"], row["cosine"]) == pytest.approx((followed["cosine"][0], followed["cosine"][3]))
    trained = propagation_table(run.model, task.test_set().tokens[:8])["cosine"][3]
    assert not math.isclose(row["cosine"], trained, rel_tol=1e-3)
    assert row["initial_values"] == "GPT-2"
    assert row["accuracy"] == pytest.approx(run.test_accuracy)
    assert not torch.equal(run.model.W_E, run.initial_model.W_E)
