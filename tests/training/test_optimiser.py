"""Schedule, clipping and decay against transformers and torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from training_references import CPU, small_run
from transformers import get_cosine_schedule_with_warmup

from rtinterp.training.engine import Engine
from rtinterp.training.optimiser import adamw, clip_gradients, learning_rate
from rtinterp.training.spec import TrainSpec


@pytest.mark.parametrize(
    ("n_steps", "n_warmup_steps"), [(1, 0), (1, 1), (10, 0), (10, 3), (10, 10), (7, 20), (1000, 500)]
)
def test_the_schedule_is_the_one_of_transformers(n_steps: int, n_warmup_steps: int) -> None:
    training = small_run(n_steps=n_steps, n_warmup_steps=n_warmup_steps, learning_rate=3e-3).training
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=training.learning_rate)
    schedule = get_cosine_schedule_with_warmup(optimiser, n_warmup_steps, n_steps)
    for step in range(n_steps):
        assert learning_rate(step, training) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12, abs=1e-18)
        optimiser.step()
        schedule.step()


def test_the_first_step_of_a_warmup_has_rate_zero_and_the_next_does_not() -> None:
    engine = Engine([small_run(n_warmup_steps=2)], CPU)
    initial = engine.trained_tensors(0)
    engine.step()
    assert all(torch.equal(tensor, initial[name]) for name, tensor in engine.trained_tensors(0).items())
    engine.step()
    assert not any(torch.equal(tensor, initial[name]) for name, tensor in engine.trained_tensors(0).items())


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 1e6])
def test_every_model_is_clipped_as_torch_clips_it(max_norm: float) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([1e-3, 1.0, 100.0, 0.0])
    parameters = [torch.zeros(4, *shape, requires_grad=True) for shape in [(3, 2), (5,), (2, 3, 4), (1,)]]
    for parameter in parameters[:-1]:
        values = torch.randn(parameter.shape, generator=generator)
        parameter.grad = values * sizes.view(-1, *(1,) * (values.dim() - 1))
    alone = [[nn.Parameter(torch.zeros_like(p[model])) for p in parameters] for model in range(4)]
    for model, copies in enumerate(alone):
        for copy, parameter in zip(copies[:-1], parameters, strict=False):
            copy.grad = parameter.grad[model].clone()
    norms = clip_gradients(parameters, max_norm)
    assert parameters[-1].grad is None
    for model, copies in enumerate(alone):
        assert norms[model].item() == pytest.approx(nn.utils.clip_grad_norm_(copies, max_norm).item(), rel=1e-6)
        for copy, parameter in zip(copies[:-1], parameters, strict=False):
            torch.testing.assert_close(parameter.grad[model], copy.grad)


def test_every_hyper_parameter_of_adam_is_the_one_of_the_spec() -> None:
    """Against the update as Loshchilov and Hutter write it, in double precision."""
    beta1, beta2, eps, decay, rate = 0.3, 0.6, 0.1, 0.2, 0.05
    moments = {"adam_beta1": beta1, "adam_beta2": beta2, "adam_eps": eps}
    training = TrainSpec(n_steps=4, batch_size=1, learning_rate=rate, weight_decay=decay, **moments)
    tensors = {name: torch.full((2, 3), 2.0, requires_grad=True) for name in ("decayed", "not decayed")}
    optimiser = adamw(tensors, ["decayed"], training)
    expected, first, second = dict.fromkeys(tensors, 2.0), 0.0, 0.0
    for step, gradient in enumerate([1.0, -3.0, 0.5, 4.0], start=1):
        for tensor in tensors.values():
            tensor.grad = torch.full_like(tensor, gradient)
        optimiser.step()
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        move = rate * (first / (1 - beta1**step)) / ((second / (1 - beta2**step)) ** 0.5 + eps)
        expected = {
            name: value * (1 - rate * decay if name == "decayed" else 1.0) - move for name, value in expected.items()
        }
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor.detach(), torch.full_like(tensor, expected[name]), msg=f"{name}, {step}")


def test_decay_pulls_on_matrices_alone() -> None:
    """A step with and one without decay differ by lr * decay * parameter on matrices, and by nothing elsewhere."""
    with_decay, without = (Engine([small_run(trainable="all", weight_decay=decay)], CPU) for decay in (0.5, 0.0))
    initial = with_decay.trained_tensors(0)
    for engine in (with_decay, without):
        engine.step()
    plain = without.trained_tensors(0)
    for name, tensor in with_decay.trained_tensors(0).items():
        pull = 1e-2 * 0.5 * initial[name] if ".W_" in name else torch.zeros_like(tensor)
        torch.testing.assert_close(plain[name] - tensor, pull, atol=1e-8, rtol=1e-3, msg=name)
