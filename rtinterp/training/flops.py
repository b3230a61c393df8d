"""How many floating-point operations a training step needs, whoever computes it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rtinterp.models.products import BatchSize, Stage, training_multiplications
from rtinterp.tasks import Batch
from rtinterp.training.packing import ChunkLimits, pack
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream

#: All of a batch in one chunk.
NO_LIMITS = ChunkLimits(n_rows=2**62, n_places=2**62)


def step_flops(spec: RunSpec) -> float:
    """Operations of one training step that its scored predictions need; a multiplication and an addition count two.

    Of the first batch of the run's stream. Products of weights count forward, for the gradient of what they read where
    something before them trains, and for their own where they train; products of two activations, as in attention, for
    the gradients of both where something before them trains. What a body computes for which position, its ``products``
    tell; the unembedding reads scored positions only. Tensors that are made of leaves count like any.

    Raises:
        ValueError: a language model's corpus is not open.
    """
    stream = TrainingStream(spec.task, spec.training.batch_size, spec.seed, torch.device("cpu"))
    size = batch_size([stream.next_batch()], spec.task.d_vocab)
    trained = {parameter.group for parameter in spec.trained_parameters()}
    unembedding = Stage({"unembedding": size.n_scored * spec.model.d_model * spec.task.d_vocab_out})
    stages = (*spec.model.products(size), unembedding)
    input_trains = not trained.isdisjoint(("token_embedding", "positional_embedding"))
    return 2.0 * training_multiplications(stages, trained, input_trains)


def batch_size(batches: Sequence[Batch], d_vocab: int) -> BatchSize:
    """What of one model's batch costs something."""
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
