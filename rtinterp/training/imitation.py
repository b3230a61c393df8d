"""The target of circuit imitation: a random transformer whose predictions are what is to be learned."""

from __future__ import annotations

import dataclasses

import torch

from rtinterp.models.stacked import StackedModel
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import CircuitImitation, Task
from rtinterp.training.packing import PackedBatch


def target_spec(task: CircuitImitation) -> ModelSpec:
    """The target's architecture, with the amplified initialisation (paper section 5.2, official code)."""
    return ModelSpec(task.target_d_model, task.target_n_layers, task.target_n_heads, init="imitation_target")


def imitated(task: Task, n_models: int, device: torch.device) -> StackedModel | None:
    """The target of an imitation task, the same for every model of a stack; None for other tasks."""
    if not isinstance(task, CircuitImitation):
        return None
    spec = target_spec(task)
    tensors = {
        name: tensor.to(device).expand(n_models, *tensor.shape)
        for name, tensor in spec.initial_tensors(task.d_vocab, task.n_ctx, task.target_seed).items()
    }
    return spec.stack_model(tensors, frozen=frozenset(tensors))


@torch.no_grad()
def with_target_distributions(batch: PackedBatch, target: StackedModel) -> PackedBatch:
    """The batch with what the target predicts at every scored position."""
    embedded = target.embed(batch.entries)
    chunks = []
    for chunk in batch.chunks:
        logits = target.unembedding(target.scored_residual(embedded, chunk.prefixes, chunk.scored_positions))
        chunks.append(dataclasses.replace(chunk, targets=logits.log_softmax(-1).unflatten(1, chunk.counted.shape[1:])))
    return PackedBatch(batch.entries, chunks)
