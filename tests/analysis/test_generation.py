"""Sampling follows the model's distribution."""

from __future__ import annotations

import copy
import math
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import torch
from analysis_references import PLANTED

from rtinterp.analysis import complete, generation

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frequencies(model: HookedModel, **how) -> tuple[Counter, int]:
    tokens = complete(model, torch.zeros(4000, 1, dtype=torch.int64), 5, generator=generator(), **how)[:, 1:]
    return Counter(tokens.flatten().tolist()), tokens.numel()


def assert_drawn_from(probabilities: list[float], counts: Counter, n: int) -> None:
    """Every frequency within five standard errors."""
    for token, p in enumerate(probabilities):
        assert counts[token] / n == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / n) + 1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_those_of_the_planted_distribution(planted_model: HookedModel, temperature: float) -> None:
    weights = [p ** (1 / temperature) for p in PLANTED]
    expected = [weight / sum(weights) for weight in weights]
    assert_drawn_from(expected, *frequencies(planted_model, temperature=temperature))


@pytest.mark.parametrize("top_k", [1, 3, 11])
def test_top_k_draws_among_the_k_likeliest_in_proportion(planted_model: HookedModel, top_k: int) -> None:
    expected = [p / sum(PLANTED[:top_k]) for p in PLANTED[:top_k]] + [0.0] * (11 - top_k)
    assert_drawn_from(expected, *frequencies(planted_model, top_k=top_k))


def test_top_k_keeps_to_k_tokens_even_if_more_are_equally_likely(planted_model: HookedModel) -> None:
    model = copy.deepcopy(planted_model)
    model.unembed.b_U.data.zero_()
    counts, _ = frequencies(model, top_k=4)
    assert len(counts) == 4


def test_a_tiny_temperature_is_greedy_and_does_not_overflow(sharp_model: HookedModel) -> None:
    prompts = torch.randint(0, 11, (20, 3), generator=generator())
    greedy = complete(sharp_model, prompts, 6, temperature=0)
    assert torch.equal(complete(sharp_model, prompts, 6, temperature=1e-300, generator=generator()), greedy)
    assert torch.equal(complete(sharp_model, prompts, 6, top_k=1, generator=generator()), greedy)


@pytest.mark.parametrize("max_context", [None, 12, 5, 2])
def test_temperature_zero_is_the_argmax_loop_by_hand(sharp_model: HookedModel, max_context: int | None) -> None:
    prompts = torch.randint(0, 11, (8, 4), generator=generator())
    found = complete(sharp_model, prompts, 20, temperature=0, max_context=max_context)
    assert torch.equal(found[:, :4], prompts)
    for prompt, row in zip(prompts.tolist(), found.tolist(), strict=True):
        by_hand = list(prompt)
        for _ in range(20):
            window = by_hand[-(max_context or 12) :]
            by_hand.append(int(sharp_model(torch.tensor([window]))[0, -1].argmax()))
        assert row == by_hand
    assert len(found[:, 4:].unique()) > 2, "the argmax is not the same everywhere"


def test_the_generator_decides_and_torch_is_left_alone(sharp_model: HookedModel) -> None:
    prompts = torch.zeros(10, 2, dtype=torch.int64)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = complete(sharp_model, prompts, 8, generator=generator(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(complete(sharp_model, prompts, 8, generator=generator(5)), first)
    assert not torch.equal(complete(sharp_model, prompts, 8, generator=generator(6)), first)
    assert not first.requires_grad
    assert torch.equal(prompts, torch.zeros_like(prompts)), "prompts are not written to"


def test_no_new_tokens_gives_the_prompts(sharp_model: HookedModel) -> None:
    prompts = torch.randint(0, 11, (2, 30), generator=generator())
    assert torch.equal(complete(sharp_model, prompts, 0, temperature=0), prompts)


def test_completions_do_not_depend_on_the_slices(
    sharp_model: HookedModel, logits_per_call: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = torch.randint(0, 11, (7, 3), generator=generator())
    whole = complete(sharp_model, prompts, 5, generator=generator())
    assert max(logits_per_call) == 7 * 7 * 11, "all rows at once"
    logits_per_call.clear()
    monkeypatch.setattr(generation, "LOGITS_PER_SLICE", 150)
    assert torch.equal(complete(sharp_model, prompts, 5, generator=generator()), whole)
    assert max(logits_per_call) <= 150


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_tokens": torch.zeros(3, dtype=torch.int64)}, r"\[batch, pos\] .* shape \[3\]"),
        ({"prompt_tokens": torch.zeros(3, 0, dtype=torch.int64)}, r"at least one token, got shape \[3, 0\]"),
        ({"prompt_tokens": torch.tensor([[11]])}, "vocabulary of 0 to 10"),
        ({"prompt_tokens": torch.tensor([[-1]])}, "vocabulary of 0 to 10"),
        ({"n_tokens": -1}, "n_tokens must be at least 0, got -1"),
        ({"temperature": -0.5}, "temperature .* at least 0, got -0.5"),
        ({"temperature": math.nan}, "temperature .* got nan"),
        ({"temperature": math.inf}, "temperature .* got inf"),
        ({"top_k": 0}, "top_k must be from 1 to d_vocab=11, got 0"),
        ({"top_k": 12}, "top_k must be from 1 to d_vocab=11, got 12"),
        ({"max_context": 0}, "max_context must be from 1 to the model's n_ctx=12, got 0"),
        ({"max_context": 13}, "max_context must be from 1 to the model's n_ctx=12, got 13"),
        ({"generator": None}, r"temperature=1.0 draws at random: pass generator=torch.Generator\(\)"),
    ],
)
def test_impossible_arguments_are_refused(sharp_model: HookedModel, change: dict, message: str) -> None:
    arguments = {"prompt_tokens": torch.zeros(1, 2, dtype=torch.int64), "n_tokens": 1, "generator": generator()}
    with pytest.raises(ValueError, match=message):
        complete(sharp_model, **{**arguments, **change})


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_generator_on_another_device_is_refused(sharp_model: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"generator is on cuda.* prompts on cpu"):
        complete(sharp_model, torch.zeros(1, 1, dtype=torch.int64), 1, generator=torch.Generator("cuda"))
