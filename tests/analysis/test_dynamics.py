"""Measures over the steps of a training: planted courses are found, and what did not happen is not."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl
import pytest
import torch

from rtinterp.analysis import accuracy
from rtinterp.analysis.dynamics import distances_travelled, first_step, models_of, over_steps
from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store.training import train
from rtinterp.tasks import ModularAddition
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, TrainSpec

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

TASK = ModularAddition(p=7)
LEARNT_AT = 40


@pytest.fixture(scope="module")
def run() -> Run:
    training = TrainSpec(
        6, 8, 1e-2, n_warmup_steps=0, steps_per_evaluation=2, kept_steps=(0, 2, 4), release_at=3,
        rate_before_release=1e-2,
    )  # fmt: skip
    return train(RunSpec(TASK, ModelSpec(8), training, "all"), progress=False, device="cpu")


@pytest.fixture
def planted() -> list[tuple[int, HookedModel]]:
    """Nothing is learnt before a step, at which the unembedding comes to answer 0; the step after, values double."""
    model = build_model(TASK, ModelSpec(8), seed=0)
    with torch.no_grad():
        model.unembed.W_U.zero_()
        model.ln_final.b.zero_()
        model.ln_final.b[0] = 1.0
    models = [(10, model), (20, copy.deepcopy(model))]
    learnt = copy.deepcopy(model)
    with torch.no_grad():
        learnt.unembed.W_U[0, 0] = 50.0
    later = copy.deepcopy(learnt)
    with torch.no_grad():
        for name, parameter in later.named_parameters():
            if name.endswith(("W_O", "W_V")):
                parameter.mul_(2)
    return [*models, (LEARNT_AT, learnt), (80, later)]


def answers_zero(model: HookedModel) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([[1, 2], [3, 5]]))[:, -1]
    return (logits[:, 0] > logits[:, 1:].amax(1)).double().mean().item()


def test_the_planted_step_is_found_and_none_where_nothing_is_learnt(planted: list) -> None:
    table = over_steps(planted, answers_zero)
    assert table.rows() == [(10, 0.0), (20, 0.0), (40, 1.0), (80, 1.0)]
    assert first_step(table, 0.95) == LEARNT_AT
    assert first_step(over_steps(planted[:2], answers_zero), 0.95) is None


def test_a_value_that_is_lost_again_was_not_reached() -> None:
    table = pl.DataFrame({"step": [4, 1, 2, 3], "value": [1.0, 1.0, 0.0, 1.0]})
    assert first_step(table, 0.95) == 3
    assert first_step(table.with_columns(value=pl.lit(math.nan)), 0.0) is None
    with pytest.raises(ValueError, match="filter the table"):
        first_step(pl.concat([table, table]), 0.5)


def test_what_moves_moves_by_as_much_as_was_planted_and_nothing_else_does(planted: list) -> None:
    table = distances_travelled(planted)
    norm = torch.cat([p.flatten() for n, p in planted[0][1].named_parameters() if n.endswith(("W_O", "W_V"))]).norm()
    moved = table.filter(pl.col("distance") > 0).sort("step", "group", descending=[False, True])
    assert moved.select("step", "group").rows() == [(40, "unembedding"), (80, "unembedding"), (80, "ov")]
    assert moved["distance"].to_list() == pytest.approx([50.0, 50.0, norm.item()], rel=1e-6)
    ov = moved.filter(pl.col("group") == "ov")
    assert ov["relative"].item() == pytest.approx(1.0, rel=1e-6), "biases begin at zero"
    assert moved.filter(pl.col("group") == "unembedding")["relative"].is_nan().all(), "it began at zero"


def test_a_way_there_and_back_is_a_path_without_a_distance(planted: list) -> None:
    there_and_back = [planted[0], planted[2], (90, planted[0][1])]
    last = distances_travelled(there_and_back).filter((pl.col("step") == 90) & (pl.col("group") == "unembedding"))
    assert last["distance"].item() == 0
    assert last["path"].item() == pytest.approx(100.0, rel=1e-6)


def test_the_models_of_a_run_are_those_that_its_history_measured(run: Run) -> None:
    test_set = TASK.test_set()
    table = over_steps(models_of(run), lambda model: {"accuracy": accuracy(model, test_set)})
    assert table["step"].to_list() == [0, 2, 4, 6]
    assert table["accuracy"].to_list()[1:] == pytest.approx(run.history["test_accuracy"].to_list(), abs=1e-6)


def test_before_its_release_a_body_has_not_moved(run: Run) -> None:
    table = distances_travelled(models_of(run))
    at_two = table.filter(pl.col("step") == 2)
    moved = set(at_two.filter(pl.col("distance") > 0)["group"])
    assert moved == {"token_embedding", "positional_embedding", "unembedding"}
    assert (table.filter(pl.col("step") == 6)["distance"] > 0).all()
    assert (table["path"] >= table["distance"] * (1 - 1e-12)).all()


def test_tables_keep_their_rows_and_columns(planted: list) -> None:
    table = over_steps(planted, lambda _: pl.DataFrame({"head": [0, 1], "score": [0.5, 0.25]}))
    assert table.columns == ["step", "head", "score"]
    assert table.rows()[:3] == [(10, 0, 0.5), (10, 1, 0.25), (20, 0, 0.5)]


def test_models_are_built_one_at_a_time(run: Run) -> None:
    assert isinstance(models_of(run), Iterator)


def test_nonsense_is_refused(run: Run, planted: list) -> None:
    nothing_kept = train(RunSpec(TASK, ModelSpec(8), TrainSpec(1, 4, n_warmup_steps=0)), progress=False, device="cpu")
    with pytest.raises(ValueError, match=r"kept no step; train it with TrainSpec\(kept_steps="):
        next(models_of(nothing_kept))
    with pytest.raises(ValueError, match="step 10 comes after step 20"):
        over_steps([planted[1], planted[0]], answers_zero)
    with pytest.raises(ValueError, match="no model to measure"):
        distances_travelled([])
