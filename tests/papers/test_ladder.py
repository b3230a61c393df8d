"""The ladder's rungs and tables: what is measured, and what follows from planted accuracies."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
import torch

from rtinterp.analysis import accuracy_by_hops, prediction_table
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.ladder.bodies import BODIES, SOFTMAX, TOLD, body_of, kind_of
from rtinterp.papers.ladder.grid import EXPERIMENTS
from rtinterp.papers.ladder.initial_values import INITIAL_VALUES, name_of
from rtinterp.papers.ladder.order import agreement
from rtinterp.papers.ladder.rungs import DIALS, LSTM_RATE, dial_of, value_of
from rtinterp.papers.ladder.scales import SCALES
from rtinterp.papers.ladder.tables import medians, runs_table, threshold_table
from rtinterp.store.training import train
from rtinterp.tasks import GroupWordProblem, KHopInduction
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, TrainSpec

BRIEF = TrainSpec(n_steps=3, batch_size=8, n_warmup_steps=1)
WIDTHS = (16, 32, 64)


@pytest.mark.parametrize("name", sorted(DIALS))
def test_a_dial_turns_its_task_and_nothing_else(name: str) -> None:
    dial = DIALS[name]
    tasks = [dial.rung(value).task for value in dial.values]
    assert list(dial.values) == sorted(dial.values)
    assert [value_of(task) for task in tasks] == list(dial.values)
    assert {type(task) for task in tasks} == {dial.task}
    # Floors are known, and lower than what counts as solved.
    assert max(max(task.floors().values()) for task in tasks) < 0.99


def test_other_fields_take_the_place_of_the_dials_own() -> None:
    (task,) = {dial_of("group_word_problem", "length").rung(12, {"group": "Z2"}).task}
    assert task == GroupWordProblem(length=12, group="Z2")
    # Which would be too few sequences with the two numbers of a moment before.
    assert dial_of("sorting").rung(5, {"vocabulary": 3}).task.d_vocab == 4


def test_random_and_fully_trained_models_have_their_own_budgets() -> None:
    rung = dial_of("sorting").rung(8)
    runs = {kind: rung.runs(body_of(SOFTMAX, 16), kind, (0, 1)) for kind in ("embeddings", "all", "mlp")}
    assert {kind: runs[kind][0].training for kind in runs} == {
        "embeddings": rung.random, "all": rung.trained, "mlp": rung.random,
    }  # fmt: skip
    assert [run.seed for run in runs["all"]] == [0, 1]
    (lstm,) = rung.runs(body_of("lstm", 16), "all", (0,))
    assert lstm.training.learning_rate == LSTM_RATE
    assert rung.runs(body_of("lstm", 16), "embeddings", (0,))[0].training == rung.random


@pytest.mark.parametrize("scale", ["quick", "short", "paper"])
@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_the_runs_of_an_experiment_are_different_ones(name: str, scale: str) -> None:
    specs = EXPERIMENTS[name](SCALES[scale], 2, None)
    assert len(set(specs)) == len(specs)
    assert {spec.seed for spec in specs} == {0, 1}


def test_initial_values_are_known_by_name() -> None:
    specs = EXPERIMENTS["depths"](SCALES["quick"], 1, None)
    assert {name_of(spec) for spec in specs} == set(INITIAL_VALUES)
    other = RunSpec(specs[0].task, ModelSpec(16, init="imitation_target"), BRIEF)
    with pytest.raises(KeyError, match="starts with none of"):
        name_of(other)


def test_bodies_are_known_by_name() -> None:
    assert [kind_of(body_of(name, width)) for width in (16, 32) for name in BODIES] == [*BODIES, *BODIES]
    assert kind_of(ModelSpec(16, n_layers=8)) == SOFTMAX
    assert kind_of(ModelSpec(16, init="normal")) == "transformer"
    assert set(TOLD) == set(BODIES)
    assert {body_of(name, 16).n_layers for name in BODIES} == {2}


@pytest.fixture(scope="module")
def hopping() -> Run:
    task = KHopInduction(max_hops=2, length=12)
    (run,) = train([RunSpec(task, ModelSpec(16), BRIEF, "all")], device="cpu", progress=False)
    return run


def test_hops_count_where_they_lead_somewhere(hopping: Run) -> None:
    """Another count of the same: by numbers of hops, without none."""
    (row,) = runs_table([hopping]).rows(named=True)
    task = hopping.spec.task
    assert isinstance(task, KHopInduction)
    batch = task.test_set()
    right = torch.tensor(prediction_table(hopping.model, batch)["right"].to_list())
    of_hops = accuracy_by_hops(right, batch, task).filter(pl.col("hops") > 0)
    n_right = sum(share * n for share, n in of_hops.select("defined_accuracy", "n_defined").iter_rows())
    assert row["accuracy"] == pytest.approx(n_right / of_hops["n_defined"].sum())
    assert row["accuracy"] < row["test_accuracy"]
    assert (row["floor_accuracy"], row["dial"], row["value"]) == (0.25, "k", 2)


def planted(**median_of_width: float) -> pl.DataFrame:
    """Three seeds of every width, whose medians are planted."""
    common: dict[str, Any] = {
        **{"task": "Sorting(length=8)", "kind": "softmax", "n_layers": 2, "trainable": "all", "n_steps": 10},
        **{"batch_size": 4, "device": "cpu", "learning_rate": 1e-3, "dial": "length", "value": 8, "n_test_rows": 100},
        **{"floor": "chance", "floor_accuracy": 0.2, "heuristic": "chance", "heuristic_accuracy": 0.2},
    }
    rows = [
        common | {"d_model": int(width.lstrip("w")), "seed": seed, "accuracy": median + shift}
        for width, median in median_of_width.items()
        for seed, shift in enumerate((0.005, -0.4, 0.0))
    ]
    return pl.DataFrame(rows)


def threshold(runs: pl.DataFrame) -> dict[str, Any]:
    (row,) = threshold_table(runs, WIDTHS).rows(named=True)
    return row


def test_a_least_width_is_that_of_the_median() -> None:
    row = threshold(planted(w16=0.5, w32=0.99, w64=0.994))
    assert (row["status"], row["width"], row["below"]) == ("reached", 32, 16)
    assert (row["accuracy_at"], row["accuracy_below"], row["best_accuracy"]) == pytest.approx((0.99, 0.5, 0.994))
    assert (row["least_at"], row["most_at"]) == pytest.approx((0.59, 0.995))
    assert (row["n_seeds"], row["n_widths"], row["narrowest"], row["widest"]) == (3, 3, 16, 64)
    assert threshold(planted(w16=0.5, w32=0.9899, w64=0.994))["width"] == 64


def test_what_is_not_known_is_not_told() -> None:
    row = threshold(planted(w16=0.5, w64=0.98))
    assert (row["status"], row["width"], row["accuracy_at"], row["least_at"]) == ("not reached", None, None, None)
    row = threshold(planted(w32=0.5))
    assert (row["status"], row["width"], row["below"]) == ("open", None, 32)
    row = threshold(planted(w16=0.5, w64=0.99))
    assert (row["status"], row["width"], row["below"]) == ("open", 64, 16)


def test_a_run_that_diverged_counts_as_nothing_right() -> None:
    runs = planted(w16=0.994).with_columns(accuracy=pl.when(pl.col("seed") > 0).then(None).otherwise("accuracy"))
    assert medians(runs) == {16: 0.0}
    runs = planted(w16=0.994).with_columns(accuracy=pl.when(pl.col("seed") == 1).then(None).otherwise("accuracy"))
    assert medians(runs) == {16: pytest.approx(0.994)}


def test_orders_agree_where_both_are_certain() -> None:
    """Rungs by hand: (below, at) of random models, then of fully trained ones."""
    widths = {
        "a": ((32, 64), (None, 16)),
        "b": ((64, 128), (16, 32)),
        # Whatever it needs at random, it is more than b does; trained, it may need as little as a.
        "c": ((256, None), (None, 32)),
        # Less than b trained, or equal to it, and more at random.
        "d": ((128, 256), (8, 16)),
        # The least trained, and at random more than 64, which may be less than b or more.
        "e": ((64, None), (None, 8)),
    }
    known = pl.DataFrame(
        [
            {"task": task, "kind": "softmax", "trainable": trainable, "below": below, "width": at}
            for task, both in widths.items()
            for trainable, (below, at) in zip(("embeddings", "all"), both, strict=True)
        ]
    )
    # a and b alike, b and d opposed, all others open in one of the two.
    assert agreement(known) == (1, 1)
    only_trained = known.filter((pl.col("task") != "b") | (pl.col("trainable") == "all"))
    assert agreement(only_trained) == (0, 0), "a rung of which one width is unknown has no part"
