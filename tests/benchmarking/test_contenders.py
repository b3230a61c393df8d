"""Contenders train the same models in the same way."""

from __future__ import annotations

import math
import statistics
import types
from collections.abc import Callable

import pytest
import torch
from benchmarking.contenders import CONTENDERS
from benchmarking_references import CPU, small_run, start
from torch import Tensor

from rtinterp.tasks import (
    Batch,
    DecimalAddition,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)


@pytest.mark.parametrize(
    "task", [ModularAddition(p=23), NeedleInAHaystack(4, 16), DecimalAddition(2), ParenthesisBalancing(6)], ids=str
)
def test_the_hooked_loop_trains_as_ours(task: Task) -> None:
    spec = small_run(task, seed=3, n_steps=10, n_warmup_steps=2, weight_decay=1.0, max_grad_norm=0.3)
    ours, hooked = start("ours", spec), start("HookedTransformer loop", spec)
    losses = [(ours.step()[0][0], hooked.step()) for _ in range(5)]
    for of_ours, of_hooked in losses:
        assert of_ours == pytest.approx(of_hooked, rel=1e-4)
    assert abs(losses[0][0] - losses[-1][0]) > 1e-2, "nothing was learned"
    assert ours.test_accuracy() == pytest.approx(hooked.test_accuracy(), abs=1e-3)


@pytest.fixture
def official():
    spec = small_run(NeedleInAHaystack(max_pairs=4, n_values=16), d_model=32)
    return start("official style", spec)


def test_the_official_style_starts_at_chance(official) -> None:
    assert official.step() == pytest.approx(math.log(official.task.d_vocab), abs=0.05)


def test_the_official_style_trains_the_embeddings_alone(official) -> None:
    before = {name: parameter.detach().clone() for name, parameter in official.model.named_parameters()}
    for _ in range(3):
        official.step()
    moved = {name for name, parameter in official.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {"transformer.wte.weight", "transformer.wpe.weight", "lm_head.weight"}


def test_the_official_style_has_the_body_of_the_spec(official) -> None:
    body = {n: p for n, p in official.model.named_parameters() if ".h." in n or ".ln_f." in n}
    d_model, n_layers = 32, 2
    assert sum(parameter.numel() for parameter in body.values()) == n_layers * (12 * d_model**2 + 13 * d_model) + 64
    assert official.model.config.n_head == 4


def test_the_official_style_never_trains_on_the_test_set() -> None:
    task = ModularAddition(p=7)
    trainer, seen = start("official style", small_run(task)), []
    trainer.update = lambda logits, batch: seen.append(batch)
    for _ in range(20):
        trainer.step()
    assert {len(batch) for batch in seen} == {32}
    rows = {tuple(row) for batch in seen for row in batch.tokens.tolist()}
    assert rows == {(a, b, (a + b) % 7) for a in range(7) for b in range(7)} - set(
        map(tuple, task.test_set().tokens.tolist())
    )


def counted_accuracy(model: Callable[[Tensor], Tensor], batch: Batch) -> float:
    """Prediction by prediction."""
    right = []
    with torch.no_grad():
        for tokens, scored in zip(batch.tokens, batch.scored, strict=True):
            guesses = model(tokens[None])[0].argmax(-1)
            right += [bool(guesses[at] == tokens[at + 1]) for at in scored.nonzero().flatten().tolist()]
    return statistics.mean(right)


def test_accuracy_is_a_plain_count(official, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        official.step()
    few = official.task.test_set()[:150]
    monkeypatch.setattr("benchmarking.contenders.TEST_SEQUENCES_AT_ONCE", 40)
    official.task = types.SimpleNamespace(test_set=lambda: few)
    expected = counted_accuracy(lambda tokens: official.model(input_ids=tokens).logits, few)
    assert 0 < expected < 1
    assert official.test_accuracy() == pytest.approx(expected, abs=1e-9)


def test_ours_is_the_median_over_seeds() -> None:
    specs = [small_run(ModularAddition(p=5), seed=seed) for seed in range(3)]
    contender = CONTENDERS["ours"].start(specs, CPU)
    for _ in range(30):
        contender.step()
    alone = [accuracy for engine in contender.engines for accuracy in engine.test().metrics["accuracy"].tolist()]
    assert len(alone) == 3
    assert contender.test_accuracy() == sorted(alone)[1]


@pytest.mark.parametrize("name", CONTENDERS)
def test_precision_is_that_of_the_contender(name: str) -> None:
    contender = start(name, small_run(ModularAddition(p=5)))
    way = CONTENDERS[name]
    if name.startswith("ours"):
        assert contender.engines[0].spec.training.precision == way.precision
    else:
        assert {parameter.dtype for parameter in contender.model.parameters()} == {torch.float32}
        assert (way.precision, way.one_at_a_time) == ("float32", True)
