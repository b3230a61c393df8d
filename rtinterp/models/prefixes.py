"""Each distinct prefix of a batch once, and each distinct entry of a model once.

In a causal model the activations at a position are a function of the tokens up to it. Sequences that begin alike, as
all pairs ``a, b`` with the same ``a`` do, therefore share rows, and padding needs none. Only attention sees the batch
as sequences. Before the first attention, even prefixes that end in the same token at the same position are alike.

An example with one model (M = 1) and a batch [1 2 3] of the sequences ``5 7 2`` and ``5 8 2``: there are five distinct
prefixes, ``5``, ``5 7``, ``5 7 2``, ``5 8`` and ``5 8 2``, so ``tokens`` is [[5, 7, 2, 8, 2]], ``positions`` is
[[0, 1, 2, 1, 2]], ``row_at`` [1 2 3] is [[[0, 1, 2], [0, 3, 4]]], and ``occurrence`` is [[0, 1, 2, 4, 5]]. The two
prefixes that end in token 2 at position 2 are one entry, so there are four entries, sorted by token and position:
tokens [[2, 5, 7, 8]], positions [[2, 0, 1, 1]], and ``entries`` of the prefixes is [[1, 2, 0, 3, 0]].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

#: Bits of a non-negative int64, into which the leading tokens are packed to sort sequences that begin alike together.
SORT_KEY_BITS = 63

#: Fewer rows than so many multiples are not rounded up to a multiple: it would add more than a sixteenth.
ROUNDED_FROM_MULTIPLES = 16


@dataclasses.dataclass(frozen=True)
class Prefixes:
    """The distinct prefixes of M batches; models with fewer have unused rows at the end.

    Attributes:
        tokens: last token of each prefix.
        positions: its position.
        row_at: the prefix that ends at each position; 0 at padding, where it is not to be read.
        occurrence: one place of each prefix in the batch, as an index into the flattened ``batch pos``.
        entries: the entry that each prefix ends with.
    """

    tokens: Int64[Tensor, "model row"]
    positions: Int64[Tensor, "model row"]
    row_at: Int64[Tensor, "model batch pos"]
    occurrence: Int64[Tensor, "model row"]
    entries: Int64[Tensor, "model row"]

    @property
    def entry_at(self) -> Int64[Tensor, "model batch pos"]:
        """The entry at each position; any at padding."""
        return self.entries.gather(1, self.row_at.flatten(1)).view_as(self.row_at)


@dataclasses.dataclass(frozen=True)
class Entries:
    """The distinct pairs of token and position of M batches; models with fewer have unused ones at the end.

    Where sequences are of real-valued vectors, every vector of every sequence is an entry of its own.
    """

    tokens: Int64[Tensor, "model entry"] | Float[Tensor, "model entry d_vocab"]
    positions: Int64[Tensor, "model entry"]


def share_entries(chunks: Sequence[Prefixes], n_pos: int, row_multiple: int = 1) -> tuple[Entries, list[Prefixes]]:
    """The distinct entries of all chunks, and the chunks with ``entries`` pointing to them.

    Args:
        n_pos: more than any position.
        row_multiple: what the number of entries is to be a multiple of, where there are many; the last are then unused.
    """
    keys = torch.cat([chunk.tokens * n_pos + chunk.positions for chunk in chunks], dim=1)
    in_order, order = keys.sort(dim=1)
    is_first = torch.ones_like(in_order, dtype=torch.bool)
    is_first[:, 1:] = in_order[:, 1:] != in_order[:, :-1]
    rank = is_first.cumsum(1) - 1
    n_entries = _rounded_up(int(rank.amax()) + 1, row_multiple)
    distinct = keys.new_zeros(len(keys), n_entries).scatter_(1, rank, in_order)
    entries = torch.empty_like(keys).scatter_(1, order, rank).split([c.tokens.shape[1] for c in chunks], dim=1)
    shared = [dataclasses.replace(chunk, entries=of_chunk) for chunk, of_chunk in zip(chunks, entries, strict=True)]
    return Entries(tokens=distinct // n_pos, positions=distinct % n_pos), shared


def order_by_prefix(tokens: Int64[Tensor, "model batch pos"], d_vocab: int) -> Int64[Tensor, "model batch"]:
    """An order that puts sequences with the same leading tokens next to each other."""
    n_leading = min(tokens.shape[-1], max(1, SORT_KEY_BITS // d_vocab.bit_length()))
    place_values = d_vocab ** torch.arange(n_leading - 1, -1, -1, device=tokens.device)
    return (tokens[..., :n_leading] * place_values).sum(-1).argsort(dim=-1, stable=True)


def distinct_prefixes(
    tokens: Int64[Tensor, "model batch pos"], lengths: Int64[Tensor, "model batch"], row_multiple: int = 1
) -> Prefixes:
    """The prefixes of the first ``lengths`` tokens of every sequence.

    Neighbouring sequences are compared, so ``order_by_prefix`` decides how much is shared, not what comes out.

    Args:
        row_multiple: what the number of rows is to be a multiple of, where there are many; the last are then unused.
    """
    n_models, _, n_pos = tokens.shape
    is_first = _first_occurrences(tokens, lengths)
    row = is_first.flatten(1).cumsum(-1).sub_(1).view_as(tokens)
    # Rows grow along the batch: the last first occurrence so far is the one this sequence shares.
    row_at = row.masked_fill(~is_first, -1).cummax(1).values.clamp_(min=0)
    model, occurrence_of = is_first.flatten(1).nonzero(as_tuple=True)
    n_rows = _rounded_up(int(row.amax()) + 1, row_multiple)
    occurrence = tokens.new_zeros(n_models, n_rows)
    occurrence[model, row.flatten(1)[model, occurrence_of]] = occurrence_of
    return Prefixes(
        tokens=tokens.flatten(1).gather(1, occurrence),
        positions=occurrence % n_pos,
        row_at=row_at,
        occurrence=occurrence,
        entries=torch.arange(n_rows, device=tokens.device).expand(n_models, -1),
    )


def n_new_prefixes(
    tokens: Int64[Tensor, "model batch pos"], lengths: Int64[Tensor, "model batch"]
) -> Int64[Tensor, "model batch"]:
    """How many prefixes each sequence has that the sequence before it does not."""
    return _first_occurrences(tokens, lengths).sum(-1)


def _rounded_up(n: int, multiple: int) -> int:
    """The next multiple, where that adds little, and n itself elsewhere."""
    return n if n < ROUNDED_FROM_MULTIPLES * multiple else -(-n // multiple) * multiple


def _first_occurrences(
    tokens: Int64[Tensor, "model batch pos"], lengths: Int64[Tensor, "model batch"]
) -> Bool[Tensor, "model batch pos"]:
    """A mask that is True where a prefix differs from that of the sequence before, and False at padding."""
    is_read = torch.arange(tokens.shape[-1], device=tokens.device) < lengths[..., None]
    read = tokens.masked_fill(~is_read, -1)
    differs = torch.ones_like(is_read)
    differs[:, 1:] = (read[:, 1:] != read[:, :-1]).cumsum(-1) > 0
    return differs & is_read
