"""The engine on a CUDA device: the same mathematics as HookedTransformer there, and as the CPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from training_references import CPU, TASKS, distance, mean_loss, small_run, unstacked

from rtinterp.models.regimes import Trainable
from rtinterp.tasks import Batch, Memorization, Task
from rtinterp.training.engine import Engine
from rtinterp.training.train_spec import Precision

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")
#: Relative error of a gradient against float32 on the CPU: 10 and 8 bits are rounded to in tf32 and bfloat16.
TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "tf32": 5e-3, "bfloat16": 2e-2}


def on_the_same_data(engine: Engine, batches: list[Batch]) -> Engine:
    """Streams differ between devices; gradients are compared on given batches."""
    batches = [batch.to(engine._device) for batch in batches]
    for stream, batch in zip(engine._streams, batches, strict=True):
        stream.next_batch = lambda batch=batch: batch
    return engine


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_gradients_are_those_of_autograd_on_a_cpu(task: Task, trainable: Trainable, precision: Precision) -> None:
    specs = [small_run(task, trainable, seed, batch_size=64, precision=precision) for seed in (0, 5)]
    batches = [task.sample(64, torch.Generator().manual_seed(seed)) for seed in (0, 5)]
    engine = on_the_same_data(Engine(specs, CUDA), batches)
    losses = engine.backward()
    plain = Engine(
        [dataclasses.replace(s, training=dataclasses.replace(s.training, precision="float32")) for s in specs], CPU
    )
    for index, batch in enumerate(batches):
        model = unstacked(plain, index)
        loss = mean_loss(model, batch)
        loss.backward()
        assert losses[index].item() == pytest.approx(loss.item(), rel=TOLERANCE[precision])
        expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None and "b_K" not in name}
        got = {name: engine.parameters[name].grad[index].cpu() for name in expected}
        assert distance(got, expected) < TOLERANCE[precision]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_fifty_steps_on_either_device_end_alike(task: Task) -> None:
    specs = [small_run(task, seed=seed, n_steps=60, learning_rate=1e-3, adam_eps=1e-6) for seed in (0, 3)]
    batches = [
        [task.sample(8, torch.Generator().manual_seed(100 * step + seed)) for seed in (0, 3)] for step in range(50)
    ]
    engines = [Engine(specs, device) for device in (CUDA, CPU)]
    for of_step in batches:
        for engine in engines:
            on_the_same_data(engine, of_step).step()
    for model in range(2):
        assert distance(*(engine.trained_tensors(model) for engine in engines)) < 1e-3
    assert engines[0].test().metrics["accuracy"].tolist() == pytest.approx(
        engines[1].test().metrics["accuracy"].tolist(), abs=2e-3
    )


def test_a_step_repeats_bit_for_bit() -> None:
    specs = [small_run(TASKS[1], seed=seed, batch_size=64) for seed in (0, 1)]
    first, second = (Engine(specs, CUDA) for _ in range(2))
    for _ in range(5):
        assert torch.equal(first.step(), second.step())
    assert distance(first.trained_tensors(1), second.trained_tensors(1)) == 0


def test_a_batch_larger_than_the_grid_of_a_kernel_is_trained_on() -> None:
    """Memorization's official batches, in stacks of three, have more sequences than 65,535."""
    specs = [small_run(Memorization(n_keys=64), "all", seed, batch_size=32_768) for seed in range(3)]
    losses = [Engine(specs, device).step() for device in (CUDA, CPU)]
    # Streams differ between devices, and all labels are guessed alike before training.
    assert losses[0].tolist() == pytest.approx(losses[1].tolist(), rel=1e-3)
