"""Accuracy counts scored predictions, exact match whole sequences, and both see the hooks that are on."""

from __future__ import annotations

import pytest
import torch

from rtinterp.analysis import accuracy, exact_match
from rtinterp.models.build import build_model
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch, DecimalAddition, ModularAddition


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


@pytest.mark.parametrize("measure", [accuracy, exact_match])
def test_a_batch_without_scored_positions_is_refused(measure) -> None:
    task = DecimalAddition(n_digits=2)
    batch = task.test_set()[:3]
    with pytest.raises(ValueError, match="scored"):
        measure(build_model(task, ModelSpec(16), seed=0), Batch(batch.tokens, torch.zeros_like(batch.scored)))


def often_right(batch: Batch, share: float) -> torch.Tensor:
    """Logits that favour the right token at random places, and token 0 elsewhere."""
    n_batch, n_pos = batch.tokens.shape
    is_right = torch.rand(n_batch, n_pos - 1, generator=torch.Generator().manual_seed(5)) < share
    favoured = torch.where(is_right, batch.tokens[:, 1:], 0)
    return torch.nn.functional.one_hot(torch.nn.functional.pad(favoured, (0, 1)), 40).float()


@pytest.mark.parametrize("score_first_digit", [False, True])
def test_exact_match_equals_a_count_by_hand(score_first_digit: bool) -> None:
    batch = DecimalAddition(4, score_first_digit).sample(200, torch.Generator().manual_seed(0))
    logits = often_right(batch, share=0.8)
    n_right = 0
    for row in range(len(batch)):
        places = [pos for pos in range(batch.tokens.shape[1]) if batch.scored[row, pos]]
        assert len(places) == 5 + score_first_digit
        n_right += all(logits[row, pos].argmax() == batch.tokens[row, pos + 1] for pos in places)

    def model(tokens: torch.Tensor) -> torch.Tensor:
        return logits[:, : tokens.shape[1]]

    assert 0 < n_right < len(batch)
    assert exact_match(model, batch) == n_right / len(batch)
    assert exact_match(model, batch) < accuracy(model, batch)


def test_exact_match_leaves_out_sequences_that_score_nothing() -> None:
    batch = DecimalAddition(2).sample(6, torch.Generator().manual_seed(0))
    scored = batch.scored.clone()
    scored[:4] = False
    logits = often_right(batch, share=1.0)
    wrong = logits.clone()
    wrong[4] = 0

    def model(tokens: torch.Tensor) -> torch.Tensor:
        return wrong[:, : tokens.shape[1]]

    assert exact_match(model, Batch(batch.tokens, scored)) == 0.5


@pytest.mark.parametrize("spec", [ModelSpec(16), ModelSpec(16, attention="prefix_sum"), RecurrentSpec(16)], ids=str)
def test_exact_match_is_accuracy_where_one_prediction_is_scored(spec: ModelSpec | RecurrentSpec) -> None:
    task = ModularAddition(p=13)
    model, batch = build_model(task, spec, seed=0), task.sample(300, torch.Generator().manual_seed(0))
    assert exact_match(model, batch) == accuracy(model, batch) > 0
