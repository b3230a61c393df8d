from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rtinterp.analysis.fourier import (
    excluded_logits,
    frequency_loss_table,
    key_frequencies,
    logits_of_all_pairs,
    pair_loss,
    restricted_logits,
    sum_frequency_power,
)
from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition

P = 13
A, B, C = torch.meshgrid(*[torch.arange(P)] * 3, indexing="ij")


def clock(*frequencies: int) -> torch.Tensor:
    """Logits of a model that knows the sum through some frequencies."""
    waves = [torch.cos(2 * torch.pi * k * (A + B - C) / P) for k in frequencies]
    return 8 * torch.stack(waves).sum(0).double()


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randn(P, P, P, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_planted_frequencies_are_found_and_are_all_that_counts(noise: torch.Tensor) -> None:
    logits = clock(2, 5) + 0.1 * noise
    assert sorted(key_frequencies(logits, 2)) == [2, 5]
    assert pair_loss(restricted_logits(logits, [2, 5])) < pair_loss(logits) * 1.1
    assert pair_loss(excluded_logits(logits, [2, 5])) == pytest.approx(math.log(P), rel=0.05)
    assert pair_loss(restricted_logits(logits, [3, 4])) == pytest.approx(math.log(P), rel=0.05)
    assert pair_loss(excluded_logits(logits, [3, 4])) == pytest.approx(pair_loss(logits), rel=0.05)


def test_a_function_of_one_number_or_of_the_difference_has_no_power_of_the_sum() -> None:
    for argument in (A - C, A - B - C, 2 * A + B - C):
        power = sum_frequency_power(torch.cos(2 * torch.pi * 3 * argument / P).double())
        assert power.max() < 1e-12


@pytest.mark.parametrize("p", [12, 13])
def test_waves_are_terms_of_the_two_dimensional_transform(p: int) -> None:
    logits = torch.randn(p, p, p, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # An independent reference: keep the diagonal terms (k, k) and (-k, -k) and the constant of numpy's transform.
    spectrum = np.fft.fft2(logits.numpy(), axes=(0, 1))
    kept = np.zeros_like(spectrum)
    for k in (0, 2, -2, p // 2, -(p // 2)):
        kept[k, k] = spectrum[k, k]
    expected = np.fft.ifft2(kept, axes=(0, 1)).real
    np.testing.assert_allclose(restricted_logits(logits, [2, p // 2]).numpy(), expected, atol=1e-10)
    together = restricted_logits(logits, [2]) + excluded_logits(logits, [2]) - logits.mean((0, 1))
    torch.testing.assert_close(together, logits)
    power = sum_frequency_power(logits)
    assert len(power) == p // 2
    reference = np.abs(spectrum[2, 2]) ** 2 + np.abs(spectrum[-2, -2]) ** 2
    variance = (logits - logits.mean((0, 1))).square().sum().item() * p**2
    assert power[1].item() == pytest.approx(reference.sum() / variance)


def test_noise_has_no_key_frequencies(noise: torch.Tensor) -> None:
    power = sum_frequency_power(noise)
    assert power.max() < 3 * 2 / (P * P - 1)  # two of p^2 - 1 dimensions, give or take


def test_controls_are_other_frequencies_drawn_at_random(noise: torch.Tensor) -> None:
    table = frequency_loss_table(clock(1, 6) + 0.1 * noise, [1, 6], torch.Generator().manual_seed(0), n_controls=5)
    losses = {key: rows["loss"] for key, rows in table.group_by("logits", "frequencies")}
    assert losses["restricted", "key"][0] < 0.2 < losses["restricted", "control"].min()
    assert losses["excluded", "key"][0] > 2 > losses["excluded", "control"].max()
    assert len(losses["restricted", "control"]) == 5
    assert losses["restricted", "control"].n_unique() > 1


def test_pairs_are_those_asked_for() -> None:
    chosen = torch.zeros(P, P, dtype=torch.bool)
    chosen[2, 3] = True
    logits = torch.zeros(P, P, P)
    logits[2, 3, 5] = 9
    assert pair_loss(logits, chosen) == pytest.approx(math.log(1 + (P - 1) * math.exp(-9)))
    assert pair_loss(torch.zeros(P, P, P)) == pytest.approx(math.log(P))


def test_all_pairs_are_in_their_places() -> None:
    task = ModularAddition(p=7)
    model = build_model(task, ModelSpec(8), seed=0)
    found = logits_of_all_pairs(model, task)
    with torch.no_grad():
        torch.testing.assert_close(found[3, 5], model(torch.tensor([[3, 5]]))[0, -1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"reads 7 tokens and predicts 7, the task has p = 11"):
        logits_of_all_pairs(model, ModularAddition(p=11))


@pytest.mark.parametrize(
    ("logits", "frequencies", "message"),
    [
        (torch.zeros(3, 3, 4), [1], r"pass \[a b c\]"),
        (torch.full((5, 5, 5), torch.nan), [1], "not finite"),
        (torch.zeros(5, 5, 5), [3], r"frequencies \[3\]: p = 5 has 1 to 2"),
        (torch.zeros(5, 5, 5), [0], r"frequencies \[0\]"),
    ],
    ids=["shape", "finite", "large", "constant"],
)
def test_bad_input_is_refused(logits: torch.Tensor, frequencies: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restricted_logits(logits, frequencies)


def test_shares_and_controls_that_do_not_exist_are_refused(noise: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="the same for all pairs"):
        sum_frequency_power(torch.zeros(5, 5, 5))
    with pytest.raises(ValueError, match="n is 7; p = 13 has the frequencies 1 to 6"):
        key_frequencies(noise, 7)
    with pytest.raises(ValueError, match="4 key frequencies leave 2 others"):
        frequency_loss_table(noise, [1, 2, 3, 4], torch.Generator())
    with pytest.raises(ValueError, match="no pair is chosen"):
        pair_loss(noise, torch.zeros(P, P, dtype=torch.bool))
