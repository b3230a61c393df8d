"""How a training is watched: what is shown, kept and stopped, and that none of it changes what comes out."""

from __future__ import annotations

import dataclasses
import signal

import pytest
import torch
from training_references import CPU, small_run

from rtinterp.store.training import train
from rtinterp.training.engine import Engine
from rtinterp.training.kept_steps import kept_until
from rtinterp.training.loop import train_stack
from rtinterp.training.run import Run
from rtinterp.training.snapshot import OnEvaluation, Snapshot
from rtinterp.training.spec import RunSpec, TrainSpec

N_STEPS = 9
SEEDS = (3, 4, 5)


def stack(**watching: object) -> list[RunSpec]:
    return [small_run(seed=seed, n_steps=N_STEPS, **watching) for seed in SEEDS]


def stop_at(step: int, seed: int) -> OnEvaluation:
    def stop(snapshot: Snapshot) -> None:
        if (snapshot.step, snapshot.spec.seed) == (step, seed):
            snapshot.stop()

    return stop


def equal(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


@pytest.fixture(scope="module")
def plain() -> list[Run]:
    return train_stack(stack(), CPU, False)


WATCHING: dict[str, tuple[dict[str, object], OnEvaluation | None]] = {
    "evaluated at every step": ({"steps_per_evaluation": 1}, None),
    "kept": ({"kept_steps": "log"}, None),
    "kept here and there": ({"kept_steps": (0, 3, 9), "steps_per_evaluation": 4}, None),
    "looked at": ({"steps_per_evaluation": 2}, lambda snapshot: snapshot.trained["embed.W_E"].zero_()),
    "beside one that is stopped": ({"steps_per_evaluation": 2}, stop_at(4, SEEDS[1])),
}


@pytest.mark.parametrize("name", WATCHING)
def test_however_it_is_watched_the_same_bits_come_out(plain: list[Run], name: str) -> None:
    fields, callback = WATCHING[name]
    runs = {run.spec.seed: run for run in train_stack(stack(**fields), CPU, False, callback)}
    assert set(runs) == set(SEEDS)
    for run in plain:
        watched = runs[run.spec.seed]
        assert watched.spec == run.spec
        assert equal(watched.trained, run.trained) == (watched.stopped_at_step is None)
        assert watched.fingerprint == run.fingerprint


def test_what_is_shown_is_the_row_of_the_history_and_the_tensors_of_that_step() -> None:
    shown: list[Snapshot] = []
    tensors = []

    def look(snapshot: Snapshot) -> None:
        shown.append(snapshot)
        tensors.append(snapshot.trained)

    specs = stack(steps_per_evaluation=4, kept_steps=(4, 8, 9))
    runs = train_stack(specs, CPU, False, look)
    assert [(one.step, one.spec.seed) for one in shown] == [(step, seed) for step in (4, 8, 9) for seed in SEEDS]
    for one, trained in zip(shown, tensors, strict=True):
        run = runs[SEEDS.index(one.spec.seed)]
        (row,) = run.history.filter(step=one.step).iter_rows(named=True)
        assert {"step": one.step, **one.metrics} == row
        assert equal(trained, run.at(one.step).trained)
        assert equal(one.trained, trained), "still there afterwards, since it was asked for in time"
    with pytest.raises(dataclasses.FrozenInstanceError):
        shown[0].step = 5


def test_after_the_callback_it_is_too_late() -> None:
    shown: list[Snapshot] = []
    train_stack(stack(), CPU, False, shown.append)
    for ask in (lambda: shown[0].trained, shown[0].stop):
        with pytest.raises(RuntimeError, match="use it within the callback"):
            ask()


def test_kept_tensors_are_those_of_an_engine_at_that_step_and_of_the_seed_before_the_first() -> None:
    specs = stack(kept_steps=(0, 2, 7))
    engine, expected = Engine(specs, CPU), {}
    for step in range(N_STEPS + 1):
        expected[step] = [engine.trained_tensors(model) for model in range(len(specs))]
        engine.step()
    for model, run in enumerate(train_stack(specs, CPU, False)):
        assert run.kept_steps == (0, 2, 7)
        for step in (0, 2, 7, N_STEPS):
            assert equal(run.at(step).trained, expected[step][model])
        task = run.spec.task
        initial = run.spec.model.initial_tensors(task.d_vocab, task.n_ctx, run.spec.seed)
        assert equal(run.at(0).tensors(), initial)


def test_a_kept_step_is_a_run_as_it_stood_there() -> None:
    whole = train_stack([small_run(n_steps=N_STEPS, steps_per_evaluation=4, kept_steps=(0, 4, 6))], CPU, False)[0]
    there, between = whole.at(4), whole.at(6)
    shorter = train_stack([small_run(n_steps=N_STEPS, steps_per_evaluation=4)], CPU, False, stop_at(4, 0))[0]
    assert equal(there.trained, shorter.trained)
    assert there.history.equals(shorter.history)
    assert there.stopped_at_step == shorter.stopped_at_step == there.last_step == 4
    assert there.run_id == shorter.run_id == f"{whole.spec.run_id}-stopped-at-4"
    assert (there.test_loss, there.test_accuracy) == tuple(whole.history.row(0)[2:4])
    tokens = whole.spec.task.test_set().tokens[:3]
    with torch.no_grad():
        assert torch.equal(there.model(tokens), shorter.model(tokens))
        assert not torch.equal(there.model(tokens), whole.model(tokens))
    assert there.kept_steps == (0, 4)
    assert whole.at(N_STEPS) is whole
    assert there.at(4) is there
    with pytest.raises(ValueError, match=rf"{whole.run_id} did not keep step 5; kept steps: 0, 4, 6"):
        whole.at(5)
    with pytest.raises(ValueError, match=r"kept steps: none; TrainSpec\(kept_steps="):
        shorter.at(3)
    with pytest.raises(ValueError, match=r"was not evaluated at step 6; measure run\.model"):
        between.test_accuracy  # noqa: B018
    assert repr(between) == f"Run({whole.spec.run_id}-stopped-at-6)"


def test_a_stop_after_the_last_step_stops_nothing() -> None:
    (run,) = train_stack([small_run(n_steps=4)], CPU, False, lambda snapshot: snapshot.stop())
    assert (run.stopped_at_step, run.run_id) == (None, run.spec.run_id)


def test_when_all_are_stopped_training_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    step, taken = Engine.step, []
    monkeypatch.setattr(Engine, "step", lambda engine: (taken.append(1), step(engine))[1])
    runs = train(stack(steps_per_evaluation=2), device="cpu", progress=False, on_evaluation=lambda s: s.stop())
    assert [(run.spec.seed, run.stopped_at_step) for run in runs] == [(seed, 2) for seed in SEEDS]
    assert len(taken) == 2


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_of_the_callback_is_raised(error: type[BaseException]) -> None:
    def fail(snapshot: Snapshot) -> None:
        signal.raise_signal(signal.SIGINT) if error is KeyboardInterrupt else 1 / 0

    with pytest.raises(error):
        train(stack(), device="cpu", progress=False, on_evaluation=fail)


def test_log_spaced_steps_are_powers_of_two_between_the_first_and_the_last() -> None:
    assert kept_until("log", 1000, 1000) == (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
    assert kept_until("log", 8, 8) == (0, 1, 2, 4, 8)
    assert kept_until("log", 1, 1) == (0, 1)
    assert kept_until("log", 1000, 5) == (0, 1, 2, 4)
    assert kept_until((0, 7), 9, 6) == (0,)
    assert kept_until("none", 9, 9) == ()


@pytest.mark.parametrize(
    ("kept_steps", "message"),
    [
        ((3, 1), r"must rise, each step once, unlike \(3, 1\)"),
        ((3, 3), "must rise"),
        ((0, 11), "step 11 is after the last, 10"),
        ((-1, 2), "greater than or equal to 0"),
        ((True,), "valid integer"),
        (tuple(range(1001)), "names 1001 steps; up to 1000 can be kept"),
        ("linear", "'none' or 'log'"),
    ],
    ids=["falling", "twice", "too late", "negative", "bool", "too many", "word"],
)
def test_nonsense_to_keep_is_refused(kept_steps: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"kept_steps(.|\n)*{message}"):
        TrainSpec(n_steps=10, batch_size=1, kept_steps=kept_steps)


def test_to_keep_no_steps_is_to_keep_none() -> None:
    assert TrainSpec(n_steps=10, batch_size=1, kept_steps=()).kept_steps == "none"
