"""Predictions by the engine's forward pass, against those of the model with hooks, one after the other."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rtinterp.analysis import prediction_table
from rtinterp.models.body import Body
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch, CircuitImitation, DecimalAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.loop import train_stack
from rtinterp.training.predicted import predicted_tokens
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, TrainSpec

TRAINING = TrainSpec(n_steps=4, batch_size=16, learning_rate=3e-2, n_warmup_steps=1)


def trained(task: Task, body: Body) -> Run:
    """A run whose embeddings, loud and random, make it predict different things."""
    (run,) = train_stack([RunSpec(task, body, TRAINING)], torch.device("cpu"), progress=False)
    generator = torch.Generator().manual_seed(0)
    loud = {
        name: 5 * torch.randn(tensor.shape, generator=generator) if tensor.ndim > 1 else torch.zeros_like(tensor)
        for name, tensor in run.trained.items()
    }
    return dataclasses.replace(run, trained=loud)


@pytest.mark.parametrize("body", [ModelSpec(24), RecurrentSpec(24)], ids=["transformer", "lstm"])
@pytest.mark.parametrize("task", [NeedleInAHaystack(4, 16), DecimalAddition(2), ParenthesisBalancing(5)], ids=repr)
def test_predictions_are_those_of_the_model_in_its_order(task, body) -> None:
    run = trained(task, body)
    batch = task.sample(300, torch.Generator().manual_seed(1))
    expected = torch.tensor(prediction_table(run.model, batch)["predicted"].to_list())
    assert len(expected.unique()) > 1, "the test needs predictions that differ"
    assert torch.equal(predicted_tokens(run, batch), expected)


def test_the_share_that_is_right_is_the_accuracy_of_the_history() -> None:
    spec = RunSpec(ParenthesisBalancing(5), ModelSpec(24), TRAINING)
    (run,) = train_stack([spec], torch.device("cpu"), progress=False)
    test_set = run.spec.task.test_set()
    right = predicted_tokens(run, test_set) == test_set.scored_targets
    assert right.double().mean().item() == pytest.approx(run.test_accuracy, abs=1e-6)


def test_targets_of_the_batch_are_not_looked_at() -> None:
    task = DecimalAddition(2)
    run = trained(task, ModelSpec(24))
    batch = task.sample(50, torch.Generator().manual_seed(1))
    others = Batch(batch.tokens, batch.scored, torch.zeros_like(batch.tokens))
    assert torch.equal(predicted_tokens(run, others), predicted_tokens(run, batch))


def test_predictions_that_are_no_tokens_are_refused() -> None:
    run = trained(CircuitImitation(4, n_tokens=5, d_vocab=16), ModelSpec(16))
    with pytest.raises(ValueError, match="circuit_imitation is judged by its kl_divergence, not by tokens"):
        predicted_tokens(run, run.spec.task.test_set())
