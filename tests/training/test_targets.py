"""Targets, losses and inputs of any kind: the stacked engine against autograd through the model with hooks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training_references import CPU, distance, small_run
from user_tasks import NoisySum, RunningMean, RunningSum

from rtinterp.models.build import hooked_model
from rtinterp.models.initialisation import initialise
from rtinterp.models.parameters import Parameter
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.presets import mixit
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import TASKS, Batch, ModularAddition, Task
from rtinterp.tasks.base import LossName, Reads
from rtinterp.training import engine as engine_module
from rtinterp.training import losses
from rtinterp.training.checkpoint import Checkpoint
from rtinterp.training.engine import Engine
from rtinterp.training.packing import ChunkLimits
from rtinterp.training.progress import TrainingProgress
from rtinterp.training.spec import RunSpec
from rtinterp.training.stack import StackTraining
from rtinterp.training.stream import TrainingStream

USER_TASKS = [RunningSum(), NoisySum(), RunningMean()]
BODIES = [ModelSpec(d_model=16), ModelSpec(d_model=16, n_layers=1), RecurrentSpec(d_model=8), mixit(16)]
REGIMES = ["embeddings", "all", "frozen_qk", "unembedding", "input_embeddings"]
SEEDS = (0, 3)

every_task = pytest.mark.parametrize("task", USER_TASKS, ids=lambda task: task.name)


def run_of(task: Task, seed: int = 0, model=BODIES[0], trainable: str = "all", **training) -> RunSpec:
    return dataclasses.replace(small_run(task, trainable, seed, **training), model=model)


def plain_model(engine: Engine, index: int) -> nn.Module:
    tensors = {name: parameter[index].detach().clone() for name, parameter in engine.parameters.items()}
    model = hooked_model(engine.spec.task, engine.spec.model, tensors)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in engine.trained)
    return model


def plain_loss(outputs: Tensor, task: Task, batch: Batch) -> Tensor:
    """Over whole sequences, from what torch has."""
    outputs, targets = outputs[batch.scored], batch.targets[batch.scored]
    if task.loss == "cross_entropy":
        return F.cross_entropy(outputs, targets)
    if task.loss == "mean_squared_error":
        return F.mse_loss(outputs, targets)
    return (targets.exp() * (targets - outputs.log_softmax(-1))).sum(-1).mean()


@pytest.fixture
def large_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models start from weights that leave no part of them idle, frozen or not."""

    def planted(parameters: Iterable[Parameter], seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        # Random mixing looks at no later position, which noise would make it do.
        return {
            name: tensor
            if name.endswith(("unembed.b_U", "mixing"))
            else 5 * tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in initialise(parameters, seed).items()
        }

    monkeypatch.setattr(engine_module, "initialise", planted)


@pytest.mark.usefixtures("large_weights")
@every_task
@pytest.mark.parametrize("model", BODIES, ids=["transformer", "one layer", "lstm", "mixit"])
@pytest.mark.parametrize("trainable", REGIMES)
def test_losses_and_gradients_are_those_of_autograd(
    task: Task, model, trainable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trainable == "frozen_qk" and isinstance(model, RecurrentSpec):
        pytest.skip("it has no queries")
    # In several chunks.
    monkeypatch.setattr("rtinterp.training.engine.chunk_limits", lambda *_: ChunkLimits(60, 60))
    specs = [run_of(task, seed, model, trainable) for seed in SEEDS]
    engine = Engine(specs, CPU)
    found = engine.backward()
    for index, spec in enumerate(specs):
        reference = plain_model(engine, index)
        batch = TrainingStream(task, spec.training.batch_size, spec.seed, CPU).next_batch()
        loss = plain_loss(reference(batch.tokens), task, batch)
        loss.backward()
        assert found[index].item() == pytest.approx(loss.item(), rel=1e-5)
        expected = dict(reference.named_parameters())
        scale = torch.stack([expected[name].grad.norm() for name in engine.trained]).norm()
        for name in engine.trained:
            error = (engine.parameters[name].grad[index] - expected[name].grad).norm()
            assert error < 1e-4 * expected[name].grad.norm() + 1e-6 * scale, name


@every_task
def test_a_stack_is_its_models_trained_apart(task: Task) -> None:
    specs = [run_of(task, seed, n_steps=30, learning_rate=1e-3, adam_eps=1e-6) for seed in SEEDS]
    together = Engine(specs, CPU)
    losses = torch.stack([together.step() for _ in range(20)], dim=1)
    for index, spec in enumerate(specs):
        alone = Engine([spec], CPU)
        torch.testing.assert_close(losses[index], torch.cat([alone.step() for _ in range(20)]), rtol=1e-3, atol=0)
        assert distance(together.trained_tensors(index), alone.trained_tensors(0)) < 1e-3


@pytest.mark.usefixtures("large_weights")
@every_task
@torch.no_grad()
def test_evaluation_is_loss_and_plain_count(task: Task) -> None:
    engine = Engine([run_of(task, seed) for seed in SEEDS], CPU)
    batch, tested = task.test_set(), engine.test()
    for index in range(len(SEEDS)):
        outputs = plain_model(engine, index)(batch.tokens)
        assert tested.loss[index].item() == pytest.approx(plain_loss(outputs, task, batch).item(), rel=1e-5)
        if task.loss == "mean_squared_error":
            assert tested.metrics == {}
            continue
        answers = batch.targets if batch.targets.ndim == 2 else batch.targets.argmax(-1)
        right = (outputs.argmax(-1) == answers)[batch.scored].double().mean().item()
        assert 0 < right < 1
        assert tested.metrics["accuracy"][index].item() == pytest.approx(right, abs=1e-6)


@dataclasses.dataclass(frozen=True)
class NextToken(ModularAddition):
    """Modular addition, whose targets are written out, and one that reads one-hot vectors."""

    name: ClassVar[str] = "next_token"

    def rows(self, pairs: Tensor) -> Batch:
        batch = super().rows(pairs)
        return Batch(batch.tokens, batch.scored, batch.tokens.roll(-1, dims=1))

    def test_set(self) -> Batch:
        return self.rows(self.pairs[::3])


@dataclasses.dataclass(frozen=True)
class OneHot(NextToken):
    name: ClassVar[str] = "one_hot"
    reads: ClassVar[Reads] = "values"

    def rows(self, pairs: Tensor) -> Batch:
        batch = super().rows(pairs)
        return Batch(F.one_hot(batch.tokens, self.p).float(), batch.scored, batch.targets)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TASKS, "_classes", dict(TASKS._classes))
    TASKS.register(NextToken)
    TASKS.register(OneHot)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("cls", "tolerance"), [(NextToken, 0.0), (OneHot, 1e-4)])
@pytest.mark.parametrize("model", BODIES[::2], ids=["transformer", "lstm"])
def test_targets_that_are_the_next_tokens_and_one_hot_vectors_change_nothing(
    cls: type[ModularAddition], tolerance: float, model
) -> None:
    """The first change no bit; the second share no prefixes and add up in another order."""
    plain, other = (Engine([run_of(task(p=7), seed, model) for seed in SEEDS], CPU) for task in (ModularAddition, cls))
    for _ in range(3):
        torch.testing.assert_close(other.step(), plain.step(), rtol=tolerance, atol=0)
    assert distance(other.trained_tensors(1), plain.trained_tensors(1)) <= 10 * tolerance


# History, checkpoints and metrics.


def bar_of(training: StackTraining) -> TrainingProgress:
    return TrainingProgress(training.specs[0], len(training.specs), shown=False)


def finished(training: StackTraining, n_steps: int) -> list:
    for _ in range(n_steps):
        training.advance(bar_of(training))
    return training.runs()


@every_task
def test_a_checkpoint_goes_on_with_the_same_bits(task: Task) -> None:
    specs = [run_of(task, seed, n_steps=6, steps_per_evaluation=2) for seed in SEEDS]
    whole = StackTraining(specs, CPU)
    expected = finished(whole, 6)
    begun, resumed = StackTraining(specs, CPU), StackTraining(specs, CPU)
    finished(begun, 3)
    checkpoint: Checkpoint = begun.checkpoint()
    resumed.restore(checkpoint)
    for run, other in zip(finished(resumed, 3), expected, strict=True):
        assert run.history.equals(other.history)
        assert all(torch.equal(tensor, other.trained[name]) for name, tensor in run.trained.items())
    columns = ["step", "train_loss", "test_loss", *(f"test_{metric}" for metric in task.metrics)]
    assert expected[0].history.columns == columns


def test_another_metric_is_another_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is planted: how often the answer is token 0."""
    monkeypatch.setitem(losses.METRICS, "zeros", lambda judged: (judged.predicted == 0).float())
    monkeypatch.setattr(RunningSum, "metrics", ("accuracy", "zeros"))
    monkeypatch.setattr("rtinterp.tasks.base.METRICS_OF", {"cross_entropy": ("accuracy", "zeros")})
    training = StackTraining([run_of(RunningSum(), n_steps=2)], CPU)
    (run,) = finished(training, 2)
    batch = RunningSum().test_set()
    with torch.no_grad():
        zeros = (run.model(batch.tokens).argmax(-1) == 0).double().mean().item()
    assert run.history.columns[-2:] == ["test_accuracy", "test_zeros"]
    assert run.history["test_zeros"][-1] == pytest.approx(zeros, abs=1e-6)


def test_a_metric_that_is_no_number_any_more_is_a_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(losses.METRICS, "accuracy", lambda judged: judged.losses * float("nan"))
    training = StackTraining([run_of(RunningSum(), n_steps=1)], CPU)
    _, diverged = training.advance(bar_of(training))
    assert diverged[0].reason.startswith("the test accuracy became nan at step 1 of 1")


# What cannot be.


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"loss": "hinge"}, "Wrong.loss is 'hinge'; known: cross_entropy, kl_divergence, mean_squared_error"),
        ({"metrics": ("speed",)}, r"Wrong.metrics is \('speed',\); cross_entropy can be judged by \('accuracy',\)"),
        ({"metrics": ("accuracy",) * 2}, "each once"),
        ({"loss": "mean_squared_error", "metrics": ("accuracy",)}, r"can be judged by \(\)"),
    ],
)
def test_a_loss_or_metric_that_there_is_not_is_refused(attributes: dict, message: str, registered: None) -> None:
    cls = TASKS.register(
        dataclasses.dataclass(frozen=True)(type("Wrong", (RunningSum,), {"name": "wrong", **attributes}))
    )
    with pytest.raises(ValueError, match=message):
        run_of(cls())


def batch_of(tokens: Tensor, targets: Tensor | None) -> Batch:
    scored = torch.ones(tokens.shape[:2], dtype=torch.bool)
    scored[:, -1] = targets is not None
    return Batch(tokens, scored, targets)


IDS, VECTORS, THREE = torch.zeros(4096, 6, dtype=torch.int64), torch.zeros(4096, 6, 2), torch.zeros(4096, 6, 3)


@pytest.mark.parametrize(
    ("loss", "batch", "message"),
    [
        ("cross_entropy", batch_of(IDS[:9], None), r"tokens of shape \[9, 6\] and .* the shape \[4096, 6\]"),
        ("cross_entropy", batch_of(VECTORS, IDS), r"tokens of shape \[4096, 6, 2\] and .* the shape \[4096, 6\]"),
        ("cross_entropy", batch_of(IDS, VECTORS), r"targets of shape \[4096, 6, 2\] and .* the shape \[4096, 6\]"),
        ("cross_entropy", batch_of(IDS + 5, IDS), r"tokens from 5 to 5; with d_vocab=5 they must be 0 to 4"),
        ("cross_entropy", batch_of(IDS - 1, IDS), r"tokens from -1 to -1; with d_vocab=5 they must be 0 to 4"),
        (
            "cross_entropy",
            batch_of(IDS, IDS + 3),
            r"scored targets from 3 to 3; with d_vocab_out=3 they must be 0 to 2",
        ),
        ("kl_divergence", batch_of(IDS, IDS), r"targets of shape \[4096, 6\] and .* the shape \[4096, 6, 3\]"),
        ("mean_squared_error", batch_of(IDS, VECTORS), r"\[4096, 6, 2\] and .* the shape \[4096, 6, 3\]"),
        ("mean_squared_error", batch_of(IDS, THREE.double()), r"targets of .* torch.float64; .* and torch.float32"),
        ("mean_squared_error", batch_of(IDS, None), r"predictions have 3 numbers each, and targets the shape \[\]"),
    ],
)
def test_a_batch_that_is_not_what_its_task_says_is_refused(
    loss: LossName, batch: Batch, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunningSum, "loss", loss)
    monkeypatch.setattr(RunningSum, "sample", lambda *_: batch)
    with pytest.raises(ValueError, match=message):
        Engine([run_of(RunningSum())], CPU).step()
