"""Training LSTMs and RNNs in a stack against PyTorch's own modules, one at a time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from recurrent_references import (
    RECURRENT_SPECS,
    TorchRecurrent,
    by_our_names,
    ours,
    planted_recurrent,
    torch_name,
    train_alone,
    with_our_weights,
)
from torch import Tensor
from training_references import CPU, distance, mean_loss

from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.regimes import TRAINABLE, Trainable
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store.training import train
from rtinterp.tasks import (
    CircuitImitation,
    DecimalAddition,
    Memorization,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)
from rtinterp.tasks.floors import accuracy
from rtinterp.training.capacity import chunk_limits, models_per_stack
from rtinterp.training.engine import Engine
from rtinterp.training.packing import ChunkLimits
from rtinterp.training.spec import RunSpec, TrainSpec
from rtinterp.training.stream import TrainingStream

SEEDS = (0, 3, 11)

TASKS = [
    ModularAddition(p=23),
    NeedleInAHaystack(max_pairs=4, n_values=16),
    DecimalAddition(n_digits=2),
    ParenthesisBalancing(max_pairs=6),
    Memorization(n_keys=7),
]

#: None stands for everything.
REGIMES: dict[Trainable, set[str] | None] = {
    "embeddings": {"embed.W_E", "unembed.W_U", "unembed.b_U"},
    "all": None,
    "unembedding": {"unembed.W_U", "unembed.b_U"},
    "input_embeddings": {"embed.W_E"},
    "token_embedding+unembedding": {"embed.W_E", "unembed.W_U", "unembed.b_U"},
    "frozen_qk": None,
    "frozen_mlp": None,
}

BODIES = {"lstm": RecurrentSpec(d_model=12), "rnn": RecurrentSpec(d_model=9, n_layers=3, cell="rnn")}
bodies = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
tasks = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def small_run(task: Task, body: RecurrentSpec, trainable: Trainable = "all", seed: int = 0, **training) -> RunSpec:
    fields = {"n_steps": 60, "batch_size": 8, "learning_rate": 5e-3, "n_warmup_steps": 0, **training}
    return RunSpec(task, body, TrainSpec(**fields), trainable, seed)


def plant(engine: Engine) -> None:
    """Large weights, so that no gradient is small by accident."""
    spec = engine.spec
    with torch.no_grad():
        for model in range(len(engine.fingerprints)):
            for name, tensor in planted_recurrent(spec.model, spec.task.d_vocab, seed=model).items():
                engine.parameters[name][model] = tensor


def unstacked(engine: Engine, model: int) -> TorchRecurrent:
    """One model of the stack as PyTorch's modules, with its own copies; only what trains requires grad."""
    tensors = {name: parameter[model].detach().clone() for name, parameter in engine.parameters.items()}
    alone = with_our_weights(engine.spec.model, tensors)
    trained = {torch_name(name) for name in REGIMES[engine.spec.trainable] or tensors}
    for name, parameter in alone.named_parameters():
        parameter.requires_grad_(name in trained)
    return alone


def check_gradients(engine: Engine, specs: list[RunSpec]) -> None:
    losses = engine.backward()
    for index, spec in enumerate(specs):
        model = unstacked(engine, index)
        loss = mean_loss(model, TrainingStream(spec.task, spec.training.batch_size, spec.seed, CPU).next_batch())
        loss.backward()
        assert losses[index].item() == pytest.approx(loss.item(), rel=1e-5)
        for name, theirs in by_our_names(model, engine.parameters).items():
            stacked = engine.parameters[name].grad
            assert (stacked is not None) == (theirs.grad is not None) == (name in engine.trained), name
            if stacked is not None:
                expected = ours(name, theirs.grad)
                assert expected.norm() > 0, name
                assert (stacked[index] - expected).norm() < 1e-4 * expected.norm(), name


@pytest.mark.parametrize("trainable", REGIMES)
@bodies
@tasks
def test_gradients_are_those_of_torch(task: Task, body: RecurrentSpec, trainable: Trainable) -> None:
    assert set(REGIMES) == set(TRAINABLE)
    specs = [small_run(task, body, trainable, seed) for seed in (0, 5)]
    engine = Engine(specs, CPU)
    assert set(engine.trained) == (REGIMES[trainable] or set(engine.parameters))
    if trainable == "all":
        plant(engine)
    check_gradients(engine, specs)


@pytest.mark.parametrize("batch_size", [1, 64])
@pytest.mark.parametrize("body", RECURRENT_SPECS, ids=str)
def test_gradients_at_odd_sizes(body: RecurrentSpec, batch_size: int) -> None:
    for task in (ModularAddition(p=2), NeedleInAHaystack(max_pairs=1, n_values=127), TASKS[3]):
        specs = [small_run(task, body, seed=seed, batch_size=batch_size) for seed in (0, 7)]
        check_gradients(Engine(specs, CPU), specs)


@bodies
def test_a_batch_cut_into_many_chunks_has_the_same_gradients(
    body: RecurrentSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [small_run(TASKS[3], body, seed=seed) for seed in (0, 1)]
    monkeypatch.setattr("rtinterp.training.engine.chunk_limits", lambda *_: ChunkLimits(0, 0))
    engine = Engine(specs, CPU)
    assert len(engine.next_packed_batch().chunks) == 8
    check_gradients(Engine(specs, CPU), specs)


@bodies
def test_imitation_trains_a_recurrent_student(body: RecurrentSpec) -> None:
    """A transformer is the target, a recurrent network the model."""
    task = CircuitImitation(target_d_model=4, target_n_layers=1, d_vocab=16, n_tokens=6)
    engine = Engine([small_run(task, body, batch_size=64)], CPU)
    losses = [engine.step().item() for _ in range(40)]
    assert 0 < sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.parametrize("trainable", REGIMES)
@bodies
def test_frozen_tensors_keep_their_bits_and_trained_ones_move(body: RecurrentSpec, trainable: Trainable) -> None:
    specs = [small_run(TASKS[0], body, trainable, seed) for seed in SEEDS]
    engine = Engine(specs, CPU)
    for _ in range(20):
        engine.step()
    for index, spec in enumerate(specs):
        initial = body.initial_tensors(spec.task.d_vocab, spec.task.n_ctx, spec.seed)
        trained = REGIMES[trainable] or set(initial)
        assert set(engine.trained_tensors(index)) == trained
        for name, tensor in initial.items():
            assert torch.equal(engine.parameters[name][index].detach(), tensor) == (name not in trained), name


def after(n_steps: int, specs: list[RunSpec]) -> tuple[list[dict[str, Tensor]], Tensor]:
    engine = Engine(specs, CPU)
    losses = torch.stack([engine.step() for _ in range(n_steps)], dim=1)
    return [engine.trained_tensors(model) for model in range(len(specs))], losses


@pytest.mark.parametrize(("n_steps", "tolerance"), [(1, 1e-5), (50, 1e-3)])
@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@bodies
def test_a_stack_is_its_models_trained_apart(
    body: RecurrentSpec, trainable: Trainable, n_steps: int, tolerance: float
) -> None:
    for task in (TASKS[0], TASKS[3]):
        specs = [small_run(task, body, trainable, seed, adam_eps=1e-6) for seed in SEEDS]
        together, losses = after(n_steps, specs)
        for index, spec in enumerate(specs):
            (alone,), alone_losses = after(n_steps, [spec])
            assert distance(together[index], alone) < tolerance
            torch.testing.assert_close(losses[index], alone_losses[0], rtol=tolerance, atol=0)
        assert distance(together[0], together[1]) > 0.1


@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@bodies
def test_training_follows_the_official_recipe(body: RecurrentSpec, trainable: Trainable) -> None:
    """Clipping, AdamW with decay on matrices alone, warmup and cosine, over torch's modules."""
    fields = {"n_steps": 8, "n_warmup_steps": 2, "weight_decay": 3.0, "max_grad_norm": 0.05, "adam_eps": 1e-5}
    spec = small_run(TASKS[1], body, trainable, seed=3, **fields)
    engine = Engine([spec], CPU)
    before, reference = engine.trained_tensors(0), unstacked(engine, 0)
    losses = [engine.step().item() for _ in range(6)]
    assert losses == pytest.approx(train_alone(reference, spec, 6), rel=1e-4)
    for name, theirs in by_our_names(reference, engine.trained).items():
        expected = ours(name, theirs.detach())
        moved = (expected - before[name]).norm()
        assert moved > 0, name
        assert (engine.parameters[name][0].detach() - expected).norm() < 1e-3 * moved, name


@bodies
def test_bfloat16_gradients_are_float32_gradients_but_for_rounding(body: RecurrentSpec) -> None:
    gradients = {}
    for precision in ("float32", "bfloat16"):
        engine = Engine([small_run(TASKS[3], body, batch_size=64, precision=precision)], CPU)
        engine.backward()
        gradients[precision] = {name: engine.parameters[name].grad for name in engine.trained}
        assert all(gradient.dtype == torch.float32 for gradient in gradients[precision].values())
    assert 1e-6 < distance(gradients["bfloat16"], gradients["float32"]) < 2e-2


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_trained_network_balances_parentheses(cell: str) -> None:
    # Of distinct rows hardly any is balanced at this size.
    task = ParenthesisBalancing(max_pairs=4, test_rows="drawn")
    training = {"n_steps": 150, "batch_size": 128, "n_warmup_steps": 20, "steps_per_evaluation": 50}
    run = train(small_run(task, RecurrentSpec(16, cell=cell), **training), device="cpu", progress=False)
    test_set = task.test_set()
    answers = test_set.scored_targets
    majority = max(accuracy(torch.full_like(answers, answer), answers) for answer in range(task.d_vocab))
    assert majority < 0.8
    assert run.test_accuracy > 0.95
    # The model that is handed out is the one that was measured.
    n_pos = test_set.tokens.shape[1]
    with torch.no_grad():
        logits = run.model(test_set.tokens)
    scored = test_set.scored[:, : n_pos - 1]
    assert (logits[:, :-1][scored].argmax(-1) == answers).double().mean() == pytest.approx(run.test_accuracy, abs=1e-6)
    assert F.cross_entropy(logits[:, :-1][scored], answers).item() == pytest.approx(run.test_loss, rel=1e-4)


def test_chunks_are_cut_by_the_widest_activations() -> None:
    task = NeedleInAHaystack()
    assert task.sequence_length == 63
    widest = {ModelSpec(64): (256, 252), RecurrentSpec(64): (256, 256), RecurrentSpec(64, cell="rnn"): (64, 64)}
    for body, (row, place) in widest.items():
        spec = RunSpec(task, body, TrainSpec(n_steps=1, batch_size=1))
        assert chunk_limits(spec, CPU) == ChunkLimits(n_rows=2**22 // row, n_places=2**22 // place)
        assert models_per_stack(spec, CPU) == 2**11 // row


def test_a_frozen_network_memorises_in_its_embeddings() -> None:
    task = Memorization(n_keys=7)
    body = RecurrentSpec(64, cell="rnn")
    spec = small_run(task, body, "embeddings", n_steps=200, batch_size=64, learning_rate=1e-2)
    run = train(spec, device="cpu", progress=False)
    answers = task.test_set().scored_targets
    assert answers.bincount().max() / len(answers) < 0.35
    assert run.test_accuracy > 0.5
    assert set(run.trained) == {"embed.W_E", "unembed.W_U", "unembed.b_U"}
