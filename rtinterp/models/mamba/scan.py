"""A linear recurrence over all positions at once, h_t = a_t h_{t-1} + b_t, and back.

Neighbours are joined into one step of a recurrence of half the length, whose states are those of every second position;
the others follow from these. So the operations grow with the length, and those that wait for others with its logarithm.
What neighbours leave together is the same in both directions. States are written over what is added, and the views of
all this are made once for the many times that the same buffers are filled.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Step(NamedTuple):
    """Some positions, to which others are added by a factor."""

    target: Float[Tensor, "batch some *state"]
    factor: Float[Tensor, "batch some *state"]
    source: Float[Tensor, "batch some *state"]


def run(steps: list[Step]) -> None:
    """Take the steps, each after the one before."""
    for target, factor, source in steps:
        target.addcmul_(factor, source)


class Scan:
    """Ways from what positions add to states; no gradients pass through.

    Args:
        kept: what each position leaves of the state before it; of the first one nothing depends on it. Whoever fills it
            calls ``join`` before steps are taken.
    """

    def __init__(self, kept: Float[Tensor, "batch pos *state"]) -> None:
        self._levels = [kept]
        while (n_pos := self._levels[-1].shape[1]) > 1:
            self._levels.append(torch.empty_like(self._levels[-1][:, : n_pos // 2]))
        pairs = zip(self._levels[1:], self._levels, strict=False)
        self._joins = [(level, of[:, 1::2], of[:, : 2 * level.shape[1] : 2]) for level, of in pairs]

    def join(self) -> None:
        """Compute what neighbours leave together, their pairs, the pairs of these and so on."""
        for together, later, earlier in self._joins:
            torch.mul(later, earlier, out=together)

    def forwards(self, added: Float[Tensor, "batch pos *state"]) -> list[Step]:
        """Steps that turn what positions add into the states after them, from zero before the first."""
        at_levels = self._at_levels(added)
        pairs = [Step(x[:, 1::2], kept[:, 1::2], x[:, : 2 * (x.shape[1] // 2) : 2]) for kept, x in at_levels]
        between = [Step(x[:, 2::2], kept[:, 2::2], x[:, 1:-1:2]) for kept, x in at_levels]
        return [*pairs, *reversed(between)]

    def backwards(self, added: Float[Tensor, "batch pos *state"]) -> list[Step]:
        """Steps that turn b into h_t = a_{t+1} h_{t+1} + b_t, from zero after the last, as gradients of states go."""
        at_levels = self._at_levels(added)
        between = [Step(x[:, 1:-1:2], kept[:, 2::2], x[:, 2::2]) for kept, x in at_levels]
        pairs = [Step(x[:, : 2 * (x.shape[1] // 2) : 2], kept[:, 1::2], x[:, 1::2]) for kept, x in at_levels]
        return [*between, *reversed(pairs)]

    def _at_levels(
        self, added: Float[Tensor, "batch pos *state"]
    ) -> list[tuple[Float[Tensor, "batch some *state"], Float[Tensor, "batch some *state"]]]:
        """What is kept at each level, and its places: every second of those of the level before."""
        return [(kept, added[:, 2**level - 1 :: 2**level]) for level, kept in enumerate(self._levels[:-1])]
