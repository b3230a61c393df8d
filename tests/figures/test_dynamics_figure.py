"""The release of a body: what is planted in a table is found, and the start of both arms is the same."""

from __future__ import annotations

import math

import polars as pl
import pytest

from rtinterp.analysis import accuracy
from rtinterp.papers.mechanism import PAPER
from rtinterp.papers.mechanism.figure_dynamics import (
    ARMS,
    PANELS,
    compute,
    leading_heads,
    plot,
    similarities,
    steps_of_an_octave,
)
from rtinterp.papers.mechanism.release_measures import Measures
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.store.training import train
from rtinterp.tasks.causal_task import CausalTask
from rtinterp.training.run import Run

TINY = "tiny"
N_SEEDS = 2
#: A model that guesses has learnt all that there is to learn above such a floor.
NO_FLOOR = -2.0


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return train(PAPER.experiments["release"](SCALES[TINY], N_SEEDS, None), device="cpu", progress=False)


@pytest.fixture(scope="module")
def table(runs: list[Run]) -> pl.DataFrame:
    return compute(runs)


def planted(values: dict[tuple[int, int], tuple[float, float]], measure: str) -> pl.DataFrame:
    """Values of two items by release and step, of one seed."""
    rows = [
        ("a task", 0, release_at, step, measure, item, value)
        for (release_at, step), pair in values.items()
        for item, value in zip(("L0H0", "L0H1"), pair, strict=True)
    ]
    return pl.DataFrame(rows, ["task", "seed", "release_at", "step", "measure", "item", "value"], orient="row")


def test_similarity_is_one_to_itself_zero_to_other_nodes_and_blind_to_scale() -> None:
    values = {(5, 5): (1.0, 0.0), (5, 9): (0.0, 3.0), (0, 4): (2.0, 2.0), (0, 8): (7.0, 0.0)}
    found = {row[2:4]: row[4] for row in similarities(planted(values, "Shapley value")).rows()}
    assert found == pytest.approx({(5, 5): 1.0, (5, 9): 0.0, (0, 4): math.sqrt(0.5), (0, 8): 1.0})


def test_nothing_is_compared_with_a_release_before_the_task_was_learnt() -> None:
    assert similarities(planted({(5, 9): (0.0, 3.0), (0, 4): (2.0, 2.0)}, "Shapley value")).is_empty()


def test_the_head_that_leads_at_the_release_is_followed_in_both_arms() -> None:
    values = {(5, 0): (0.9, 0.1), (5, 5): (0.2, 0.6), (5, 9): (0.8, 0.3), (0, 4): (0.7, 0.4)}
    found = leading_heads(planted(values, "marker score"))
    assert set(found["item"]) == {"L0H1"}
    assert found.sort("release_at", "step")["value"].to_list() == [0.4, 0.1, 0.6, 0.3]


def test_steps_of_an_octave_end_with_each_phase() -> None:
    kept = (0, 10, 13, 16, 20, 25, 32, 40, 45, 50, 60)
    assert steps_of_an_octave(kept, 40) == {40, 20, 10, 60}
    assert steps_of_an_octave((0, 1, 2, 3, 4), 0) == {4, 1}


def test_both_arms_begin_with_the_same_model_whose_body_rests_until_the_release(table: pl.DataFrame) -> None:
    start = table.filter(pl.col("step") == 0)
    for _, of_model in start.group_by("task", "seed", "measure", "item"):
        assert sorted(of_model["release_at"]) == [0, of_model["release_at"].max()]
        assert of_model["value"].n_unique() == 1
    body = table.filter((pl.col("measure") == "distance") & pl.col("item").is_in(["qk", "ov", "mlp"]))
    resting = (pl.col("step") <= pl.col("release_at")) | (pl.col("step") == 0)
    assert (body.filter(resting)["value"] == 0).all()
    assert (body.filter(~resting & (pl.col("step") > pl.col("release_at") + 1))["value"] > 0).all()


def test_what_is_measured_is_the_accuracy_and_it_is_shared_out_among_the_nodes(runs: list[Run]) -> None:
    run = runs[0]
    assert isinstance(run.spec.task, CausalTask)
    measures = Measures(run.spec.task, NO_FLOOR)
    table = pl.concat([measures.cheap(run.model), measures.dear(run.model)])
    test = measures.test_sequences
    found = table.filter(pl.col("measure") == "accuracy")["value"].item()
    assert found == pytest.approx(accuracy(run.model, test), abs=1e-9)
    assert set(table["measure"]) >= {"Shapley value", "marker score", "retrieval score", "minimal circuits"}
    assert table.filter(pl.col("measure") == "Shapley value")["item"].to_list()[:2] == ["L0H0", "L0H1"]


def test_nothing_dear_is_measured_of_who_has_learnt_nothing(runs: list[Run]) -> None:
    task = runs[0].spec.task
    assert isinstance(task, CausalTask)
    assert Measures(task, 0.0).dear(runs[0].initial_model).is_empty()


def test_the_drawing_has_a_line_for_every_seed_and_phase(table: pl.DataFrame) -> None:
    figure = plot(table)
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == list(ARMS)
    accuracies = [trace for trace in figure.data if trace.yaxis == "y" and trace.x != (None,)]
    assert len(accuracies) == len(ARMS) * N_SEEDS
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert all(any(name in title for title in titles) for name in PANELS.values())
