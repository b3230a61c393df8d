"""From task batches to what the forward pass reads: no position after the last scored one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.models.prefixes import Prefixes, distinct_prefixes, order_by_prefix
from rtinterp.models.spec import ModelSpec
from rtinterp.tasks import Batch

#: Elements of the widest activation in one chunk. On a CPU, larger buffers are handed back to the operating system
#: after every use and cost a page fault per 4 KiB.
CHUNK_ELEMENTS = {"cpu": 2**22, "cuda": 2**28}


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A slice of every model's batch.

    Attributes:
        prefixes: inputs, up to the last scored position of each sequence.
        scored_positions: where predictions are read, ascending.
        targets: the next token at those positions.
        counted: False where a sequence has fewer scored positions than the axis is long.
    """

    prefixes: Prefixes
    scored_positions: Int64[Tensor, "model batch scored"]
    targets: Int64[Tensor, "model batch scored"]
    counted: Bool[Tensor, "model batch scored"]


def pack(batches: Sequence[Batch], spec: ModelSpec, d_vocab: int) -> list[Chunk]:
    """One batch per model, sorted by length and cut into chunks that fit the cache or the memory.

    Args:
        batches: of equal size, on one device.
    """
    tokens = torch.stack([batch.tokens for batch in batches])
    positions, counted = _scored_positions(torch.stack([batch.scored for batch in batches]))
    by_length = positions[..., -1].argsort(dim=-1, descending=True, stable=True)
    tokens, positions, counted = (_reorder(x, by_length) for x in (tokens, positions, counted))
    # Rank by rank, the longest of the models' sequences.
    lengths = (positions[..., -1].amax(0) + 1).tolist()
    tokens_per_chunk = CHUNK_ELEMENTS[tokens.device.type] // (len(batches) * spec.d_mlp)
    return [
        _chunk(tokens[:, rows, : n_pos + 1], positions[:, rows], counted[:, rows], d_vocab)
        for rows, n_pos in _cut(lengths, tokens_per_chunk)
    ]


def _chunk(
    tokens: Int64[Tensor, "model batch pos"],
    positions: Int64[Tensor, "model batch scored"],
    counted: Bool[Tensor, "model batch scored"],
    d_vocab: int,
) -> Chunk:
    order = order_by_prefix(tokens, d_vocab)
    tokens, positions, counted = (_reorder(x, order) for x in (tokens, positions, counted))
    return Chunk(
        prefixes=distinct_prefixes(tokens[..., :-1], positions[..., -1] + 1),
        scored_positions=positions,
        targets=tokens.gather(-1, positions + 1),
        counted=counted,
    )


def _reorder(x: Tensor, order: Int64[Tensor, "model batch"]) -> Tensor:
    return x.gather(1, order[..., None].expand_as(x))


def _scored_positions(
    scored: Bool[Tensor, "model batch pos"],
) -> tuple[Int64[Tensor, "model batch scored"], Bool[Tensor, "model batch scored"]]:
    """The scored positions of every sequence in ascending order, the last repeated where there are fewer."""
    n_pos = scored.shape[-1]
    n_scored = int(scored.sum(-1).max())
    if n_scored == 0:
        raise ValueError("no position of the batch is scored; a task must score at least one")
    if scored[..., -1].any():
        raise ValueError("the last position is scored, but no token follows it that could be predicted")
    earliest_first = scored * torch.arange(n_pos, 0, -1, device=scored.device)
    remaining = earliest_first.topk(n_scored, dim=-1).values
    counted = remaining > 0
    last = n_pos - remaining.where(counted, n_pos).amin(-1, keepdim=True)
    return torch.where(counted, n_pos - remaining, last), counted


def _cut(lengths: list[int], tokens_per_chunk: int) -> list[tuple[slice, int]]:
    """Consecutive rows and their length, from descending lengths."""
    cuts, start = [], 0
    while start < len(lengths):
        n_pos = lengths[start]
        stop = min(start + max(1, tokens_per_chunk // n_pos), len(lengths))
        cuts.append((slice(start, stop), n_pos))
        start = stop
    return cuts
