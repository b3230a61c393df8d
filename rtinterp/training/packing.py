"""From task batches to what the forward pass reads: no position after the last scored one, nothing twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from rtinterp.models.prefixes import (
    Entries,
    Prefixes,
    distinct_prefixes,
    n_new_prefixes,
    order_by_prefix,
    share_entries,
)
from rtinterp.tasks import Batch


@dataclasses.dataclass(frozen=True)
class ChunkLimits:
    """How much of M batches goes through the model at once; never less than one sequence of each.

    Attributes:
        n_rows: distinct prefixes, over all models.
        n_places: positions of sequences, over all models, which only attention sees.
    """

    n_rows: int
    n_places: int


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A slice of every model's batch.

    Attributes:
        prefixes: inputs, up to the last scored position of each sequence.
        scored_positions: where predictions are read, ascending.
        targets: what is expected at those positions: a token, or numbers.
        counted: False where a sequence has fewer scored positions than the axis is long.
    """

    prefixes: Prefixes
    scored_positions: Int64[Tensor, "model batch scored"]
    targets: Int64[Tensor, "model batch scored"] | Float[Tensor, "model batch scored d_vocab_out"]
    counted: Bool[Tensor, "model batch scored"]


@dataclasses.dataclass(frozen=True)
class PackedBatch:
    """One batch of every model: what its sequences enter the model with, and the chunks that go through it."""

    entries: Entries
    chunks: list[Chunk]


def pack(batches: Sequence[Batch], d_vocab: int, limits: ChunkLimits, row_multiple: int = 1) -> PackedBatch:
    """One batch per model, longest sequences first, those that begin alike together, cut into chunks.

    Sequences of real-valued vectors share nothing.

    Args:
        batches: of equal size, on one device.
        row_multiple: the numbers of prefixes and of entries are rounded up to multiples of it.

    Raises:
        ValueError: nothing is scored.
    """
    tokens = torch.stack([batch.tokens for batch in batches])
    values = tokens if tokens.is_floating_point() else None
    if values is not None:
        # No two vectors are taken for the same: each goes by the number of its place.
        d_vocab = values.shape[1] * values.shape[2]
        tokens = torch.arange(d_vocab, device=values.device).view(1, *values.shape[1:3]).repeat(len(batches), 1, 1)
    positions, counted = _scored_positions(torch.stack([batch.scored for batch in batches]))
    order = order_by_prefix(tokens, d_vocab)
    order = order.gather(1, positions[..., -1].gather(1, order).argsort(dim=1, descending=True, stable=True))
    tokens, positions, counted = (_reorder(x, order) for x in (tokens, positions, counted))
    lengths = positions[..., -1] + 1
    n_new = n_new_prefixes(tokens, lengths)
    # Rank by rank, the most that any model has.
    longest, most_new = torch.stack([lengths.amax(0), n_new.amax(0)]).tolist()
    has_targets = any(batch.targets is not None for batch in batches)
    chunks = []
    for rows, n_pos in _cut(longest, most_new, len(batches), limits):
        of_chunk = tokens[:, rows, : n_pos + 1], positions[:, rows], counted[:, rows]
        by_prefix = order_by_prefix(of_chunk[0], d_vocab)
        read, at, count = (_reorder(x, by_prefix) for x in of_chunk)
        prefixes = distinct_prefixes(read[..., :n_pos], at[..., -1] + 1, row_multiple)
        targets = _targets(batches, order[:, rows].gather(1, by_prefix), at) if has_targets else read.gather(-1, at + 1)
        chunks.append(Chunk(prefixes, at, targets, count))
    entries, prefixes = share_entries([chunk.prefixes for chunk in chunks], tokens.shape[-1], row_multiple)
    shared = [dataclasses.replace(c, prefixes=of_chunk) for c, of_chunk in zip(chunks, prefixes, strict=True)]
    if values is not None:
        entries = dataclasses.replace(entries, tokens=_reorder(values.flatten(1, 2), entries.tokens))
    return PackedBatch(entries, shared)


def _targets(
    batches: Sequence[Batch], rows: Int64[Tensor, "model batch"], positions: Int64[Tensor, "model batch scored"]
) -> Shaped[Tensor, "model batch scored ..."]:
    """The targets that some rows of each model's batch have at their scored positions; no others are copied."""
    of_models = zip(batches, rows, positions, strict=True)
    return torch.stack([batch.expected(batch.scored.shape[1])[of[:, None], at] for batch, of, at in of_models])


def _reorder(x: Shaped[Tensor, "model batch column"], order: Int64[Tensor, "model batch"]) -> Tensor:
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))


def _scored_positions(
    scored: Bool[Tensor, "model batch pos"],
) -> tuple[Int64[Tensor, "model batch scored"], Bool[Tensor, "model batch scored"]]:
    """The scored positions of every sequence in ascending order, the last repeated where there are fewer."""
    n_pos = scored.shape[-1]
    n_scored = int(scored.sum(-1).max())
    if n_scored == 0:
        raise ValueError("no position of the batch is scored; a task must score at least one")
    earliest_first = scored * torch.arange(n_pos, 0, -1, device=scored.device)
    remaining = earliest_first.topk(n_scored, dim=-1).values
    counted = remaining > 0
    last = n_pos - remaining.where(counted, n_pos).amin(-1, keepdim=True)
    return torch.where(counted, n_pos - remaining, last), counted


def _cut(longest: list[int], n_new: list[int], n_models: int, limits: ChunkLimits) -> Iterator[tuple[slice, int]]:
    """Consecutive sequences within the limits, and the length of the longest; lengths descend."""
    start, n_rows = 0, 0
    for stop, n_pos in enumerate(longest):
        n_rows += n_new[stop]
        n_places = (stop + 1 - start) * longest[start]
        if stop > start and (n_rows * n_models > limits.n_rows or n_places * n_models > limits.n_places):
            yield slice(start, stop), longest[start]
            # The first sequence of a chunk shares with none before it.
            start, n_rows = stop, n_pos
    yield slice(start, len(longest)), longest[start]
