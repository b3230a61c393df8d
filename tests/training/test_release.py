"""Embeddings first, then all: before the release as if nothing else trained, after it as if nothing had been frozen."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from training_references import CPU, EMBEDDINGS, TASKS, small_run
from transformers import get_cosine_schedule_with_warmup

from rtinterp.models.parametrisations import LowRank
from rtinterp.tasks import Task
from rtinterp.training.engine import Engine
from rtinterp.training.loop import train_stack
from rtinterp.training.optimiser import learning_rate
from rtinterp.training.spec import RunSpec, TrainSpec, spec_from_json, spec_to_json

RELEASE_AT, N_STEPS = 4, 7
RATE_BEFORE, RATE_AFTER = 3e-2, 1e-2
SEEDS = (3, 4)


def released(task: Task = TASKS[0], trainable: str = "all", **training: object) -> list[RunSpec]:
    fields = {
        "n_steps": N_STEPS, "learning_rate": RATE_AFTER, "n_warmup_steps": 1, "release_at": RELEASE_AT,
        "rate_before_release": RATE_BEFORE, "kept_steps": (0, RELEASE_AT),
    } | training  # fmt: skip
    return [small_run(task, trainable, seed, **fields) for seed in SEEDS]


@pytest.mark.parametrize("task", TASKS[:2], ids=repr)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_up_to_the_release_it_is_the_training_of_the_embeddings_bit_for_bit(task: Task, precision: str) -> None:
    alone = [
        small_run(task, "embeddings", seed, n_steps=RELEASE_AT, learning_rate=RATE_BEFORE, n_warmup_steps=1,
                  precision=precision)
        for seed in SEEDS
    ]  # fmt: skip
    of_embeddings = train_stack(alone, CPU, False)
    for run, expected in zip(train_stack(released(task, precision=precision), CPU, False), of_embeddings, strict=True):
        before, initial = run.at(RELEASE_AT).tensors(), run.at(0).tensors()
        assert before.keys() == expected.tensors().keys()
        for name, tensor in before.items():
            assert torch.equal(tensor, expected.tensors()[name])
            assert torch.equal(tensor, initial[name]) == (name not in EMBEDDINGS)


def test_after_the_release_everything_that_is_trainable_trains() -> None:
    for run in train_stack(released(trainable="frozen_qk"), CPU, False):
        before, after = run.at(RELEASE_AT).tensors(), run.tensors()
        frozen = {name for name in after if torch.equal(after[name], before[name])}
        assert frozen == {name for name in after if name.endswith(("W_Q", "W_K", "b_Q", "b_K", "b_U"))}


def test_gradients_after_the_release_are_those_of_a_training_of_all_from_there() -> None:
    engine, free = Engine(released(), CPU), Engine(released(release_at=0, rate_before_release=None), CPU)
    for _ in range(RELEASE_AT):
        engine.step()
        free.next_packed_batch()
    with torch.no_grad():
        for name, parameter in free.parameters.items():
            parameter.copy_(engine.parameters[name])
    assert torch.equal(engine.backward(), free.backward())
    for name in free.trained:
        torch.testing.assert_close(engine.parameters[name].grad, free.parameters[name].grad, rtol=0, atol=0)


@pytest.mark.parametrize("done", [2, RELEASE_AT, RELEASE_AT + 1])
def test_a_training_that_is_cut_off_goes_on_bit_for_bit(done: int) -> None:
    whole, begun, resumed = (Engine(released(), CPU) for _ in range(3))
    for _ in range(done):
        begun.step()
    resumed.restore(begun.state())
    assert resumed.test().loss.equal(begun.test().loss)
    for _ in range(N_STEPS - done):
        resumed.step()
    for _ in range(N_STEPS):
        whole.step()
    assert all(torch.equal(whole.parameters[name], resumed.parameters[name]) for name in whole.parameters)


def test_the_rate_warms_up_and_decays_before_the_release_and_again_after_it() -> None:
    training = released(n_steps=30, release_at=20, n_warmup_steps=3)[0].training
    for first, n_steps, highest in ((0, 20, RATE_BEFORE), (20, 10, RATE_AFTER)):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=highest)
        schedule = get_cosine_schedule_with_warmup(optimiser, 3, n_steps)
        for step in range(n_steps):
            assert learning_rate(first + step, training) == pytest.approx(
                schedule.get_last_lr()[0], rel=1e-12, abs=1e-18
            )
            optimiser.step()
            schedule.step()


def test_leaves_in_place_of_embeddings_train_before_the_release() -> None:
    spec = dataclasses.replace(released()[0], parametrisation=LowRank(2))
    assert not any("LowRank" in name or "low_rank" in name for name in spec.held_back(0))
    (run,) = train_stack([spec], CPU, False)
    leaves = {name for name, tensor in run.at(RELEASE_AT).trained.items() if not tensor.equal(run.at(0).trained[name])}
    assert leaves == {name for name in run.trained if name.startswith("low_rank.")}


def test_specs_without_release_are_written_as_before_there_was_one() -> None:
    spec = small_run()
    assert "release" not in spec_to_json(spec)
    fields = json.loads(spec_to_json(released()[0]))["training"]
    assert (fields["release_at"], fields["rate_before_release"]) == (RELEASE_AT, RATE_BEFORE)
    assert spec_from_json(spec_to_json(released()[0])) == released()[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"release_at": 10, "rate_before_release": 1e-3}, "release_at: step 10 is not before the last, 10"),
        ({"release_at": 5}, "release_at=5 with rate_before_release=None: pass both"),
        ({"rate_before_release": 1e-3}, "release_at=0 with rate_before_release=0.001: pass both"),
        ({"release_at": -1, "rate_before_release": 1e-3}, "release_at=-1"),
        ({"release_at": 5, "rate_before_release": 0.0}, "rate_before_release=0.0"),
    ],
    ids=["too late", "no rate", "no release", "negative", "zero rate"],
)
def test_nonsense_releases_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainSpec(n_steps=10, batch_size=1, **fields)


@pytest.mark.parametrize("trainable", ["embeddings", "qk"])
def test_a_release_needs_something_before_it_and_something_after_it(trainable: str) -> None:
    with pytest.raises(ValueError, match=f"release_at=4: trainable='{trainable}' needs both"):
        released(trainable=trainable)
