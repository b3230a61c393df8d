"""A training that is cut off and continued is the training that was not, bit for bit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import pytest
import torch
from corpus_references import made_up_corpus
from training_references import CPU, small_run

from rtinterp.models.mamba.spec import MambaSpec
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.s4d.spec import S4DSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import CircuitImitation, LanguageModelling, Memorization, ModularAddition, NeedleInAHaystack
from rtinterp.training.checkpoint import Checkpoint, Divergence
from rtinterp.training.engine import Engine
from rtinterp.training.loop import train_stack, train_stack_kept
from rtinterp.training.packing import ChunkLimits
from rtinterp.training.progress import TrainingProgress
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec
from rtinterp.training.stack import StackTraining

N_STEPS = 7
BODIES = [
    ModelSpec(8),
    ModelSpec(8, n_layers=1, attention="prefix_sum"),
    RecurrentSpec(8),
    MambaSpec(8),
    S4DSpec(8),
    RecurrentSpec(8, cell="rnn", n_layers=1),
]


def spec_of(task=None, body=BODIES[0], trainable="embeddings", seed=0, **training) -> RunSpec:
    spec = small_run(task or ModularAddition(7), trainable, seed, n_steps=N_STEPS, steps_per_evaluation=3, **training)
    return dataclasses.replace(spec, model=body)


def with_training(spec: RunSpec, **training) -> RunSpec:
    return dataclasses.replace(spec, training=dataclasses.replace(spec.training, **training))


class Memory:
    """Keeps checkpoints in memory; ends the training after some steps if asked to."""

    def __init__(self, checkpoints: list[Checkpoint] = (), stop_after: int | None = None) -> None:
        self.kept = list(checkpoints)
        self.failed: dict[str, Divergence] = {}
        self.told: list[int] = []
        self._stop_after = stop_after

    def saved(self) -> Iterator[Checkpoint]:
        return reversed(self.kept)

    def is_due(self) -> bool:
        return True

    def save(self, checkpoint: Checkpoint) -> None:
        self.kept.append(checkpoint)

    def tell(self, step: int, train_loss: float | None) -> None:
        self.told.append(step)

    def diverged(self, run_id: str, divergence: Divergence, seconds: float) -> None:
        self.failed[run_id] = divergence


def continued_at_every_step(specs: list[RunSpec]) -> list[Run]:
    """Trained by a new object for every step, as if the process had been killed after each."""
    keeper = Memory()
    for _ in range(N_STEPS):
        runs = train_stack_kept(specs, CPU, keeper, progress=False, deadline=0.0)
        keeper = Memory(keeper.kept[-1:])
    assert runs is not None
    return runs


def assert_same(left: list[Run], right: list[Run]) -> None:
    for a, b in zip(left, right, strict=True):
        assert (a.spec, a.fingerprint) == (b.spec, b.fingerprint)
        assert a.history.equals(b.history)
        assert a.trained.keys() == b.trained.keys()
        for name, tensor in a.trained.items():
            assert torch.equal(tensor.view(torch.int32), b.trained[name].view(torch.int32)), name


@pytest.mark.parametrize("trainable", ["embeddings", "all", "unembedding", "input_embeddings"])
@pytest.mark.parametrize("body", BODIES, ids=repr)
def test_every_body_continues_bit_for_bit(body, trainable: str) -> None:
    specs = [spec_of(body=body, trainable=trainable, seed=seed) for seed in (0, 4)]
    assert_same(continued_at_every_step(specs), train_stack(specs, CPU, False))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("task", ["imitation", "language", "memorization", "needle"])
def test_every_kind_of_data_continues_bit_for_bit(task: str, precision: str) -> None:
    made = {
        "imitation": lambda: CircuitImitation(target_d_model=4, target_n_layers=1, d_vocab=16, n_tokens=6),
        "language": lambda: LanguageModelling.from_corpus(made_up_corpus(), 300, 16),
        "memorization": lambda: Memorization(6),
        "needle": lambda: NeedleInAHaystack(4, 16),
    }[task]()
    specs = [spec_of(made, seed=seed, precision=precision) for seed in (0, 1)]
    assert_same(continued_at_every_step(specs), train_stack(specs, CPU, False))


def test_a_block_of_data_that_is_used_up_in_parts_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtinterp.training.stream.BLOCK_SEQUENCES", {"cpu": 24})
    specs = [spec_of(seed=2)]
    assert_same(continued_at_every_step(specs), train_stack(specs, CPU, False))


def test_a_checkpoint_holds_no_block_of_data_and_is_a_copy() -> None:
    training = StackTraining([spec_of()], CPU)
    bar = TrainingProgress(spec_of(), 1, shown=False)
    training.advance(bar)
    checkpoint = training.checkpoint()
    before = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    assert {tensor.dtype for tensor in before.values()} == {
        torch.float32,
        torch.float64,
        torch.int64,
        torch.uint8,
    }
    weights = sum(tensor.numel() for name, tensor in before.items() if name.startswith("parameter/"))
    generator = before["generator/0"].numel()
    assert sum(t.numel() * t.element_size() for t in before.values()) < 3.1 * 4 * weights + 1.1 * generator
    training.advance(bar)
    assert all(torch.equal(before[name], tensor) for name, tensor in checkpoint.tensors.items())


def test_chunk_limits_and_duration_are_continued() -> None:
    training = StackTraining([spec_of()], CPU)
    training.advance(TrainingProgress(spec_of(), 1, shown=False))
    training._engine._limits = ChunkLimits(5, 7)
    checkpoint = training.checkpoint()
    checkpoint = with_facts(checkpoint, seconds=1000.0)
    other = StackTraining([spec_of()], CPU)
    other.restore(checkpoint)
    assert other._engine._limits == ChunkLimits(5, 7)
    assert 1000 < other.seconds < 1100
    assert other.step == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: dataclasses.replace(c, facts=dataclasses.replace(c.facts, run_ids=("x",))),
            "made for other runs: x",
        ),
        (lambda c: with_facts(c, device="cuda"), "made on device 'cuda'"),
        (lambda c: without(c, "parameter/embed.W_E"), "embed.W_E"),
        (lambda c: without(c, "exp_avg/embed.W_E"), "incomplete"),
        (lambda c: without(c, "generator/0"), "generator/0"),
        (lambda c: without(c, "losses"), "losses"),
        (lambda c: with_tensor(c, "generator/0", torch.zeros(3, dtype=torch.uint8)), "generator"),
        (lambda c: with_tensor(c, "parameter/embed.W_E", torch.zeros(2)), "embed.W_E"),
        (lambda c: with_facts(c, n_used=(3,)), "used up"),
    ],
    ids=["stack", "device", "parameter", "moment", "generator", "losses", "bytes", "shape", "position"],
)
def test_a_checkpoint_that_does_not_fit_is_passed_over_for_the_one_before(change, message: str) -> None:
    specs = [spec_of()]
    keeper = Memory()
    train_stack_kept(specs, CPU, keeper, progress=False)
    keeper = Memory([keeper.kept[1], change(keeper.kept[3])])
    with pytest.warns(UserWarning, match=message):
        runs = train_stack_kept(specs, CPU, keeper, progress=False)
    assert keeper.told == [3, 4, 5, 6, 7]
    assert_same(runs, train_stack(specs, CPU, False))


def with_facts(checkpoint: Checkpoint, **facts) -> Checkpoint:
    return dataclasses.replace(checkpoint, facts=dataclasses.replace(checkpoint.facts, **facts))


def without(checkpoint: Checkpoint, name: str) -> Checkpoint:
    return dataclasses.replace(checkpoint, tensors={k: v for k, v in checkpoint.tensors.items() if k != name})


def with_tensor(checkpoint: Checkpoint, name: str, tensor: torch.Tensor) -> Checkpoint:
    return dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, name: tensor})


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second model's weights become NaN after its second step."""
    step = Engine.step

    def spoil(engine: Engine) -> torch.Tensor:
        losses = step(engine)
        if engine.n_steps_done == 2 and len(losses) > 1:
            with torch.no_grad():
                for name in engine.trained:
                    engine.parameters[name][1] = math.nan
        return losses

    monkeypatch.setattr(Engine, "step", spoil)


@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@pytest.mark.parametrize("body", BODIES, ids=repr)
def test_a_model_that_diverges_reaches_nothing_of_the_others(
    body, trainable: str, request: pytest.FixtureRequest
) -> None:
    specs = [spec_of(NeedleInAHaystack(4, 16), body, trainable, seed) for seed in (0, 1, 2)]
    expected = train_stack(specs, CPU, False)
    request.getfixturevalue("spoiled")
    keeper = Memory()
    runs = train_stack_kept(specs, CPU, keeper, progress=False)
    assert_same(runs, [expected[0], expected[2]])
    ((run_id, divergence),) = keeper.failed.items()
    assert (run_id, divergence.step) == (specs[1].run_id, 3)
    assert "the loss became nan at step 3 of 7; lower the learning rate" in divergence.reason
    # A continued training knows it, and does not tell it again.
    again = Memory(keeper.kept[-1:])
    assert_same(train_stack_kept(specs, CPU, again, progress=False), runs)
    assert again.failed == {}


@pytest.mark.parametrize("norm", [math.inf, math.nan, 1e11])
def test_a_gradient_that_explodes_at_the_last_step_is_a_divergence(
    norm: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Engine.step

    def exploded(engine: Engine) -> torch.Tensor:
        losses = step(engine)
        if engine.n_steps_done == N_STEPS:
            engine.gradient_norms = torch.full_like(losses, norm)
        return losses

    monkeypatch.setattr(Engine, "step", exploded)
    keeper = Memory()
    assert train_stack_kept([spec_of()], CPU, keeper, progress=False) == []
    assert "the norm of the gradient became" in keeper.failed[spec_of().run_id].reason


def test_tensors_that_are_infinite_in_the_end_are_a_divergence() -> None:
    keeper = Memory()
    spec = with_training(spec_of(), n_steps=1, learning_rate=3e38)
    assert train_stack_kept([spec], CPU, keeper, progress=False) == []
    assert keeper.failed.keys() == {spec.run_id}


def test_when_all_have_diverged_the_training_ends() -> None:
    keeper = Memory()
    spec = with_training(spec_of(), n_steps=1000, learning_rate=1e37)
    assert train_stack_kept([spec], CPU, keeper, progress=False) == []
    assert keeper.failed.keys() == {spec.run_id}
    assert len(keeper.told) < 100


def test_a_deadline_leaves_a_checkpoint_after_at_least_one_step() -> None:
    keeper = Memory()
    assert train_stack_kept([spec_of()], CPU, keeper, progress=False, deadline=0.0) is None
    assert [checkpoint.facts.n_steps_done for checkpoint in keeper.kept] == [1]
