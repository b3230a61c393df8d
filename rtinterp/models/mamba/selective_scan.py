"""Mamba's recurrence, some sequences at a time: its states are many times larger than what it reads and gives.

States live only while a few sequences are worked on, forward and, computed once more, backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.mamba.scan import Scan, run

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


class _Workspace:
    """States of some sequences; channels come last, so that neighbours in memory are read by the same weight."""

    def __init__(self, like: Float[Tensor, "batch pos channel"], d_state: int) -> None:
        n_batch, n_pos, n_channels = like.shape
        self.kept, self.states = like.new_empty(2, n_batch, n_pos, d_state, n_channels)
        self._scan = Scan(self.kept)
        self._forwards = self._scan.forwards(self.states)

    def fill(
        self,
        step: Float[Tensor, "batch pos channel"],
        stepped: Float[Tensor, "batch pos channel"],
        rates: Float[Tensor, "state channel"],
        written: Float[Tensor, "batch pos state"],
    ) -> None:
        """Compute the states after every position, and what is kept of them at each."""
        torch.mul(step.unsqueeze(-2), rates, out=self.kept).exp_()
        torch.mul(stepped.unsqueeze(-2), written.unsqueeze(-1), out=self.states)
        self._scan.join()
        run(self._forwards)


class _WorkspaceBackward(_Workspace):
    """And the gradients of those states."""

    def __init__(self, like: Float[Tensor, "batch pos channel"], d_state: int) -> None:
        super().__init__(like, d_state)
        self.of_states, self.products = torch.empty_like(self.states), torch.empty_like(self.states)
        self._backwards = self._scan.backwards(self.of_states)

    def fill_back(self, of_given: Float[Tensor, "batch pos channel"], read: Float[Tensor, "batch pos state"]) -> None:
        """Compute the gradients, of which ``fill`` has made the states."""
        torch.mul(of_given.unsqueeze(-2), read.unsqueeze(-1), out=self.of_states)
        run(self._backwards)


def _parts(*tensors: Float[Tensor, "batch pos _"], d_state: int) -> Iterator[tuple[Tensor, ...]]:
    """Some sequences of each; the first tensor has the channels."""
    _, n_pos, n_channels = tensors[0].shape
    limit = STATES_AT_ONCE if tensors[0].device.type == "cpu" else STATES_AT_ONCE_ELSEWHERE
    at_once = max(1, limit // (n_pos * n_channels * d_state))
    return zip(*(tensor.split(at_once) for tensor in tensors), strict=True)


def _weighted(
    states: Float[Tensor, "batch pos state channel"],
    weights: Float[Tensor, "batch pos state"],
    out: Float[Tensor, "batch pos channel"],
) -> None:
    """Every channel's weighted sum: a product with each position's states, which are read once."""
    torch.bmm(weights.flatten(0, 1).unsqueeze(1), states.flatten(0, 1), out=out.view(-1, 1, out.shape[-1]))


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, step: Tensor, rate: Tensor, written: Tensor, read: Tensor) -> Tensor:
        ctx.save_for_backward(u, step, rate, written, read)
        given, stepped, rates = u.new_empty(u.shape), step * u, rate.transpose(1, 2).contiguous()
        space = None
        for model, of_model in enumerate(zip(step, stepped, written, read, given, strict=True)):
            for of_step, of_stepped, of_written, of_read, out in _parts(*of_model, d_state=rate.shape[-1]):
                if space is None or len(space.kept) != len(of_step):
                    space = _Workspace(of_step, rate.shape[-1])
                space.fill(of_step, of_stepped, rates[model], of_written)
                _weighted(space.states, of_read, out)
        return given

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u, step, rate, written, read = ctx.saved_tensors
        (of_given,) = gradients
        of_given, stepped, rates = of_given.contiguous(), step * u, rate.transpose(1, 2).contiguous()
        of_added, of_step, of_written, of_read = (x.new_empty(x.shape) for x in (u, step, written, read))
        of_rates = torch.zeros_like(rates) if ctx.needs_input_grad[2] else None
        space = None
        for model, of_model in enumerate(
            zip(step, stepped, written, read, of_given, of_added, of_step, of_written, of_read, strict=True)
        ):
            for part in _parts(*of_model, d_state=rate.shape[-1]):
                if space is None or len(space.kept) != len(part[0]):
                    space = _WorkspaceBackward(part[0], rate.shape[-1])
                _gradients(space, rates[model], None if of_rates is None else of_rates[model], *part)
        of_u = step * of_added
        of_step += of_added.mul_(u)
        return of_u, of_step, None if of_rates is None else of_rates.transpose(1, 2), of_written, of_read


def _gradients(
    space: _WorkspaceBackward,
    rates: Float[Tensor, "state channel"],
    of_rates: Float[Tensor, "state channel"] | None,
    step: Float[Tensor, "batch pos channel"],
    stepped: Float[Tensor, "batch pos channel"],
    written: Float[Tensor, "batch pos state"],
    read: Float[Tensor, "batch pos state"],
    of_given: Float[Tensor, "batch pos channel"],
    of_added: Float[Tensor, "batch pos channel"],
    of_step: Float[Tensor, "batch pos channel"],
    of_written: Float[Tensor, "batch pos state"],
    of_read: Float[Tensor, "batch pos state"],
) -> None:
    """Write the gradients of some sequences' added inputs, step sizes (as rates' factors alone), weights and reads."""
    space.fill(step, stepped, rates, written)
    states, of_states, products = space.states, space.of_states, space.products
    torch.sum(torch.mul(states, of_given.unsqueeze(-2), out=products), -1, out=of_read)
    space.fill_back(of_given, read)
    _weighted(of_states, written, of_added)
    torch.sum(torch.mul(of_states, stepped.unsqueeze(-2), out=products), -1, out=of_written)
    of_exponents = of_states[:, 1:].mul_(space.kept[:, 1:]).mul_(states[:, :-1])
    if of_rates is not None:
        of_rates += torch.mul(of_exponents, step[:, 1:].unsqueeze(-2), out=products[:, 1:]).sum((0, 1))
    of_step[:, 0] = 0
    torch.sum(of_exponents.mul_(rates), -2, out=of_step[:, 1:])
