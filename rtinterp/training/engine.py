"""The training state of M stacked models: parameters, optimiser, data streams; one step at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.fingerprint import fingerprint
from rtinterp.models.initialisation import initial_tensors
from rtinterp.models.parameters import model_parameters
from rtinterp.models.regimes import is_trained
from rtinterp.models.stacked import StackedTransformer, stack_transformers
from rtinterp.tasks import Batch
from rtinterp.training.evaluation import accuracy, n_counted, summed_loss
from rtinterp.training.optimiser import adamw, clip_gradients, learning_rate
from rtinterp.training.packing import Chunk, pack
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream


class Engine:
    """Trains specs that differ in their seed alone, as if each were trained by itself.

    Each model has its own body, data stream, gradient clipping and metrics; only the arithmetic is shared.

    Attributes:
        parameters: every tensor, stacked, by TransformerLens name.
        trained: the names that train.
        n_steps_done: optimiser steps so far.

    Raises:
        ValueError: the specs differ in more than their seed.
    """

    def __init__(self, specs: Sequence[RunSpec], device: torch.device) -> None:
        self.spec = specs[0]
        if any(spec.with_seed(self.spec.seed) != self.spec for spec in specs):
            raise ValueError("stacked runs may differ in their seed alone")
        task, model = self.spec.task, self.spec.model
        initial = [initial_tensors(model, task.d_vocab, task.n_ctx, spec.seed) for spec in specs]
        self.trained = [name for name in initial[0] if is_trained(name, self.spec.trainable)]
        self.frozen = frozenset(initial[0]).difference(self.trained)
        self.fingerprints = [fingerprint({name: tensors[name] for name in self.frozen}) for tensors in initial]
        self.parameters = {
            name: torch.stack([tensors[name] for tensors in initial]).to(device).requires_grad_(name in self.trained)
            for name in initial[0]
        }
        decayed = [p.name for p in model_parameters(model, task.d_vocab, task.n_ctx) if p.decays]
        self._trained_parameters = {name: self.parameters[name] for name in self.trained}
        self._optimiser = adamw(self._trained_parameters, decayed, self.spec.training)
        self._streams = [TrainingStream(task, self.spec.training.batch_size, spec.seed, device) for spec in specs]
        self._frozen_layout = self._stack() if self.spec.trainable != "all" else None
        self._test_chunks: list[Chunk] | None = None
        self.n_steps_done = 0

    def step(self) -> Float[Tensor, " model"]:
        """One optimiser step on every model; returns the mean loss of each before it, in nats."""
        training = self.spec.training
        losses = self.backward()
        clip_gradients(self._trained_parameters.values(), training.max_grad_norm)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.n_steps_done, training)
        self._optimiser.step()
        self.n_steps_done += 1
        return losses

    def backward(self) -> Float[Tensor, " model"]:
        """Leave the gradients of the next batches in ``parameters``; returns each model's mean loss, in nats."""
        chunks = self.next_chunks()
        n_scored = n_counted(chunks)
        self._optimiser.zero_grad(set_to_none=True)
        losses = torch.zeros_like(n_scored)
        for chunk in chunks:
            chunk_losses = summed_loss(self._layout(), chunk) / n_scored
            chunk_losses.sum().backward()
            losses += chunk_losses.detach()
        return losses

    def next_chunks(self) -> list[Chunk]:
        """The next batch of every model's stream, as the forward pass reads it."""
        return self._pack([stream.next_batch() for stream in self._streams])

    def test_accuracy(self) -> Float[Tensor, " model"]:
        """Accuracy of every model on the task's test set, in [0, 1]."""
        if self._test_chunks is None:
            test_set = self.spec.task.test_set().to(self.parameters[self.trained[0]].device)
            self._test_chunks = self._pack([test_set] * len(self._streams))
        with torch.no_grad():
            return accuracy(self._layout(), self._test_chunks)

    def trained_tensors(self, model: int) -> dict[str, Float[Tensor, ...]]:
        """A copy of what one model trained, on the CPU."""
        return {name: self.parameters[name][model].detach().cpu().clone() for name in self.trained}

    def _pack(self, batches: list[Batch]) -> list[Chunk]:
        return pack(batches, self.spec.model, self.spec.task.d_vocab)

    def _layout(self) -> StackedTransformer:
        return self._frozen_layout or self._stack()

    def _stack(self) -> StackedTransformer:
        return stack_transformers(self.spec.model, self.parameters, self.frozen)
