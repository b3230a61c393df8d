"""From task batches to what the forward pass reads: no position after the last scored one, little padding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks import Batch

#: Sequences of varying length are cut into at least this many chunks of like length, unless they get tiny.
VARYING_LENGTH_CHUNKS = 8
MIN_CHUNK_TOKENS = 2048
#: Elements of the widest activation in one chunk. On a CPU, larger buffers are handed back to the operating system
#: after every use and cost a page fault per 4 KiB.
CHUNK_ELEMENTS = {"cpu": 2**22, "cuda": 2**28}


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A slice of every model's batch, trimmed to its longest sequence.

    Attributes:
        tokens: inputs, up to the last scored position.
        scored_positions: where predictions are read, ascending.
        targets: the next token at those positions.
        counted: False where a sequence has fewer scored positions than the axis is long.
    """

    tokens: Int64[Tensor, "model batch pos"]
    scored_positions: Int64[Tensor, "model batch scored"]
    targets: Int64[Tensor, "model batch scored"]
    counted: Bool[Tensor, "model batch scored"]


def pack(batches: Sequence[Batch], d_mlp: int) -> list[Chunk]:
    """One batch per model, sorted by length and cut into chunks.

    Args:
        batches: of equal size, on one device.
        d_mlp: width of the widest activation, which bounds the size of a chunk.
    """
    tokens = torch.stack([batch.tokens for batch in batches])
    scored = torch.stack([batch.scored for batch in batches])
    positions, counted = _scored_positions(scored)
    targets = tokens.gather(-1, positions + 1)
    order = positions[..., -1].argsort(dim=-1, descending=True, stable=True)
    tokens, positions, targets, counted = (
        x.gather(1, order[..., None].expand_as(x)) for x in (tokens, positions, targets, counted)
    )
    # Rank by rank, the longest of the models' sequences.
    lengths = (positions[..., -1].amax(0) + 1).tolist()
    return [
        Chunk(tokens[:, rows, :n_pos], positions[:, rows], targets[:, rows], counted[:, rows])
        for rows, n_pos in _cut(lengths, _tokens_per_chunk(lengths, len(batches), d_mlp, tokens.device.type))
    ]


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


def _tokens_per_chunk(lengths: list[int], n_models: int, d_mlp: int, device_type: str) -> int:
    """Sequences-times-positions of one model that a chunk may hold."""
    by_memory = CHUNK_ELEMENTS[device_type] // (n_models * d_mlp)
    if lengths[0] == lengths[-1]:
        return by_memory
    by_padding = max(sum(lengths) // VARYING_LENGTH_CHUNKS, MIN_CHUNK_TOKENS // n_models)
    return min(by_memory, by_padding)


def _cut(lengths: list[int], tokens_per_chunk: int) -> list[tuple[slice, int]]:
    """Consecutive rows and their length, from descending lengths."""
    cuts, start = [], 0
    while start < len(lengths):
        n_pos = lengths[start]
        stop = min(start + max(1, tokens_per_chunk // n_pos), len(lengths))
        cuts.append((slice(start, stop), n_pos))
        start = stop
    return cuts
