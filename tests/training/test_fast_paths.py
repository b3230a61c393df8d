"""Every shortcut of the engine against the plain computation, at sizes that make it stumble."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest
import torch
from training_references import CPU, TASKS, distance, mean_loss, small_run, unstacked

from rtinterp.models import layers, prefixes
from rtinterp.models.initialisation import initialise
from rtinterp.models.parameters import Parameter
from rtinterp.models.regimes import Trainable
from rtinterp.models.transformer import attention
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import (
    DecimalAddition,
    KHopInduction,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)
from rtinterp.training import engine as engine_module
from rtinterp.training.capacity import needed_bytes
from rtinterp.training.engine import Engine
from rtinterp.training.packing import ChunkLimits, pack
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream

ODD_TASKS = [
    *TASKS,
    NeedleInAHaystack(max_pairs=1, n_values=127),
    DecimalAddition(n_digits=2, score_first_digit=True),
    ParenthesisBalancing(max_pairs=4),
]
ODD_BODIES = {
    "narrow": ModelSpec(d_model=4),
    "one layer": ModelSpec(d_model=8, n_layers=1),
    "three layers, one head": ModelSpec(d_model=12, n_layers=3, n_heads=1),
}


def run(task: Task, body: ModelSpec, batch_size: int, trainable: Trainable, seed: int) -> RunSpec:
    return dataclasses.replace(small_run(task, trainable, seed, batch_size=batch_size), model=body)


@pytest.fixture
def large_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models start from weights that leave no part of them idle, frozen or not."""

    def planted(parameters: Iterable[Parameter], seed: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: tensor if name == "unembed.b_U" else 5 * tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in initialise(parameters, seed).items()
        }

    monkeypatch.setattr(engine_module, "initialise", planted)


@pytest.mark.usefixtures("large_weights")
@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@pytest.mark.parametrize("batch_size", [1, 33])
@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES)
@pytest.mark.parametrize("task", ODD_TASKS, ids=str)
def test_loss_and_gradients_at_odd_sizes(task: Task, body: ModelSpec, batch_size: int, trainable: Trainable) -> None:
    specs = [run(task, body, batch_size, trainable, seed) for seed in (0, 7)]
    engine = Engine(specs, CPU)
    losses = engine.backward()
    for index, spec in enumerate(specs):
        model = unstacked(engine, index)
        loss = mean_loss(model, TrainingStream(task, batch_size, spec.seed, CPU).next_batch())
        loss.backward()
        assert losses[index].item() == pytest.approx(loss.item(), rel=1e-4, abs=1e-5)
        for name in engine.trained:
            expected = dict(model.named_parameters())[name].grad
            error = (engine.parameters[name].grad[index] - expected).norm()
            assert error <= 5e-4 * expected.norm() + 1e-5, name


@pytest.mark.usefixtures("large_weights")
@pytest.mark.parametrize("trainable", ["embeddings", "unembedding"])
@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES)
@pytest.mark.parametrize("task", TASKS, ids=str)
def test_frozen_products_as_convolutions(
    task: Task, body: ModelSpec, trainable: Trainable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As wide single models on a CPU compute them; the planted biases are not zero."""
    spec = run(task, body, 9, trainable, 3)
    plain = Engine([spec], CPU)
    for name in ("CONVOLVED_FROM_COLUMNS", "CONVOLVED_FROM_ROWS", "ROWS_PER_CONVOLUTION"):
        monkeypatch.setattr(layers, name, 1)
    convolved = Engine([spec], CPU)
    assert convolved._frozen_body.blocks[0].attention.qkv.kernel is not None
    for _ in range(20):
        convolved.restore(plain.state())  # rounding grows from step to step, by how much depends on the CPU
        assert convolved.step().item() == pytest.approx(plain.step().item(), rel=1e-4, abs=1e-5)
        assert distance(convolved.trained_tensors(0), plain.trained_tensors(0)) < 1e-3


@pytest.mark.usefixtures("large_weights")
@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@pytest.mark.parametrize("task", TASKS, ids=str)
def test_rows_that_fill_up_a_multiple_change_nothing(
    task: Task, trainable: Trainable, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [run(task, ModelSpec(d_model=8), 150, trainable, seed) for seed in (0, 3)]
    plain, filled = Engine(specs, CPU), Engine(specs, CPU)
    monkeypatch.setattr(engine_module, "row_multiple", lambda *_: 3)
    batch = filled.next_packed_batch()
    n_rows = [chunk.prefixes.tokens.shape[1] for chunk in batch.chunks]
    assert all(n % 3 == 0 for n in n_rows if n >= prefixes.ROUNDED_FROM_MULTIPLES * 3)
    assert max(n_rows) >= prefixes.ROUNDED_FROM_MULTIPLES * 3
    assert len(batch.entries.tokens[0]) % 3 == 0 or len(batch.entries.tokens[0]) < prefixes.ROUNDED_FROM_MULTIPLES * 3
    filled = Engine(specs, CPU)
    losses = filled.backward().tolist()
    monkeypatch.setattr(engine_module, "row_multiple", lambda *_: 1)
    assert losses == pytest.approx(plain.backward().tolist(), rel=1e-5)
    for name in plain.trained:
        expected = plain.parameters[name].grad
        assert (filled.parameters[name].grad - expected).norm() <= 1e-4 * expected.norm() + 1e-6, name


def test_convolutions_get_whole_multiples_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new number of rows would be compiled."""
    met = set()
    convolved = layers.Affine._convolved
    monkeypatch.setattr(
        layers.Affine, "_convolved", lambda self, x, *rest: (met.add(x.shape[1]), convolved(self, x, *rest))[1]
    )
    spec = dataclasses.replace(small_run(NeedleInAHaystack(), batch_size=100), model=ModelSpec(d_model=512))
    Engine([spec], CPU).step()
    assert met
    assert all(n >= layers.CONVOLVED_FROM_ROWS and n % layers.ROWS_PER_CONVOLUTION == 0 for n in met)


def few_and_many_scored() -> tuple[Task, Task]:
    return NeedleInAHaystack(max_pairs=4, n_values=16), DecimalAddition(n_digits=2, score_first_digit=True)


@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@pytest.mark.parametrize("task", few_and_many_scored(), ids=str)
def test_bfloat16_follows_float32(task: Task, trainable: str) -> None:
    """A rounding of 2^-8 in every product of the body, and nothing else, parts the two."""
    training = {"n_steps": 40, "batch_size": 64, "learning_rate": 3e-3}
    trained, losses = {}, {}
    for precision in ("float32", "bfloat16"):
        spec = small_run(task, trainable, precision=precision, **training)
        engine = Engine([dataclasses.replace(spec, seed=seed) for seed in (0, 1)], CPU)
        start = engine.trained_tensors(0)
        losses[precision] = torch.stack([engine.step() for _ in range(40)])
        trained[precision] = engine.trained_tensors(0)
    moved = distance(trained["float32"], start)
    assert 0 < distance(trained["bfloat16"], trained["float32"]) < 0.2 * moved
    torch.testing.assert_close(losses["bfloat16"], losses["float32"], rtol=0.02, atol=0.0)


def test_bfloat16_gradients_are_float32_gradients_but_for_rounding() -> None:
    task = NeedleInAHaystack(max_pairs=4, n_values=16)
    gradients = {}
    for precision in ("float32", "bfloat16"):
        engine = Engine([small_run(task, batch_size=64, precision=precision)], CPU)
        engine.backward()
        gradients[precision] = {name: engine.parameters[name].grad for name in engine.trained}
        assert all(gradient.dtype == torch.float32 for gradient in gradients[precision].values())
    assert 1e-6 < distance(gradients["bfloat16"], gradients["float32"]) < 1e-2


@pytest.mark.usefixtures("large_weights")
def test_accuracy_is_measured_in_float32_whatever_the_training() -> None:
    task = NeedleInAHaystack(max_pairs=4, n_values=16)
    engine = Engine([small_run(task, precision="bfloat16")], CPU)
    plain = Engine([small_run(task)], CPU)
    assert torch.equal(engine.test().metrics["accuracy"], plain.test().metrics["accuracy"])


def test_the_process_keeps_its_own_precision() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        seen = []
        engine = Engine([small_run()], CPU)
        pack_as_before = engine._pack
        engine._pack = lambda batches: (seen.append(torch.get_float32_matmul_precision()), pack_as_before(batches))[1]
        engine.step()
        assert seen == ["highest"]
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_tf32_on_a_cpu_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="precision='tf32' is a mode of CUDA devices"):
        Engine([small_run(precision="tf32")], CPU)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_out_of_memory_halves_the_chunks_until_they_fit(error: RuntimeError, monkeypatch: pytest.MonkeyPatch) -> None:
    task = NeedleInAHaystack(max_pairs=4, n_values=16)
    specs = [small_run(task, seed=seed, batch_size=64) for seed in (0, 1)]
    plain = Engine(specs, CPU)
    plain_losses = [plain.step() for _ in range(3)]
    summed_loss, n_rows_that_fit, largest = engine_module.summed_loss, 60, []

    def with_little_memory(model, embedded, chunk, loss):
        if chunk.prefixes.tokens.numel() > n_rows_that_fit:
            raise error
        largest.append(chunk.prefixes.tokens.numel())
        return summed_loss(model, embedded, chunk, loss)

    monkeypatch.setattr(engine_module, "summed_loss", with_little_memory)
    engine = Engine(specs, CPU)
    losses = [engine.step() for _ in range(3)]
    torch.testing.assert_close(losses, plain_losses, rtol=1e-4, atol=0)
    assert distance(engine.trained_tensors(1), plain.trained_tensors(1)) < 1e-4
    assert max(largest) > n_rows_that_fit / 4, "smaller chunks than needed"


def test_what_never_fits_is_told_with_the_need(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine_module, "summed_loss", no_memory)
    with pytest.raises(MemoryError, match=r"2 model\(s\) of width 16 need about .* GiB on cpu .* train fewer seeds"):
        Engine([small_run(), small_run(seed=1)], CPU).step()
    with pytest.raises(MemoryError, match="use a smaller width"):
        Engine([small_run()], CPU).step()


def test_other_errors_pass() -> None:
    engine = Engine([small_run()], CPU)
    engine._pack = lambda _: (_ for _ in ()).throw(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        engine.step()


def test_sequences_that_begin_alike_share_rows_across_chunks() -> None:
    """Sorted before they are cut: only the first sequence of a chunk repeats what an earlier chunk has."""
    batch = ModularAddition(p=23).sample(500, torch.Generator().manual_seed(0))
    n_distinct = len({tuple(row[: n + 1]) for row in batch.tokens.tolist() for n in range(2)})
    chunks = pack([batch], 23, ChunkLimits(50, 10**6)).chunks
    assert len(chunks) > 5
    assert sum(chunk.prefixes.tokens.shape[1] for chunk in chunks) <= n_distinct + len(chunks)


@pytest.mark.parametrize("trainable", ["embeddings", "all"])
def test_the_estimate_of_memory_counts_what_a_stack_holds(trainable: Trainable) -> None:
    """Parameters, gradients and both moments of AdamW; with two tokens at a time activations hardly count."""
    spec = run(ModularAddition(p=113), ModelSpec(d_model=128), 1, trainable, 0)
    engine = Engine([spec, spec.with_seed(1)], CPU)
    engine.step()
    parameters = engine.parameters.values()
    moments = [tensor for state in engine._optimiser.state.values() for tensor in state.values()]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    held = sum(tensor.nbytes for tensor in [*parameters, *gradients, *moments])
    assert held <= needed_bytes(spec, 2, ChunkLimits(0, 0)) < 1.03 * held


@pytest.mark.parametrize("task", [ModularAddition(p=23), KHopInduction(max_hops=2, length=12)], ids=str)
def test_more_sequences_than_a_kernel_takes_go_through_several(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = run(task, ModelSpec(d_model=8), batch_size=33, trainable="all", seed=0)
    whole, parted = Engine([spec], CPU), Engine([spec], CPU)
    expected = whole.backward()
    monkeypatch.setattr(attention, "SEQUENCES_PER_KERNEL", 4)
    assert torch.allclose(parted.backward(), expected, rtol=1e-6)
    gradients = [{name: engine.parameters[name].grad for name in engine.trained} for engine in (parted, whole)]
    assert distance(*gradients) < 1e-5
