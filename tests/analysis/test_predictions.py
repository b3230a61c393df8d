"""Measures count scored predictions, do not depend on slices, and see the hooks that are on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl
import pytest
import torch
import torch.nn.functional as F
from analysis_references import PLANTED

from rtinterp.analysis import (
    accuracy,
    cross_entropy,
    exact_match,
    kl_divergence,
    logit_difference,
    prediction_table,
    predictions,
    scored_logits,
)
from rtinterp.models.build import build_model
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch, DecimalAddition, ModularAddition

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

TOKEN_MEASURES = [accuracy, exact_match, cross_entropy, logit_difference, prediction_table]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


@pytest.mark.parametrize("measure", [*TOKEN_MEASURES, scored_logits])
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


def batch_of(n: int, n_pos: int = 9) -> Batch:
    """Random tokens, of which a random half is scored; the last two positions never are."""
    tokens = torch.randint(0, 11, (n, n_pos), generator=generator(1))
    scored = torch.rand(n, n_pos, generator=generator(2)) < 0.5
    scored[:, -2:] = False
    return Batch(tokens, scored)


@torch.no_grad()
def full_cross_entropy(model: HookedModel, batch: Batch) -> float:
    losses = F.cross_entropy(model(batch.tokens)[:, :-1].transpose(1, 2), batch.tokens[:, 1:], reduction="none")
    return losses[batch.scored[:, :-1]].mean().item()


@pytest.mark.parametrize(
    ("numbers_per_pass", "most"), [(1, 77), (7 * 128, 77), (2 * 7 * 128, 2 * 77), (10**6, 40 * 77)]
)
def test_cross_entropy_is_the_cross_entropy_of_the_full_logits(
    sharp_model: HookedModel,
    logits_per_call: list[int],
    monkeypatch: pytest.MonkeyPatch,
    numbers_per_pass: int,
    most: int,
) -> None:
    batch = batch_of(40)
    expected = full_cross_entropy(sharp_model, batch)
    logits_per_call.clear()
    monkeypatch.setattr(predictions, "ACTIVATIONS_PER_PASS", numbers_per_pass)
    assert cross_entropy(sharp_model, batch) == pytest.approx(expected, rel=1e-6)
    assert max(logits_per_call) == most, "no more than fit, and nothing after the last scored position"


def test_cross_entropy_of_the_planted_distribution(planted_model: HookedModel) -> None:
    tokens = torch.tensor([[5, 0, 3, 9, 1]])
    scored = torch.tensor([[True, False, True, True, False]])
    expected = -(math.log(0.3) + math.log(0.01) + math.log(0.2)) / 3
    assert cross_entropy(planted_model, Batch(tokens, scored)) == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_sees_hooks(sharp_model: HookedModel) -> None:
    with sharp_model.hooks([("ln_final.hook_normalized", lambda normalized, hook: 0 * normalized)]):
        ablated = cross_entropy(sharp_model, batch_of(10))
        hooked = full_cross_entropy(sharp_model, batch_of(10))
    assert ablated == pytest.approx(hooked, rel=1e-6)
    assert ablated != pytest.approx(cross_entropy(sharp_model, batch_of(10)), rel=1e-3)


def test_an_untrained_model_is_about_as_good_as_guessing() -> None:
    task = DecimalAddition(n_digits=2)
    nats = cross_entropy(build_model(task, ModelSpec(16), seed=0), task.test_set()[:50])
    assert nats == pytest.approx(math.log(task.d_vocab), abs=0.1)


@torch.no_grad()
def by_hand(model: HookedModel, batch: Batch, intact: HookedModel) -> pl.DataFrame:
    """Everything there is to measure, one prediction after the other."""
    rows = []
    for sequence, pos in batch.scored.nonzero().tolist():
        logits, expected = model(batch.tokens[sequence : sequence + 1])[0, pos], int(batch.tokens[sequence, pos + 1])
        p, q = (m(batch.tokens[sequence : sequence + 1])[0, pos].double().softmax(-1) for m in (intact, model))
        wrong = [logit for token, logit in enumerate(logits.tolist()) if token != expected]
        rows.append(
            {
                "sequence": sequence,
                "pos": pos,
                "expected": expected,
                "predicted": logits.tolist().index(max(logits.tolist())),
                "right": logits[expected].item() > max(wrong),
                "nats": -math.log(q[expected]),
                "logit_difference": logits[expected].item() - max(wrong),
                "against_0": (logits[expected] - logits[0]).item(),
                "kl": sum(float(a) * math.log(a / b) for a, b in zip(p, q, strict=True)),
            }
        )
    return pl.DataFrame(rows)


@pytest.mark.parametrize("numbers_per_pass", [1, 4000, 10**6])
def test_every_measure_equals_a_count_by_hand_however_it_is_sliced(
    sharp_model: HookedModel, tiny_model: HookedModel, monkeypatch: pytest.MonkeyPatch, numbers_per_pass: int
) -> None:
    batch = batch_of(30)
    expected, intact = by_hand(sharp_model, batch, tiny_model), scored_logits(tiny_model, batch)
    monkeypatch.setattr(predictions, "ACTIVATIONS_PER_PASS", numbers_per_pass)
    table = prediction_table(sharp_model, batch)
    for name in table.columns:
        assert table[name].to_list() == pytest.approx(expected[name].to_list(), abs=1e-4), name
    assert 0 < expected["right"].sum() < len(expected)
    measured = {
        "right": accuracy(sharp_model, batch),
        "nats": cross_entropy(sharp_model, batch),
        "logit_difference": logit_difference(sharp_model, batch),
        "against_0": logit_difference(sharp_model, batch, torch.zeros(len(expected), dtype=torch.int64)),
        "kl": kl_divergence(sharp_model, batch, intact),
    }
    for name, value in measured.items():
        assert value == pytest.approx(expected[name].mean(), abs=1e-5), name
    of_sequences = expected.group_by("sequence").agg(pl.col("right").all())
    assert exact_match(sharp_model, batch) == of_sequences["right"].mean()


def test_kl_is_zero_of_a_model_to_itself_and_sees_hooks(sharp_model: HookedModel) -> None:
    batch = batch_of(20)
    intact = scored_logits(sharp_model, batch)
    assert kl_divergence(sharp_model, batch, intact) == pytest.approx(0, abs=1e-6)
    assert kl_divergence(sharp_model, batch, intact.log_softmax(-1)) == pytest.approx(0, abs=1e-6)
    with sharp_model.hooks([("blocks.1.hook_mlp_out", lambda out, hook: 0 * out)]):
        assert kl_divergence(sharp_model, batch, intact) > 0.01


def test_kl_to_targets_that_are_log_probabilities(planted_model: HookedModel) -> None:
    batch = batch_of(5)
    targets = torch.full((*batch.tokens.shape, 11), -math.log(11))
    uniform = Batch(batch.tokens, batch.scored, targets)
    expected = sum(-math.log(11 * p) for p in PLANTED) / 11
    assert kl_divergence(planted_model, uniform) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="none can be the most likely token"):
        accuracy(planted_model, uniform)
    with pytest.raises(ValueError, match=r"pass reference=scored_logits\(intact_model, batch\)"):
        kl_divergence(planted_model, batch)


@pytest.mark.parametrize("shape", [(3, 11), (1, 11), ()])
def test_a_reference_of_other_predictions_is_refused(sharp_model: HookedModel, shape: tuple[int, ...]) -> None:
    batch = batch_of(8)
    n = int(batch.scored.sum())
    with pytest.raises(ValueError, match=rf"pass \[{n}, d_vocab_out\]"):
        kl_divergence(sharp_model, batch, torch.zeros(shape))
    with pytest.raises(ValueError, match="12 numbers a prediction, the model predicts 11"):
        kl_divergence(sharp_model, batch, torch.zeros(n, 12))
    with pytest.raises(ValueError, match=f"one token for each of {n} predictions"):
        logit_difference(sharp_model, batch, torch.zeros(n + 1, dtype=torch.int64))


@pytest.mark.parametrize("measure", TOKEN_MEASURES)
def test_a_batch_of_another_task_is_refused(measure) -> None:
    model = build_model(ModularAddition(p=13), ModelSpec(16), seed=0)
    with pytest.raises(ValueError, match=r"tokens of the batch are \d+ to 1\d+, the model's 0 to 12; pass a batch of"):
        measure(model, ModularAddition(p=19).test_set())
    with pytest.raises(ValueError, match="longer than the model's n_ctx = "):
        measure(model, DecimalAddition(2).test_set())


@pytest.mark.parametrize("measure", [*TOKEN_MEASURES, scored_logits, kl_divergence])
def test_what_is_no_batch_or_no_model_is_refused_with_what_to_pass(measure) -> None:
    task = ModularAddition(p=7)
    model, batch = build_model(task, ModelSpec(16), seed=0), task.test_set()
    with pytest.raises(TypeError, match=r"Tensor is no Batch.*task\.test_set\(\), or Batch\(tokens, scored\)"):
        measure(model, batch.tokens)
    reference = {"reference": torch.zeros(len(batch), task.d_vocab)} if measure is kl_divergence else {}
    with pytest.raises(TypeError, match=r"^ModelSpec makes no logits of tokens: pass a model, such as run\.model$"):
        measure(ModelSpec(16), batch, **reference)


def test_memory_stays_bounded_at_the_papers_width() -> None:
    seen: list[int] = []
    model = build_model(ModularAddition(p=13), ModelSpec(1024), seed=0)
    batch = ModularAddition(p=13).sample(30_000, generator())

    def narrow(tokens: torch.Tensor) -> torch.Tensor:
        seen.append(tokens.numel() * model.cfg.d_mlp)
        return torch.zeros(*tokens.shape, 13)

    narrow.cfg = model.cfg
    accuracy(narrow, batch)
    assert max(seen) <= predictions.ACTIVATIONS_PER_PASS
    assert max(seen) * torch.float32.itemsize <= 2**29, "a laptop has room for it"
    assert sum(seen) == 30_000 * 2 * 4096
