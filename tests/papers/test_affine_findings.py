"""What figures/affine_recurrences/README.md says is what the shipped tables hold."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

FOLDER = Path(__file__).parents[2] / "figures" / "affine_recurrences"
PAGE = " ".join((FOLDER / "README.md").read_text(encoding="utf-8").split())
NUMBER = r"(-?[\d.]+)"


def table(name: str) -> pl.DataFrame:
    return pl.read_csv(FOLDER / "data" / f"{name}.csv", infer_schema_length=None)


def said(pattern: str) -> list[float]:
    """The numbers in the one place of the page that reads so; # stands for a number."""
    (found,) = re.findall(re.escape(pattern).replace(r"\#", NUMBER), PAGE)
    return [float(number.rstrip(".")) for number in ([found] if isinstance(found, str) else found)]


def reading(name: str, state: str = "trained", n_steps: int = 1000) -> list[float]:
    readings = table("table_readings").filter(pl.col("n_steps") == n_steps)
    chosen = readings.filter(pl.col("reading") == name, pl.col("state") == state)
    return sorted(chosen["value"].to_list())


def ablated(part: str, effect: str) -> list[float]:
    rows = table("figure_ablated_parts").filter(pl.col("part") == part, pl.col("effect") == effect)
    return [rows["value"].to_list()[i] for i in rows["value"].arg_sort()][:: len(rows) - 1]


def test_readings() -> None:
    assert said("errors are # to # times smaller") == pytest.approx(reading("learnt")[::2], abs=0.5)
    assert said("explain # to # % of what") == pytest.approx(
        [100 * x for x in reading("copying: estimate")[::2]], abs=0.05
    )
    assert said("gives it # to # of its attention") == pytest.approx(reading("copying: pairs")[::2], abs=0.005)
    away = reading("negative: looks away")[::-2]
    assert said("by correlations of # to # for the lowest") == pytest.approx(away, abs=0.005)
    before = reading("negative: looks away", "untrained")[::-2]
    assert said("of each seed (# to # before training)") == pytest.approx(before, abs=0.005)
    readings = table("table_readings").filter(pl.col("state") == "trained")
    for n_steps, pairs in ((1000, 2), (3000, 3)):
        held = readings.filter(pl.col("n_steps") == n_steps).group_by("reading").agg(pl.col("holds").sum())
        assert dict(held.rows()) == {
            "learnt": 3,
            "copying: estimate": 3,
            "copying: pairs": pairs,
            "negative: looks away": 0,
            "negative: writes opposite": 0,
        }


def test_longer_training() -> None:
    learnt = reading("learnt", n_steps=3000)[::2]
    assert said("After 3,000 steps they are # to # times") == pytest.approx(learnt, abs=0.5)
    pairs = reading("copying: pairs", n_steps=3000)[::2]
    assert said("train for 3,000 steps it gives # to #:") == pytest.approx(pairs, abs=0.005)
    away = reading("negative: looks away", n_steps=3000)[::-2]
    assert said("nor is it after 3,000 steps (# to #)") == pytest.approx(away, abs=0.005)


def test_least_squares_explain_nearly_as_much() -> None:
    rows = table("figure_layer_lens").filter(
        pl.col("state") == "trained", pl.col("layer") == 0, pl.col("predictor") == "least squares"
    )
    assert said("nearly as much (median # %)") == pytest.approx([100 * rows["r2"].to_numpy().mean()], abs=1.5)


def test_causes() -> None:
    assert said("the error is # to #, about") == pytest.approx(ablated("layer 2", "mean"), abs=5e-4)
    assert said("without layer 1 it is # to #;") == pytest.approx(ablated("layer 1", "mean"), abs=5e-4)
    assert said("without layer 0 # to #, worse") == pytest.approx(ablated("layer 0", "mean"), abs=5e-3)
    copying = table("figure_ablated_parts")["copying"][0]
    assert said("about copying's (#)") == pytest.approx([copying], abs=5e-4)
    for words, effect in (("brings # to # % of the way", "patch offset"), ("and # to # % in a", "patch matrix")):
        assert said(words) == pytest.approx([100 * way for way in ablated("layer 0", effect)], abs=0.5)


def test_the_heads_that_write_the_opposite() -> None:
    heads = table("figure_comparing_heads").filter(pl.col("state") == "trained", pl.col("layer") == 2).sort("gain")
    assert said("largest negative gain (# and #, in two seeds)") == pytest.approx(heads["gain"][:2].to_list(), abs=5e-3)
    assert said("a little (# and #)") == pytest.approx(heads["similarity_correlation"][:2].to_list(), abs=5e-3)


def test_where_growing_sequences_are_lost() -> None:
    errors = table("figure_next_term_errors").filter(pl.col("law") == "growing")
    medians = errors.group_by("estimator", "position").agg(pl.col("mse").median())
    at = {(name, position): mse for name, position, mse in medians.rows()}
    better = [position for position in range(19) if at["trained", position] < at["copy", position]]
    assert better == list(range(7)), "positions count from 0: the first term is read at 0"


def test_regimes() -> None:
    runs = table("figure_regimes").filter(pl.col("body") == "transformer")

    def ends(trainable: str, d_model: int) -> list[float]:
        errors = sorted(runs.filter(pl.col("trainable") == trainable, pl.col("d_model") == d_model)["mse"].to_list())
        assert len(errors) == 3
        return [errors[0], errors[-1]]

    copying = runs["copy"][0]
    assert said("on which copying's error is #)") == pytest.approx([copying], abs=5e-4)
    assert said("no better than copying (# to #)") == pytest.approx(ends("embeddings", 16), abs=5e-4)
    assert said("its error is # to #, and") == pytest.approx(ends("embeddings", 32), abs=5e-5)
    wide = ends("embeddings", 64)
    assert said("and of width 64 # to #, 11") == pytest.approx(wide, abs=5e-5)
    assert said("#, # to # times below")[1:] == pytest.approx([copying / wide[1], copying / wide[0]], abs=0.5)
    assert said("errors are # to # at width 64, beside") == pytest.approx(ends("frozen_qk", 64), abs=5e-6)
    assert said("beside # to # of fully trained") == pytest.approx(ends("all", 64), abs=5e-6)
    others = table("figure_regimes").filter(pl.col("body").str.contains("random mixing"))

    def of_mixing(sink: bool, d_model: int) -> list[float]:
        of_body = others.filter(pl.col("body").str.contains("sink") == sink, pl.col("d_model") == d_model)["mse"]
        assert len(of_body) == 3
        return [min(of_body.to_list()), max(of_body.to_list())]

    assert said("they are # to # at width 64, as") == pytest.approx(of_mixing(False, 64), abs=5e-5)
    assert said("such patterns, has # to #, hardly") == pytest.approx(of_mixing(True, 64), abs=5e-5)
    assert said("hardly less than at width 16 (# to #)") == pytest.approx(of_mixing(True, 16), abs=5e-5)


def test_other_tasks() -> None:
    errors = table("figure_tasks").filter(pl.col("position") >= 2)
    means = errors.group_by("task", "trainable", "seed", "estimator").agg(pl.col("mse").mean())

    def ends(dial: str, estimator: str = "the model", trainable: str = "all") -> list[float]:
        rows = means.filter(
            pl.col("task").str.contains(dial, literal=True), pl.col("estimator") == estimator,
            pl.col("trainable") == trainable,
        )  # fmt: skip
        if dial != "degree=2":
            rows = rows.filter(pl.col("task").str.contains("Affine"))
        assert len(rows) == 3
        return [min(rows["mse"].to_list()), max(rows["mse"].to_list())]

    two, four, parabola = "dimension=2", "dimension=4", "degree=2"
    assert said("of fully trained models is # to #, beside") == pytest.approx(ends(two), abs=5e-5)
    assert said("beside # of copying and # of the mean of two, and in four") == pytest.approx(
        [ends(two, "copy")[0], ends(two, "mean of two")[0]], abs=5e-4
    )
    assert said("and in four # to # beside # and #.") == pytest.approx(
        [*ends(four), ends(four, "copy")[0], ends(four, "mean of two")[0]], abs=5e-5
    )
    assert said("have # to # in two, behind") == pytest.approx(ends(two, trainable="embeddings"), abs=5e-4)
    assert said("and # to # in four: no better") == pytest.approx(ends(four, trainable="embeddings"), abs=5e-5)
    assert said("errors of # to # by fully") == pytest.approx(ends(parabola), abs=5e-6)
    assert said("and # to # in random bodies, beside") == pytest.approx(
        ends(parabola, trainable="embeddings"), abs=5e-6
    )
    assert said("beside # of copying; neither") == pytest.approx(ends(parabola, "copy")[:1], abs=5e-5)
    assert said("the last two (#).") == pytest.approx(ends(parabola, "line through two")[:1], abs=5e-6)
