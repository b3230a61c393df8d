"""Models in one stack train as if each were alone, and as the official recipe trains them."""

from __future__ import annotations

import pytest
import torch
from training_references import CPU, REGIMES, TASKS, distance, plant, small_run, train_alone, trained_names, unstacked

from rtinterp.models.regimes import Trainable
from rtinterp.tasks import Task
from rtinterp.training.engine import Engine
from rtinterp.training.spec import RunSpec

SEEDS = (0, 3, 11)


def after(n_steps: int, specs: list[RunSpec]) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor]:
    engine = Engine(specs, CPU)
    losses = torch.stack([engine.step() for _ in range(n_steps)], dim=1)
    return [engine.trained_tensors(model) for model in range(len(specs))], losses


@pytest.mark.parametrize(("n_steps", "tolerance"), [(1, 1e-5), (50, 1e-3)])
@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_stack_is_its_models_trained_apart(task: Task, trainable: Trainable, n_steps: int, tolerance: float) -> None:
    # With a larger eps Adam does not blow the rounding noise in b_K up to full steps.
    training = {"n_steps": 60, "learning_rate": 1e-3, "adam_eps": 1e-6}
    specs = [small_run(task, trainable, seed, **training) for seed in SEEDS]
    together, losses = after(n_steps, specs)
    for index, spec in enumerate(specs):
        (alone,), alone_losses = after(n_steps, [spec])
        assert distance(together[index], alone) < tolerance
        torch.testing.assert_close(losses[index], alone_losses[0], rtol=tolerance, atol=0)
    assert distance(together[0], together[1]) > 0.1


@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_training_follows_the_official_recipe(task: Task, trainable: Trainable) -> None:
    """Loss, clipping, AdamW with decay on matrices alone, warmup and cosine, all at once."""
    training = {"n_steps": 8, "n_warmup_steps": 2, "weight_decay": 3.0, "max_grad_norm": 0.05, "adam_eps": 1e-5}
    specs = [small_run(task, trainable, seed, **training) for seed in SEEDS[:2]]
    engine = Engine(specs, CPU)
    if trainable == "all":
        plant(engine)
    references = [unstacked(engine, model) for model in range(len(specs))]
    before = [engine.trained_tensors(model) for model in range(len(specs))]
    losses = torch.stack([engine.step() for _ in range(6)], dim=1)
    for index, spec in enumerate(specs):
        expected_losses = train_alone(references[index], spec, 6)
        assert losses[index].tolist() == pytest.approx(expected_losses, rel=1e-4)
        parameters = {name: p.detach() for name, p in references[index].named_parameters() if p.requires_grad}
        got = engine.trained_tensors(index)
        assert distance(got, before[index]) > 1e-2
        for name, expected in parameters.items():
            moved = (expected - before[index][name]).norm()
            noise = 1e-5 if name.endswith("b_K") else 1e-7  # the gradient of b_K is rounding noise
            assert (got[name] - expected).norm() <= 1e-3 * moved + noise, name


@pytest.mark.parametrize("trainable", REGIMES)
def test_frozen_tensors_keep_their_bits_and_trained_ones_move(trainable: Trainable) -> None:
    specs = [small_run(TASKS[0], trainable, seed, n_steps=20) for seed in SEEDS]
    engine = Engine(specs, CPU)
    for _ in range(20):
        engine.step()
    for index, spec in enumerate(specs):
        initial = spec.model.initial_tensors(spec.task.d_vocab, spec.task.n_ctx, spec.seed)
        trained = trained_names(trainable, initial)
        assert set(engine.trained_tensors(index)) == trained
        for name, tensor in initial.items():
            # A bias of the keys moves all scores of a query alike: its gradient is nothing but rounding, or zero.
            if not (name.endswith("b_K") and name in trained):
                assert torch.equal(engine.parameters[name][index].detach(), tensor) == (name not in trained), name


def test_trained_tensors_are_copies() -> None:
    engine = Engine([small_run()], CPU)
    copy = engine.trained_tensors(0)
    engine.step()
    assert not torch.equal(copy["unembed.W_U"], engine.parameters["unembed.W_U"][0])
    assert not copy["unembed.W_U"].requires_grad


@pytest.mark.parametrize(
    "other",
    [small_run(TASKS[4]), small_run(trainable="all"), small_run(n_steps=6)],
    ids=["task", "trainable", "training"],
)
def test_a_stack_takes_specs_that_differ_in_their_seed_alone(other: RunSpec) -> None:
    with pytest.raises(ValueError, match="differ in their seed alone"):
        Engine([small_run(), other], CPU)
