"""A linear recurrence over all positions at once, h_t = a_t h_{t-1} + b_t, and back.

Neighbours are joined into one step of a recurrence of half the length, whose states are those of every second position;
the others follow from these. So the operations grow with the length, and those that wait for others with its logarithm.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def linear_scan(
    kept: Float[Tensor, "batch pos *state"], added: Float[Tensor, "batch pos *state"]
) -> Float[Tensor, "batch pos *state"]:
    """Compute the states after every position, from zero before the first. No gradients pass through.

    Args:
        kept: what each position leaves of the state before it; the first one's is not read.
        added: what each position adds.
    """
    n_pos = kept.shape[1]
    if n_pos == 1:
        return added
    evens, odds, later_evens = slice(0, n_pos - 1, 2), slice(1, n_pos, 2), slice(2, n_pos, 2)
    states = torch.empty_like(added)
    states[:, 0] = added[:, 0]
    states[:, odds] = linear_scan(
        kept[:, odds] * kept[:, evens], torch.addcmul(added[:, odds], kept[:, odds], added[:, evens])
    )
    before = states[:, 1 : n_pos - 1 : 2]
    torch.addcmul(added[:, later_evens], kept[:, later_evens], before, out=states[:, later_evens])
    return states


def reversed_scan(
    kept: Float[Tensor, "batch pos *state"], added: Float[Tensor, "batch pos *state"]
) -> Float[Tensor, "batch pos *state"]:
    """Compute h_t = a_{t+1} h_{t+1} + b_t, from zero after the last position, as gradients of states go back."""
    n_pos = kept.shape[1]
    if n_pos == 1:
        return added
    odds, later_evens = slice(1, n_pos, 2), slice(2, n_pos, 2)
    n_odds, n_later = n_pos // 2, (n_pos - 1) // 2
    added_to_evens = added[:, 0::2].clone()
    added_to_evens[:, :n_odds].addcmul_(kept[:, odds], added[:, odds])
    between_evens = torch.ones_like(added_to_evens)
    torch.mul(kept[:, 1 : 2 * n_later : 2], kept[:, later_evens], out=between_evens[:, 1:])
    states = torch.empty_like(added)
    evens = reversed_scan(between_evens, added_to_evens)
    states[:, 0::2] = evens
    states[:, odds] = added[:, odds]
    states[:, 1 : 2 * n_later : 2].addcmul_(kept[:, later_evens], evens[:, 1:])
    return states
