"""How many floating-point operations a training step needs, whoever computes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch
from rtinterp.training.packing import ChunkLimits, pack
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream

#: All of a batch in one chunk.
NO_LIMITS = ChunkLimits(n_rows=2**62, n_places=2**62)


@dataclasses.dataclass(frozen=True)
class BatchSize:
    """What of a batch costs something.

    Attributes:
        n_entries: distinct tokens at a position.
        n_rows: distinct prefixes.
        n_scored: scored predictions.
        n_prefix_tokens: tokens of all distinct prefixes: what their queries look at.
        n_scored_tokens: tokens up to each scored position, summed.
        n_places: tokens of all sequences up to their last scored position.
    """

    n_entries: int
    n_rows: int
    n_scored: int
    n_prefix_tokens: int
    n_scored_tokens: int
    n_places: int


def step_flops(spec: RunSpec) -> float:
    """Operations of one training step that its scored predictions need; a multiplication and an addition count two.

    Of the first batch of the run's stream. Matrices count forward, for the gradient of their input, and for their own
    where they train; the products of attention, of which both factors have gradients, three times. In a transformer:
    queries, keys and values of the first block for each distinct token at a position, the rest of all blocks but the
    last for each distinct prefix, the last block and the unembedding at scored positions only.

    Raises:
        ValueError: a language model's corpus is not open.
    """
    stream = TrainingStream(spec.task, spec.training.batch_size, spec.seed, torch.device("cpu"))
    size = batch_size([stream.next_batch()], spec.task.d_vocab)
    inputs_train, body_trains = spec.trainable != "unembedding", spec.trainable == "all"
    matrix_passes = 1 + inputs_train + body_trains
    attention_passes = 1 + 2 * inputs_train
    if isinstance(spec.model, ModelSpec):
        body = _transformer(spec.model, size, matrix_passes, attention_passes)
    else:
        body = matrix_passes * _recurrent(spec.model, size)
    unembedding_passes = 1 + inputs_train + (spec.trainable != "input_embeddings")
    return 2.0 * (body + unembedding_passes * size.n_scored * spec.model.d_model * spec.task.d_vocab)


def batch_size(batches: Sequence[Batch], d_vocab: int) -> BatchSize:
    """Of one model's batch."""
    packed = pack(batches, d_vocab, NO_LIMITS)
    (chunk,) = packed.chunks
    ends = chunk.scored_positions[0] + 1
    return BatchSize(
        n_entries=packed.entries.tokens.shape[-1],
        n_rows=chunk.prefixes.tokens.shape[-1],
        n_scored=int(chunk.counted.sum()),
        n_prefix_tokens=int((chunk.prefixes.positions + 1).sum()),
        n_scored_tokens=int((ends * chunk.counted[0]).sum()),
        n_places=int(ends[:, -1].sum()),
    )


def _transformer(spec: ModelSpec, size: BatchSize, matrix_passes: int, attention_passes: int) -> int:
    """Multiplications in the blocks."""
    inputs = [size.n_entries, *[size.n_rows] * (spec.n_layers - 1)]  # of every block

    def multiplications(n_squares: int, n_pairs: int) -> int:
        return matrix_passes * n_squares * spec.d_model**2 + attention_passes * n_pairs * 2 * spec.d_model

    n_before_last = spec.n_layers - 1
    before_last = multiplications(
        3 * sum(inputs[:-1]) + 9 * size.n_rows * n_before_last, size.n_prefix_tokens * n_before_last
    )
    with_keys = multiplications(10 * size.n_scored + 2 * inputs[-1], size.n_scored_tokens)
    # No keys and values: queries through the key matrix, head by head, and what they mix through the value matrix.
    through_keys = multiplications(12 * size.n_scored, size.n_scored_tokens * spec.n_heads)
    return before_last + min(with_keys, through_keys)


def _recurrent(spec: RecurrentSpec, size: BatchSize) -> int:
    """Multiplications of the forward pass: the first layer's inputs once for each entry, all else at every place."""
    matrix = spec.n_gates * spec.d_model**2
    return matrix * (size.n_entries + size.n_places * (2 * spec.n_layers - 1))
