"""What a finished run predicts, computed as fast as training measures it."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.models.stacked import Embeddings, StackedModel
from rtinterp.tasks import Batch
from rtinterp.training.capacity import chunk_limits, row_multiple
from rtinterp.training.losses import LOSSES
from rtinterp.training.numerics import float32_products
from rtinterp.training.packing import pack
from rtinterp.training.run import Run


@torch.no_grad()
def predicted_tokens(run: Run, batch: Batch) -> Int64[Tensor, " prediction"]:
    """Compute the likeliest token of every scored prediction, sequence after sequence, in float32 on the CPU.

    Nothing is computed that no scored prediction reads, which for a wide model takes a fifth of the time of
    ``run.model`` and its hooks. Accuracies of the test set are those of the run's history.

    Raises:
        ValueError: the batch scores nothing, or the task's predictions are not judged as tokens.
    """
    spec, cpu = run.spec, torch.device("cpu")
    if spec.task.loss != "cross_entropy":
        raise ValueError(f"{spec.task.name} is judged by its {spec.task.loss}, not by tokens; call run.model instead")
    tensors = {name: tensor[None] for name, tensor in run.tensors().items()}
    frozen = frozenset(tensors)
    model = StackedModel(Embeddings.of(tensors, frozen), spec.model.stack(tensors, frozen, torch.float32))
    n = int(batch.scored.sum())
    # The number of a prediction stands in for its target, and so tells where a chunk has put it.
    numbers = torch.zeros(batch.scored.shape, dtype=torch.int64)
    numbers[batch.scored.cpu()] = torch.arange(n)
    numbered = dataclasses.replace(batch.to(cpu), targets=numbers)
    packed = pack([numbered], spec.task.d_vocab, chunk_limits(spec, cpu), row_multiple(spec, cpu))
    predicted, loss = torch.empty(n, dtype=torch.int64), LOSSES[spec.task.loss]
    with float32_products("float32"):
        embedded = model.embed(packed.entries)
        for chunk in packed.chunks:
            residual = model.scored_residual(embedded, chunk.prefixes, chunk.scored_positions)
            any_target = torch.zeros_like(chunk.targets).flatten(1, 2)
            judged = loss.judge(residual, model.unembedding, any_target)
            predicted[chunk.targets[chunk.counted]] = judged.predicted.view_as(chunk.targets)[chunk.counted]
    return predicted
