"""The official generator of parenthesis strings, once sequence by sequence and once for a whole batch.

Both follow the same recipe (paper section 3): noise with probability 1/3, else a balanced string built by wrapping and
splitting; then ``mutate``, uniform in 0 .. 3, tells whether symbols are swapped (bit 0) and flipped (bit 1). Half of
the balanced strings are spared.
"""

from __future__ import annotations

import random

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks import draws

OPEN = 1
CLOSE = 2

SWAP = 1
FLIP = 2


def draw(
    max_pairs: int, n: int, generator: torch.Generator
) -> tuple[Int64[Tensor, "batch symbol"], Int64[Tensor, " batch"]]:
    """Draw ``n`` strings of OPEN and CLOSE and their lengths; symbols beyond the length mean nothing."""
    is_noise = draws.one_in(3, n, generator)
    n_pairs = draws.uniform(1, max_pairs, (n,), generator)
    length = torch.where(is_noise, draws.uniform(1, 2 * max_pairs, (n,), generator), 2 * n_pairs)
    symbols = draws.uniform(OPEN, CLOSE, (n, 2 * max_pairs), generator)
    balanced = (~is_noise).nonzero().squeeze(1)
    symbols[balanced] = CLOSE
    _write_balanced(symbols, balanced, n_pairs[balanced], generator)

    mutate = draws.uniform(0, SWAP + FLIP, (n,), generator)
    mutate.masked_fill_(~is_noise & draws.one_in(2, n, generator), 0)
    _swap(symbols, length, (mutate & SWAP).nonzero().squeeze(1), generator)
    return _flip(symbols, length, (mutate & FLIP).nonzero().squeeze(1), generator), length


def _write_balanced(
    symbols: Int64[Tensor, "batch symbol"],
    row: Int64[Tensor, " segment"],
    n_pairs: Int64[Tensor, " segment"],
    generator: torch.Generator,
) -> None:
    """Write a balanced string of ``n_pairs`` at the start of each ``row``, which holds CLOSE only.

    All segments of all strings that are still to be built are wrapped or split together, level by level.
    """
    start = torch.zeros_like(row)
    while row.numel():
        wraps = (n_pairs == 1) | draws.one_in(2, row.numel(), generator)
        symbols[row[wraps], start[wraps]] = OPEN
        inside = wraps & (n_pairs > 1)
        row_in, start_in, n_in = row[inside], start[inside] + 1, n_pairs[inside] - 1

        row, start, n_pairs = row[~wraps], start[~wraps], n_pairs[~wraps]
        n_left = 1 + draws.below(n_pairs - 1, generator)
        row = torch.cat([row_in, row, row])
        start = torch.cat([start_in, start, start + 2 * n_left])
        n_pairs = torch.cat([n_in, n_left, n_pairs - n_left])


def _swap(
    symbols: Int64[Tensor, "batch symbol"],
    length: Int64[Tensor, " batch"],
    rows: Int64[Tensor, " swapped"],
    generator: torch.Generator,
) -> None:
    """Exchange two symbols of each of ``rows``, once and again while a coin says so; skip where p >= q."""
    while rows.numel():
        p, q = draws.below(length[rows], generator), draws.below(length[rows], generator)
        ordered = p < q
        row, p, q = rows[ordered], p[ordered], q[ordered]
        symbols[row, p], symbols[row, q] = symbols[row, q], symbols[row, p]
        rows = rows[draws.one_in(2, rows.numel(), generator)]


def _flip(
    symbols: Int64[Tensor, "batch symbol"],
    length: Int64[Tensor, " batch"],
    rows: Int64[Tensor, " flipped"],
    generator: torch.Generator,
) -> Int64[Tensor, "batch symbol"]:
    """Turn symbols of ``rows`` over, at uniform positions that may repeat."""
    count = draws.geometric(rows.numel(), generator)
    count = torch.where(draws.one_in(3, rows.numel(), generator), count, 2 * count)
    row = rows.repeat_interleave(count)
    position = draws.below(length[row], generator)
    n_flips = torch.zeros_like(symbols).index_put_((row, position), torch.ones_like(row), accumulate=True)
    return torch.where(n_flips % 2 == 1, OPEN + CLOSE - symbols, symbols)


def is_balanced(symbols: Int64[Tensor, "batch symbol"], length: Int64[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
    """True where the string closes all it opens, and nothing before it was opened."""
    in_string = torch.arange(symbols.shape[1], device=symbols.device) < length[:, None]
    depth = torch.where(symbols == OPEN, 1, -1).mul_(in_string).cumsum(dim=1)
    return (depth[:, -1] == 0) & (depth.amin(dim=1) >= 0)


def draw_officially(max_pairs: int, rng: random.Random) -> str:
    """One string, with the random calls of the official code in their order."""
    mutate = rng.randint(0, SWAP + FLIP)
    if rng.randint(0, 2) == 0:
        symbols = [rng.choice("()") for _ in range(rng.randint(1, 2 * max_pairs))]
    else:
        symbols = list(_balanced_officially(rng.randint(1, max_pairs), rng))
        if rng.randint(0, 1):
            mutate = 0
    if mutate & SWAP:
        for _ in range(_count_officially(rng)):
            p, q = rng.randint(0, len(symbols) - 1), rng.randint(0, len(symbols) - 1)
            if p < q:
                symbols[p], symbols[q] = symbols[q], symbols[p]
    if mutate & FLIP:
        count = _count_officially(rng)
        if rng.randint(0, 2) != 0:
            count *= 2
        for _ in range(count):
            p = rng.randint(0, len(symbols) - 1)
            symbols[p] = "(" if symbols[p] == ")" else ")"
    return "".join(symbols)


def _balanced_officially(n_pairs: int, rng: random.Random) -> str:
    if n_pairs == 1:
        return "()"
    if rng.randint(0, 1):
        return "(" + _balanced_officially(n_pairs - 1, rng) + ")"
    n_left = rng.randint(1, n_pairs - 1)
    return _balanced_officially(n_left, rng) + _balanced_officially(n_pairs - n_left, rng)


def _count_officially(rng: random.Random) -> int:
    count = 1
    while rng.randint(0, 1):
        count += 1
    return count
