"""Kinds of brackets: which closing belongs to which opening, and strings whose brackets are not all of one kind.

A string is symbols, ``OPEN`` and ``CLOSE``, and the kind of each, from 0. Tokens of kind 0 are the symbols themselves;
those of the other kinds come behind the token of the query, an opening and a closing of each.
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks import draws
from rtinterp.tasks.parenthesis_strings import CLOSE, OPEN

QUERY = 3

#: The printed brackets of every kind: letters where there are no more brackets.
OPENINGS, CLOSINGS = "([{<" + ascii_lowercase, ")]}>" + ascii_uppercase
MAX_KINDS = len(OPENINGS)


def to_tokens(
    symbols: Int64[Tensor, "batch symbol"], kinds: Int64[Tensor, "batch symbol"]
) -> Int64[Tensor, "batch symbol"]:
    """The tokens of brackets."""
    return torch.where(kinds == 0, symbols, symbols + QUERY + 2 * (kinds - 1))


def to_symbols(tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
    """``OPEN`` or ``CLOSE`` for brackets of any kind; other tokens stay."""
    return torch.where(tokens > QUERY, (tokens - QUERY - 1) % 2 + OPEN, tokens)


def to_kinds(tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
    """The kind of every bracket; 0 for other tokens."""
    return torch.where(tokens > QUERY, (tokens - QUERY - 1) // 2 + 1, 0)


def label(token: int) -> str:
    """The printed form of a bracket."""
    kind, symbol = divmod(token - QUERY - 1, 2) if token > QUERY else (-1, token - OPEN)
    return (OPENINGS, CLOSINGS)[symbol][kind + 1]


def parse(
    string: str, n_kinds: int, max_symbols: int
) -> tuple[Int64[Tensor, "1 symbol"], Int64[Tensor, "1 symbol"], Int64[Tensor, " 1"]]:
    """The symbols of a printed string, their kinds, and its length.

    Raises:
        ValueError: if it is empty, too long or not made of brackets of these kinds.
    """
    brackets = [OPENINGS[kind] + CLOSINGS[kind] for kind in range(n_kinds)]
    if not 1 <= len(string) <= max_symbols or set(string) - set("".join(brackets)):
        what = "parentheses" if n_kinds == 1 else f"brackets of {' '.join(brackets)}"
        raise ValueError(f"give 1 to {max_symbols} {what}, got {string!r}")
    found = [("".join(brackets)).index(symbol) for symbol in string] + [0] * (max_symbols - len(string))
    numbers = torch.tensor([found])
    return numbers % 2 + OPEN, numbers // 2, torch.tensor([len(string)])


def draw(
    symbols: Int64[Tensor, "batch symbol"],
    length: Int64[Tensor, " batch"],
    n_kinds: int,
    generator: torch.Generator,
) -> Int64[Tensor, "batch symbol"]:
    """Draw a kind for every pair of brackets and every single one; half of the strings then have two kinds exchanged.

    Exchanged are the kinds of two closings that differ in kind, where there are such, so that every kind stays as
    frequent as it was.
    """
    kinds = draws.uniform(0, n_kinds - 1, tuple(symbols.shape), generator)
    opening = openings(symbols)
    kinds = torch.where(opening >= 0, kinds.gather(1, opening.clamp(min=0)), kinds)
    in_string = torch.arange(symbols.shape[1], device=symbols.device) < length[:, None]
    first, has_first = _any((symbols == CLOSE) & in_string, generator)
    differs = kinds != kinds.gather(1, first)
    second, has_second = _any((symbols == CLOSE) & in_string & differs, generator)
    exchanges = has_first & has_second & draws.one_in(2, len(symbols), generator)
    both = torch.cat([first, second], 1)
    exchanged = kinds.scatter(1, both, kinds.gather(1, both.flip(1)))
    return torch.where(exchanges[:, None], exchanged, kinds)


def openings(symbols: Int64[Tensor, "batch symbol"]) -> Int64[Tensor, "batch symbol"]:
    """Where the opening stands that each closing closes, whatever their kinds; -1 for openings, and where none is left.

    Between two heights, a string that goes up at openings and down at closings passes up and down in turns: a closing
    closes the passage before it, if there is one.
    """
    steps = torch.where(symbols == OPEN, 1, -1)
    height = steps.cumsum(1)
    passes = torch.minimum(height, height - steps)
    in_order = passes.argsort(dim=1, stable=True)
    ordered = passes.gather(1, in_order)
    before = torch.full_like(in_order, -1)
    before[:, 1:] = in_order[:, :-1].where(ordered[:, 1:] == ordered[:, :-1], -1)
    return torch.full_like(in_order, -1).scatter_(1, in_order, before).where(symbols == CLOSE, -1)


def match(
    symbols: Int64[Tensor, "batch symbol"], kinds: Int64[Tensor, "batch symbol"], length: Int64[Tensor, " batch"]
) -> Bool[Tensor, " batch"]:
    """True where every closing that closes an opening is of its kind; symbols beyond the length mean nothing."""
    opening = openings(symbols)
    beyond = torch.arange(symbols.shape[1], device=symbols.device) >= length[:, None]
    return ((opening < 0) | (kinds.gather(1, opening.clamp(min=0)) == kinds) | beyond).all(1)


def _any(
    allowed: Bool[Tensor, "batch symbol"], generator: torch.Generator
) -> tuple[Int64[Tensor, "batch 1"], Bool[Tensor, " batch"]]:
    """One place of those that are allowed, each equally likely, and whether there is any."""
    order = draws.permutations(len(allowed), allowed.shape[1], generator)
    return (order + 1).where(allowed, 0).argmax(1, keepdim=True), allowed.any(1)
