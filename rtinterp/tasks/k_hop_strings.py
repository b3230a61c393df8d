"""Strings without equal neighbours, and where hops of induction lead in them.

In ``a b c a b``, one hop from the last ``b`` (position 4) leads behind the one before it (position 1): to ``c``, at
position 2, which is where an induction head looks. From ``c``, no hop leads on, since there is no ``c`` before.
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.tasks import draws

#: Where hops lead that lead nowhere. No hop that leads somewhere reaches the first position, behind which none stands.
NOWHERE = 0


def draw(n: int, n_characters: int, alphabet: int, generator: torch.Generator) -> Int64[Tensor, "batch character"]:
    """Uniform strings of characters 0 to ``alphabet - 1`` without equal neighbours."""
    first = draws.uniform(0, alphabet - 1, (n, 1), generator)
    steps = draws.uniform(1, alphabet - 1, (n, n_characters - 1), generator)
    return torch.cat([first, steps], 1).cumsum(1) % alphabet


def one_hop(characters: Int64[Tensor, "batch character"], alphabet: int) -> Int64[Tensor, "batch character"]:
    """Where one hop leads from every character: behind the last equal one before it, or ``NOWHERE``."""
    place = torch.arange(1, characters.shape[1] + 1, device=characters.device)
    behind = torch.zeros_like(characters)
    for character in range(alphabet):
        equal = characters == character
        behind_last = torch.where(equal, place, NOWHERE).cummax(1).values
        # The character itself is not before itself.
        behind[:, 1:] = torch.where(equal[:, 1:], behind_last[:, :-1], behind[:, 1:])
    return behind


def reached(
    characters: Int64[Tensor, "batch character"], alphabet: int, n_hops: Int64[Tensor, " batch"], max_hops: int
) -> Int64[Tensor, "batch character"]:
    """Where each string's number of hops leads from every character: after none, to itself; or -1 for nowhere."""
    start = torch.arange(characters.shape[1], device=characters.device).expand_as(characters)
    at, hops, remaining = start, one_hop(characters, alphabet), n_hops[:, None]
    # Of 1, 2, 4 ... hops, those that the number is made of.
    for _ in range(max_hops.bit_length()):
        at = torch.where(remaining % 2 == 1, hops.gather(1, at), at)
        hops, remaining = hops.gather(1, hops), remaining // 2
    return at.masked_fill((at == NOWHERE) & (n_hops[:, None] > 0), -1)
