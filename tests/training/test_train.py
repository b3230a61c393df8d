"""train(): runs in order, reproducible, and loud when something is wrong."""

from __future__ import annotations

import dataclasses
import random

import polars as pl
import pytest
import torch
from training_references import (
    CPU,
    REGIMES,
    TASKS,
    distance,
    mean_loss,
    n_correct,
    small_run,
    train_alone,
    trained_names,
    unstacked,
)

from rtinterp import Body, ModelSpec, RecurrentSpec, RunSpec, TrainSpec, build_model
from rtinterp.models.fingerprint import fingerprint
from rtinterp.models.regimes import Trainable
from rtinterp.store.training import WarmupWarning, train
from rtinterp.tasks import ModularAddition
from rtinterp.training.engine import Engine
from rtinterp.training.loop import DivergenceError, stacks
from rtinterp.training.run import Run


def same(left: Run, right: Run) -> bool:
    return (
        left.spec == right.spec
        and left.history.equals(right.history)
        and left.trained.keys() == right.trained.keys()
        and all(torch.equal(tensor, right.trained[name]) for name, tensor in left.trained.items())
    )


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def engine(*arguments: object) -> None:
        raise AssertionError("training started")

    monkeypatch.setattr("rtinterp.training.stack.Engine", engine)


def test_the_same_spec_gives_the_same_run_and_another_seed_another() -> None:
    first, again = (train(small_run(steps_per_evaluation=2), device="cpu", progress=False) for _ in range(2))
    assert same(first, again)
    assert first.fingerprint == again.fingerprint
    other = train(small_run(seed=1), device="cpu", progress=False)
    assert other.fingerprint != first.fingerprint
    assert distance(dict(other.trained), dict(first.trained)) > 0.1


def test_a_run_does_not_depend_on_the_runs_beside_it() -> None:
    alone = train(small_run(seed=4), device="cpu", progress=False)
    beside = train([small_run(seed=seed) for seed in (9, 4)], device="cpu", progress=False)[1]
    assert beside.spec == alone.spec
    assert beside.fingerprint == alone.fingerprint
    assert distance(dict(beside.trained), dict(alone.trained)) < 1e-4


def test_global_generators_are_neither_read_nor_moved() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before, python_before = torch.get_rng_state(), random.getstate()
        first = train(small_run(), device="cpu", progress=False)
        assert torch.equal(torch.get_rng_state(), before)
        assert random.getstate() == python_before
        torch.manual_seed(2)
        assert same(first, train(small_run(), device="cpu", progress=False))


def test_runs_come_back_in_the_order_of_their_specs_duplicates_included() -> None:
    a, b, c = small_run(seed=3), small_run(TASKS[4]), small_run(seed=1)
    runs = train((spec for spec in [a, b, c, a]), device="cpu", progress=False)
    assert [run.spec for run in runs] == [a, b, c, a]
    assert same(runs[0], runs[3])
    assert [run.environment.n_stacked for run in runs] == [2, 1, 2, 2]
    single = train(b, device="cpu", progress=False)
    assert isinstance(single, Run)
    assert same(single, runs[1])
    assert train([], device="cpu") == []


def test_stacks_share_all_but_the_seed() -> None:
    a, b, c = small_run(seed=3), small_run(trainable="all"), small_run(seed=1)
    assert stacks([a, b, c, a], CPU) == [[a, c], [b]]
    often = small_run(seed=2, steps_per_evaluation=1)
    assert stacks([a, often, c], CPU) == [[a, c], [often]], "each is evaluated as its spec says"


@pytest.mark.parametrize("trainable", REGIMES)
def test_a_run_holds_what_it_trained_and_rebuilds_the_rest(trainable: Trainable) -> None:
    spec = small_run(TASKS[0], trainable, seed=2, n_steps=20)
    run = train(spec, device="cpu", progress=False)
    initial = spec.model.initial_tensors(spec.task.d_vocab, spec.task.n_ctx, spec.seed)
    trained = trained_names(trainable, initial)
    assert set(run.trained) == trained
    assert run.fingerprint == fingerprint({name: initial[name] for name in initial if name not in trained})
    final = dict(run.model.named_parameters())
    for name, tensor in initial.items():
        if not (name.endswith("b_K") and name in trained):  # has no gradient
            assert torch.equal(final[name], tensor) == (name not in trained), name
        assert torch.equal(final[name], run.tensors()[name]), name
    right, n = n_correct(run.model, spec.task.test_set())
    assert run.test_accuracy == pytest.approx(right / n, abs=1e-6)
    assert fingerprint(dict(run.initial_model.named_parameters())) == fingerprint(initial)
    assert run.model is run.model
    assert spec.run_id in repr(run)


def test_history_has_the_mean_loss_since_the_row_before_and_the_accuracy_then() -> None:
    spec = small_run(TASKS[4], n_steps=7, steps_per_evaluation=3)
    engine = Engine([spec], CPU)
    reference = unstacked(engine, 0)
    history = train(spec, device="cpu", progress=False).history
    assert history.schema == {
        "step": pl.Int64,
        "train_loss": pl.Float64,
        "test_loss": pl.Float64,
        "test_accuracy": pl.Float64,
    }
    assert history["step"].to_list() == [3, 6, 7]
    losses = train_alone(reference, spec, 7)
    expected = [sum(losses[:3]) / 3, sum(losses[3:6]) / 3, losses[6]]
    assert history["train_loss"].to_list() == pytest.approx(expected, rel=1e-4)
    tested = []
    for _ in range(7):
        engine.step()
        tested.append(engine.test())
    assert history["test_accuracy"].to_list() == [tested[step - 1].metrics["accuracy"].item() for step in (3, 6, 7)]
    assert history["test_loss"].to_list() == [tested[step - 1].loss.item() for step in (3, 6, 7)]
    assert tested[-1].loss.item() == pytest.approx(mean_loss(reference, spec.task.test_set()).item(), rel=1e-4)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_names_step_and_spec(monkeypatch: pytest.MonkeyPatch, loss: float) -> None:
    step = Engine.step

    def spoiled(engine: Engine) -> torch.Tensor:
        losses = step(engine)
        return losses.index_fill(0, torch.tensor([1]), loss) if engine.n_steps_done == 3 else losses

    monkeypatch.setattr(Engine, "step", spoiled)
    specs = [small_run(seed=5), small_run(seed=6)]
    with pytest.raises(DivergenceError, match=f"{loss} at step 3 of 5; .*learning rate") as error:
        train(specs, device="cpu", progress=False)
    assert str(specs[1]) in str(error.value)


def test_a_run_that_really_diverges_is_stopped() -> None:
    spec = small_run(learning_rate=1e37, n_steps=50)
    with pytest.raises(DivergenceError, match=r"at step \d+ of 50"):
        train(spec, device="cpu", progress=False)


@pytest.mark.parametrize("device", ["tpu", "meta", "cpu:x", ""])
def test_no_such_device(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    forbid_training(monkeypatch)
    with pytest.raises(ValueError, match=f"device={device!r} is not .*use 'cpu' or 'cuda'"):
        train(small_run(), device=device, progress=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_training(monkeypatch)
    with pytest.raises(ValueError, match=r"device='cuda' was asked for, .* no CUDA device"):
        train(small_run(), device="cuda", progress=False)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("trainable", ["embeddings", "all"])
def test_a_gpu_run_keeps_its_body_and_learns(trainable: Trainable) -> None:
    spec = small_run(TASKS[4], trainable, n_steps=50)
    run, cpu = (train(spec, device=device, progress=False) for device in ("cuda", "cpu"))
    assert run.fingerprint == cpu.fingerprint
    assert all(tensor.device.type == "cpu" for tensor in run.trained.values())
    # The streams of the two devices differ, what can be learned in so many steps does not.
    assert run.test_loss == pytest.approx(cpu.test_loss, rel=0.1)


@pytest.mark.parametrize("shown", [True, False])
def test_progress_goes_to_stderr_only_if_asked_for(capfd: pytest.CaptureFixture, shown: bool) -> None:
    train([small_run(seed=0), small_run(seed=1)], device="cpu", progress=shown)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("modular_addition d16 embeddings ×2" in err) == shown


def test_the_environment_says_what_it_ran_on() -> None:
    environment = train(small_run(), device="cpu", progress=False).environment
    assert environment.device.startswith("cpu")
    assert environment.torch == torch.__version__
    assert environment.n_threads == 1
    assert environment.duration_seconds > 0
    assert environment.finished_at.endswith("+00:00")
    with pytest.raises(dataclasses.FrozenInstanceError):
        environment.device = "abacus"


def test_a_warmup_longer_than_the_training_is_told() -> None:
    training = TrainSpec(n_steps=4, batch_size=2, learning_rate=0.01, n_warmup_steps=8)
    spec = RunSpec(ModularAddition(p=7), ModelSpec(d_model=8), training)
    with pytest.warns(WarmupWarning, match=r"n_warmup_steps=8 is more than n_steps=4: .* rises to 0.005 at most"):
        train([spec, spec.with_seed(1)], device="cpu", progress=False)
    whole = dataclasses.replace(spec, training=dataclasses.replace(training, n_warmup_steps=4))
    train(whole, device="cpu", progress=False)


@pytest.mark.parametrize("body", [ModelSpec(2**20), RecurrentSpec(2**20)])
def test_what_no_machine_holds_is_refused_at_once_with_the_memory_needed_and_there(body: Body) -> None:
    spec = RunSpec(ModularAddition(p=7), body, TrainSpec(n_steps=4, batch_size=2, n_warmup_steps=0))
    with pytest.raises(MemoryError, match=r"width 1048576 need about \d+,\d+.\d+ GiB on cpu .* has \d+.\d GiB"):
        train(spec, device="cpu", progress=False)
    with pytest.raises(MemoryError, match=r"parameters of this model take \d+,\d+.\d GiB of memory.* has \d+.\d GiB"):
        build_model(spec.task, body, seed=0)


def test_a_batch_that_no_machine_holds_is_refused_at_once() -> None:
    training = TrainSpec(n_steps=4, batch_size=10**12, n_warmup_steps=0)
    with pytest.raises(MemoryError, match=r"batch_size=1000000000000: .* take \d+,\d+.\d GiB, and cpu has \d+.\d GiB"):
        train(RunSpec(ModularAddition(p=7), ModelSpec(d_model=8), training), device="cpu", progress=False)


def test_more_layers_than_can_be_listed_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="n_layers=1000000000 is more than a model may have: 1000"):
        build_model(ModularAddition(p=7), ModelSpec(d_model=8, n_layers=10**9), seed=0)
