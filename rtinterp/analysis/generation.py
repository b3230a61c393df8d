"""What a language model writes (paper, figure 5)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.tasks.numbers import as_numbers

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel
#: Logits of one call of the model, 256 MiB as float32; 512 positions of 10,000 tokens are a thirteenth of it.
LOGITS_PER_SLICE = 2**26


@torch.no_grad()
def complete(
    model: HookedModel,
    prompt_tokens: Int64[Tensor, "batch prompt_pos"],
    n_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
    max_context: int | None = None,
) -> Int64[Tensor, "batch pos"]:
    """Continue each prompt by ``n_tokens`` tokens, drawn one at a time; returns prompts and continuations.

    The model runs with the hooks it has. End-of-text tokens are drawn like any other and end nothing.

    Args:
        prompt_tokens: on the model's device.
        temperature: divides the logits; 0 takes the most likely token, without a generator.
        top_k: draw among the so many most likely tokens only.
        generator: draws the tokens; on the model's device.
        max_context: the model sees this many of the latest tokens, at most and by default its ``n_ctx``. Positions
            beyond those that were trained on hold noise: give ``LanguageModelling.context_length - 1``, the number of
            positions at which that task scores a prediction.

    Raises:
        ValueError: a prompt is empty, an argument is out of range, or the generator is missing or on another device.
    """
    max_context = model.cfg.n_ctx if max_context is None else max_context
    prompt_tokens = as_numbers(prompt_tokens, "prompts")
    _check_arguments(model, prompt_tokens, n_tokens, temperature, top_k, generator, max_context)
    tokens = prompt_tokens
    for _ in range(n_tokens):
        logits = _last_logits(model, tokens[:, -max_context:])
        tokens = torch.cat([tokens, _draw(logits, temperature, top_k, generator)], dim=1)
    return tokens


def _last_logits(model: HookedModel, tokens: Int64[Tensor, "batch pos"]) -> Float[Tensor, "batch d_vocab"]:
    """The logits of the token that follows each sequence."""
    n_batch, n_pos = tokens.shape
    return torch.cat([model(tokens[rows])[:, -1] for rows in _slices(n_batch, n_pos, model.cfg.d_vocab)])


def _draw(
    logits: Float[Tensor, "batch d_vocab"], temperature: float, top_k: int | None, generator: torch.Generator | None
) -> Int64[Tensor, "batch 1"]:
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    # Exactly k candidates, also where the k-th and the next are equally likely.
    likeliest = logits.topk(logits.shape[-1] if top_k is None else top_k, dim=-1)
    # Divided by a tiny temperature a logit may overflow, but differences to the greatest can only fall to -inf.
    below = likeliest.values.double() - likeliest.values[:, :1].double()
    chosen = torch.multinomial((below / temperature).softmax(dim=-1), num_samples=1, generator=generator)
    return likeliest.indices.gather(1, chosen)


def _slices(n_rows: int, n_pos: int, d_vocab: int) -> Iterator[slice]:
    """Consecutive rows whose logits are at most ``LOGITS_PER_SLICE``, or one row."""
    rows_per_slice = max(1, LOGITS_PER_SLICE // (n_pos * d_vocab))
    for start in range(0, n_rows, rows_per_slice):
        yield slice(start, start + rows_per_slice)


def _check_arguments(
    model: HookedModel,
    prompt_tokens: Int64[Tensor, "batch prompt_pos"],
    n_tokens: int,
    temperature: float,
    top_k: int | None,
    generator: torch.Generator | None,
    max_context: int,
) -> None:
    d_vocab, n_ctx = model.cfg.d_vocab, model.cfg.n_ctx
    if prompt_tokens.ndim != 2 or 0 in prompt_tokens.shape:
        raise ValueError(f"give prompts as [batch, pos] with at least one token, got shape {list(prompt_tokens.shape)}")
    if not 0 <= int(prompt_tokens.min()) <= int(prompt_tokens.max()) < d_vocab:
        raise ValueError(f"prompts hold tokens outside the model's vocabulary of 0 to {d_vocab - 1}")
    if n_tokens < 0:
        raise ValueError(f"n_tokens must be at least 0, got {n_tokens}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be a finite number of at least 0, got {temperature}")
    if top_k is not None and not 1 <= top_k <= d_vocab:
        raise ValueError(f"top_k must be from 1 to d_vocab={d_vocab}, got {top_k}")
    if not 1 <= max_context <= n_ctx:
        raise ValueError(f"max_context must be from 1 to the model's n_ctx={n_ctx}, got {max_context}")
    if temperature == 0:
        return
    if generator is None:
        raise ValueError(f"temperature={temperature} draws at random: pass generator=torch.Generator().manual_seed(0)")
    if generator.device.type != prompt_tokens.device.type:
        raise ValueError(f"the generator is on {generator.device} and the prompts on {prompt_tokens.device}")
