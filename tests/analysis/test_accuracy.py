"""Accuracy counts scored predictions, and sees the hooks that are on."""

from __future__ import annotations

import pytest
import torch

from rtinterp.analysis import accuracy
from rtinterp.models.hooked import build_model
from rtinterp.models.spec import ModelSpec
from rtinterp.tasks import Batch, DecimalAddition


def test_accuracy_equals_a_count_by_hand() -> None:
    task = DecimalAddition(n_digits=2)
    model, batch = build_model(task, ModelSpec(16), seed=0), task.sample(50, torch.Generator().manual_seed(0))
    logits = model(batch.tokens)
    right = [logits[row, pos].argmax() == batch.tokens[row, pos + 1] for row, pos in batch.scored.nonzero().tolist()]
    assert accuracy(model, batch) == pytest.approx(sum(map(int, right)) / len(right))
    assert sum(map(int, right)) > 0, "the count is not trivially zero"


def test_accuracy_sees_hooks() -> None:
    task = DecimalAddition(n_digits=2)
    model, batch = build_model(task, ModelSpec(128), seed=0), task.test_set()[:20]

    def answer(normalized: torch.Tensor, hook: object) -> torch.Tensor:
        targets = batch.tokens[:, 1 : normalized.shape[1] + 1]
        return torch.nn.functional.pad(model.W_U.T[targets], (0, 0, 0, normalized.shape[1] - targets.shape[1]))

    before = accuracy(model, batch)
    with model.hooks([("ln_final.hook_normalized", answer)]):
        assert accuracy(model, batch) == 1.0 > before
    assert accuracy(model, batch) == before


def test_a_batch_without_scored_positions_is_refused() -> None:
    task = DecimalAddition(n_digits=2)
    batch = task.test_set()[:3]
    with pytest.raises(ValueError, match="scored"):
        accuracy(build_model(task, ModelSpec(16), seed=0), Batch(batch.tokens, torch.zeros_like(batch.scored)))
