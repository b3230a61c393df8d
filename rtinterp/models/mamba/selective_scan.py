"""Mamba's recurrence, some sequences at a time: its states are many times larger than what it reads and gives.

States live only while a few sequences are worked on, forward and, computed once more, backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.mamba.scan import linear_scan, reversed_scan

#: Numbers of the states at a time: on a CPU what its caches hold, on another device what keeps it busy.
STATES_AT_ONCE, STATES_AT_ONCE_ELSEWHERE = 2**18, 2**26


def selective_scan(
    u: Float[Tensor, "model batch pos channel"],
    step: Float[Tensor, "model batch pos channel"],
    rate: Float[Tensor, "model channel state"],
    written: Float[Tensor, "model batch pos state"],
    read: Float[Tensor, "model batch pos state"],
) -> Float[Tensor, "model batch pos channel"]:
    """What every channel gives: its states, read by as many weights. Differentiable once.

    Args:
        u: what channels read.
        step: the step sizes, which make what is kept of a state exp(step rate) and what is added step times u.
        rate: negative.
        written: how much of what is added each number of a state gets.
        read: the weights.
    """
    return _SelectiveScan.apply(u, step, rate, written, read)  # pyright: ignore[reportReturnType]


def _kept_and_added(u: Tensor, step: Tensor, rate: Tensor, written: Tensor) -> tuple[Tensor, Tensor]:
    """Channels come last here, [batch pos state channel]: neighbours in memory are then read by the same weight."""
    kept = (step.unsqueeze(-2) * rate).exp_()
    return kept, (step * u).unsqueeze(-2) * written.unsqueeze(-1)


def _parts(u: Tensor, d_state: int) -> Iterator[tuple[int, slice]]:
    """A model, and some of its sequences."""
    n_models, n_batch, n_pos, n_channels = u.shape
    limit = STATES_AT_ONCE if u.device.type == "cpu" else STATES_AT_ONCE_ELSEWHERE
    at_once = max(1, limit // (n_pos * n_channels * d_state))
    return ((model, slice(start, start + at_once)) for model in range(n_models) for start in range(0, n_batch, at_once))


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, step: Tensor, rate: Tensor, written: Tensor, read: Tensor) -> Tensor:
        ctx.save_for_backward(u, step, rate, written, read)
        given, rates = torch.empty_like(u), rate.transpose(1, 2).contiguous()
        for model, some in _parts(u, rate.shape[-1]):
            at = (model, some)
            states = linear_scan(*_kept_and_added(u[at], step[at], rates[model], written[at]))
            given[at] = states.mul_(read[at].unsqueeze(-1)).sum(-2)
        return given

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u, step, rate, written, read = ctx.saved_tensors
        of_u, of_step, of_written, of_read = map(torch.empty_like, (u, step, written, read))
        rates = rate.transpose(1, 2).contiguous()
        of_rates = torch.zeros_like(rates) if ctx.needs_input_grad[2] else None
        for model, some in _parts(u, rate.shape[-1]):
            at = (model, some)
            of_given, stepped = gradients[0][at], step[at] * u[at]
            kept, added = _kept_and_added(u[at], step[at], rates[model], written[at])
            states = linear_scan(kept, added)
            of_read[at] = torch.mul(states, of_given.unsqueeze(-2), out=added).sum(-1)
            of_states = reversed_scan(kept, torch.mul(of_given.unsqueeze(-2), read[at].unsqueeze(-1), out=added))
            products = torch.empty_like(of_states)
            of_added = torch.mul(of_states, written[at].unsqueeze(-1), out=products).sum(-2)
            of_written[at] = torch.mul(of_states, stepped.unsqueeze(-2), out=products).sum(-1)
            of_exponents = of_states[:, 1:].mul_(kept[:, 1:]).mul_(states[:, :-1])
            of_u[at] = step[at] * of_added
            of_step[at] = u[at] * of_added
            if of_rates is not None:
                of_rates[model] += (of_exponents * step[at][:, 1:].unsqueeze(-2)).sum((0, 1))
            of_step[at][:, 1:] += of_exponents.mul_(rates[model]).sum(-2)
        return of_u, of_step, None if of_rates is None else of_rates.transpose(1, 2), of_written, of_read
