"""The training state of M stacked models: parameters, optimiser, data streams; one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.fingerprint import fingerprint
from rtinterp.models.initialisation import initialise
from rtinterp.models.parameters import EMBEDDINGS
from rtinterp.models.stacked import Embeddings, StackedBody, StackedModel
from rtinterp.tasks import Batch
from rtinterp.tasks.base import check_batch
from rtinterp.training.allocation import keep_freed_memory
from rtinterp.training.capacity import check_fits, chunk_limits, halved, is_out_of_memory, row_multiple, too_large
from rtinterp.training.checkpoint import EngineState
from rtinterp.training.evaluation import Evaluation, evaluate, n_counted, summed_loss
from rtinterp.training.imitation import imitated, with_target_distributions
from rtinterp.training.losses import LOSSES
from rtinterp.training.numerics import body_dtype, check_precision, float32_products
from rtinterp.training.optimiser import adamw, clip_gradients, learning_rate, moments, restore_moments
from rtinterp.training.packing import ChunkLimits, PackedBatch, pack
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream

Result = TypeVar("Result")


class Engine:
    """Trains specs that differ in their seed alone, as if each were trained by itself.

    Each model has its own body, data stream, gradient clipping and metrics; only the arithmetic is shared.

    Attributes:
        parameters: every tensor that the spec's ``parameters`` list, stacked, by name: those of the model, or leaves.
        trained: the names that train.
        n_steps_done: optimiser steps so far.
        gradient_norms: of each model before clipping, at the last step.

    Raises:
        ValueError: the specs differ in more than their seed, or the device lacks the precision.
        CapacityError: the device could never hold them.
    """

    def __init__(self, specs: Sequence[RunSpec], device: torch.device) -> None:
        self.spec = specs[0]
        if any(spec.with_seed(self.spec.seed) != self.spec for spec in specs):
            raise ValueError("stacked runs may differ in their seed alone")
        check_precision(self.spec.training.precision, device)
        check_fits(self.spec, len(specs), device)
        if device.type == "cpu":
            keep_freed_memory()
        task, trained = self.spec.task, self.spec.trained_parameters()
        initial = [initialise(self.spec.parameters(), spec.seed) for spec in specs]
        self.trained = [parameter.name for parameter in trained]
        self.frozen = frozenset(initial[0]).difference(self.trained)
        self.fingerprints = [fingerprint({name: tensors[name] for name in self.frozen}) for tensors in initial]
        self.parameters = {
            name: torch.stack([tensors[name] for tensors in initial]).to(device).requires_grad_(name in self.trained)
            for name in initial[0]
        }
        decayed = [parameter.name for parameter in trained if parameter.decays]
        self._trained_parameters = {name: self.parameters[name] for name in self.trained}
        self._optimiser = adamw(self._trained_parameters, decayed, self.spec.training)
        self._streams = [TrainingStream(task, self.spec.training.batch_size, spec.seed, device) for spec in specs]
        self._device, self._dtype = device, body_dtype(self.spec.training.precision)
        self._limits = chunk_limits(self.spec, device)
        self._loss = LOSSES[task.loss]
        self._imitated = imitated(task, len(specs), device)
        self._test_batch: PackedBatch | None = None
        self.n_steps_done = 0
        self._hold_back(self.spec.held_back(0))
        self.gradient_norms: Float[Tensor, " model"] = torch.zeros(len(specs))

    def step(self) -> Float[Tensor, " model"]:
        """One optimiser step on every model; returns the mean loss of each before it.

        Raises:
            CapacityError: not even one sequence at a time fits the memory.
        """
        training = self.spec.training
        losses = self.backward()
        self.gradient_norms = clip_gradients(self._trained_parameters.values(), training.max_grad_norm)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.n_steps_done, training)
        self._optimiser.step()
        self.n_steps_done += 1
        return losses

    def backward(self) -> Float[Tensor, " model"]:
        """Leave the gradients of the next batches in ``parameters``; returns each model's mean loss."""
        if self._held_back != (held_back := self.spec.held_back(self.n_steps_done)):
            self._hold_back(held_back)
        batches = [stream.next_batch() for stream in self._streams]
        with float32_products(self.spec.training.precision):
            return self._in_chunks_that_fit(lambda: self._backward(self._pack(batches)))

    def next_packed_batch(self) -> PackedBatch:
        """The next batch of every model's stream, as the forward pass reads it."""
        return self._pack([stream.next_batch() for stream in self._streams])

    def test(self) -> Evaluation:
        """Loss and metrics of every model on the task's test set, in float32 whatever the training's precision."""
        with torch.no_grad(), float32_products("float32"):
            tensors = self.spec.model_tensors(self.parameters)
            model = self._layout(tensors, torch.float32)
            return self._in_chunks_that_fit(
                lambda: evaluate(model, self._packed_test_set(), self._loss, self.spec.task.metrics)
            )

    def trained_tensors(self, model: int) -> dict[str, Float[Tensor, ...]]:
        """A copy of what one model trained, on the CPU."""
        return {name: self.parameters[name][model].detach().cpu().clone() for name in self.trained}

    def state(self) -> EngineState:
        """All that the next steps depend on, on the CPU; a copy."""
        streams = [stream.state() for stream in self._streams]
        tensors = {f"parameter/{name}": parameter.detach() for name, parameter in self._trained_parameters.items()}
        tensors |= moments(self._optimiser, self._trained_parameters)
        tensors |= {f"generator/{model}": generator for model, (generator, _) in enumerate(streams)}
        return EngineState(
            tensors={name: tensor.cpu().clone() for name, tensor in tensors.items()},
            n_steps_done=self.n_steps_done,
            n_used=tuple(n_used for _, n_used in streams),
            n_rows=self._limits.n_rows,
            n_places=self._limits.n_places,
        )

    def restore(self, state: EngineState) -> None:
        """Go on from a state of an engine of the same specs on the same kind of device, bit for bit.

        Raises:
            ValueError: the state is of other specs or malformed; the engine is then of no use any more.
        """
        if len(state.n_used) != len(self._streams):
            raise ValueError(f"a state of {len(state.n_used)} models cannot go on with {len(self._streams)}")
        try:
            for name, parameter in self._trained_parameters.items():
                saved = state.tensors[f"parameter/{name}"]
                if saved.shape != parameter.shape or saved.dtype != parameter.dtype:
                    raise ValueError(f"{name} is not the tensor that trains")
                parameter.detach().copy_(saved)
            for model, stream in enumerate(self._streams):
                stream.restore(state.tensors[f"generator/{model}"], state.n_used[model])
        except KeyError as error:
            raise ValueError(f"a state without {error}") from error
        restore_moments(self._optimiser, self._trained_parameters, state.tensors)
        self._limits, self._test_batch = ChunkLimits(state.n_rows, state.n_places), None
        self.n_steps_done = state.n_steps_done
        self._hold_back(self.spec.held_back(self.n_steps_done))

    def _hold_back(self, held_back: frozenset[str]) -> None:
        """Freeze what does not train yet, and lay out once what the steps from here on leave as it is."""
        self._held_back = held_back
        for name in self.trained:
            self.parameters[name].requires_grad_(name not in held_back)
        with torch.no_grad():
            tensors = self.spec.model_tensors(self.parameters)
        self._never_changing = (self.frozen | held_back).intersection(tensors)
        self._embeddings = Embeddings.of(tensors, self._never_changing)
        self._frozen_body: StackedBody | None = None
        if self._never_changing.issuperset(set(tensors).difference(EMBEDDINGS)):
            self._frozen_body = self._stacked_body(tensors, self._dtype)

    def _backward(self, batch: PackedBatch) -> Float[Tensor, " model"]:
        """Down to the tensors of the model, and from there, once for all chunks, to the leaves where there are any."""
        self._optimiser.zero_grad(set_to_none=True)
        if self.spec.parametrisation is None:
            return self._backward_to(self.parameters, batch)
        tensors = self.spec.model_tensors(self.parameters)
        cut_off = {name: _cut_off(tensors[name]) for name in self.spec.parametrisation.tensors}
        losses = self._backward_to({**tensors, **cut_off}, batch)
        _pass_on((tensors[name] for name in cut_off), cut_off.values())
        return losses

    def _backward_to(
        self, tensors: Mapping[str, Float[Tensor, "model ..."]], batch: PackedBatch
    ) -> Float[Tensor, " model"]:
        """Chunk by chunk down to the entries, and from there, once for all chunks, to the embeddings."""
        n_scored = n_counted(batch.chunks)
        losses = torch.zeros_like(n_scored)
        embedded = self._layout(tensors, self._dtype).embed(batch.entries)
        shared = [_cut_off(x) for x in embedded]
        for chunk in batch.chunks:
            chunk_losses = summed_loss(self._layout(tensors, self._dtype), shared, chunk, self._loss) / n_scored
            chunk_losses.sum().backward()
            losses += chunk_losses.detach()
        _pass_on(embedded, shared)
        return losses

    def _in_chunks_that_fit(self, compute: Callable[[], Result]) -> Result:
        """Halve the chunks until they fit; the sums over chunks are the same but for rounding."""
        while True:
            try:
                return compute()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if max(self._limits.n_rows, self._limits.n_places) == 0:
                    raise too_large(self.spec, len(self._streams), self._device) from error
            self._limits, self._test_batch = halved(self._limits), None

    def _packed_test_set(self) -> PackedBatch:
        if self._test_batch is None:
            test_set = self.spec.task.test_set()
            check_batch(self.spec.task, test_set, len(test_set))
            self._test_batch = self._pack([test_set.to(self._device)] * len(self._streams))
        return self._test_batch

    def _pack(self, batches: list[Batch]) -> PackedBatch:
        multiple = row_multiple(self.spec, self._device)
        batch = pack(batches, self.spec.task.d_vocab, self._limits, multiple)
        return batch if self._imitated is None else with_target_distributions(batch, self._imitated)

    def _layout(self, tensors: Mapping[str, Float[Tensor, "model ..."]], dtype: torch.dtype) -> StackedModel:
        """The forward pass, laid out anew but for what never changes: the graph of what trains serves one chunk."""
        embeddings = self._embeddings if self.spec.parametrisation is None else self._embeddings.made_of(tensors)
        kept = self._frozen_body if dtype == self._dtype else None
        return StackedModel(embeddings, kept or self._stacked_body(tensors, dtype))

    def _stacked_body(self, tensors: Mapping[str, Float[Tensor, "model ..."]], dtype: torch.dtype) -> StackedBody:
        return self.spec.model.stack(tensors, self._never_changing, dtype)


def _cut_off(x: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """The same values as a leaf, at which the gradients of many chunks add up."""
    return x.detach().requires_grad_(x.requires_grad)


def _pass_on(outputs: Iterable[Float[Tensor, ...]], cut_off: Iterable[Float[Tensor, ...]]) -> None:
    """Take the gradients from where they were cut off to what the outputs were made of."""
    reached = [(x, leaf.grad) for x, leaf in zip(outputs, cut_off, strict=True) if leaf.grad is not None]
    if reached:
        torch.autograd.backward([x for x, _ in reached], [gradient for _, gradient in reached])
