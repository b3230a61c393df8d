"""How much goes through the model at once: what fits the caches of a CPU, or the memory of a GPU."""

from __future__ import annotations

import torch

from rtinterp.models.layers import CONVOLVED_FROM_COLUMNS, ROWS_PER_CONVOLUTION
from rtinterp.models.memory import FLOAT32_BYTES, GIB, device_bytes, parameter_bytes
from rtinterp.training.packing import ChunkLimits
from rtinterp.training.spec import RunSpec

#: Elements of the widest activation of one chunk. On a CPU, larger buffers are handed back to the operating system
#: after every use and cost a page fault per 4 KiB.
CHUNK_ELEMENTS = {"cpu": 2**22, "cuda": 2**28}

#: A model with as many rows in a chunk keeps the device busy by itself; stacking more would cost locality for nothing.
ROWS_PER_MODEL = {"cpu": 2048, "cuda": 1}

#: Float32 activations that the backward pass of a block keeps for each row, in units of d_model; an LSTM layer keeps
#: 8 of them for each position.
KEPT_WIDTHS_PER_BLOCK = 18
TOKEN_BYTES = 8
#: Gradient and the two moments of AdamW, beside the parameter.
OPTIMISER_COPIES = 3


def chunk_limits(spec: RunSpec, device: torch.device) -> ChunkLimits:
    elements, model = CHUNK_ELEMENTS[device.type], spec.model
    widest_place = model.widest_place(spec.task.sequence_length)
    return ChunkLimits(n_rows=elements // model.widest_row, n_places=elements // widest_place)


def halved(limits: ChunkLimits) -> ChunkLimits:
    return ChunkLimits(n_rows=limits.n_rows // 2, n_places=limits.n_places // 2)


def row_multiple(spec: RunSpec, device: torch.device) -> int:
    """What the number of rows of a chunk is rounded up to, for the sake of the products that are convolutions."""
    convolves = device.type == "cpu" and spec.model.d_model >= CONVOLVED_FROM_COLUMNS
    return ROWS_PER_CONVOLUTION if convolves else 1


def models_per_stack(spec: RunSpec, device: torch.device) -> int:
    """Seeds that train faster in one pass than in several."""
    return max(1, CHUNK_ELEMENTS[device.type] // (spec.model.widest_row * ROWS_PER_MODEL[device.type]))


def needed_bytes(spec: RunSpec, n_models: int, limits: ChunkLimits) -> int:
    """Estimate of what a stack takes: parameters, optimiser and the activations of one chunk."""
    model, task = spec.model, spec.task
    held = parameter_bytes(spec.parameters()) + OPTIMISER_COPIES * parameter_bytes(spec.trained_parameters())
    rows = max(limits.n_rows, n_models * task.sequence_length)
    return n_models * held + FLOAT32_BYTES * rows * model.n_layers * KEPT_WIDTHS_PER_BLOCK * model.d_model


def check_fits(spec: RunSpec, n_models: int, device: torch.device) -> None:
    """Refuse what the device could never hold, before anything is made.

    Raises:
        CapacityError: as said, with the memory that is needed and what there is.
    """
    there, task = device_bytes(device), spec.task
    inputs = TOKEN_BYTES if task.reads == "tokens" else FLOAT32_BYTES * task.d_vocab
    batch = n_models * spec.training.batch_size * task.sequence_length * inputs
    if batch > there:
        raise CapacityError(
            f"batch_size={spec.training.batch_size}: the sequences of one step take {batch / GIB:,.1f} GiB, and "
            f"{device} has {there / GIB:,.1f} GiB of memory; use a smaller one"
        )
    if needed_bytes(spec, n_models, ChunkLimits(0, 0)) > there:
        raise too_large(spec, n_models, device)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class CapacityError(MemoryError):
    """A stack of runs does not fit the device's memory, one sequence at a time."""


def too_large(spec: RunSpec, n_models: int, device: torch.device) -> CapacityError:
    """What to raise of a stack that does not fit."""
    stack, one = (needed_bytes(spec, n, ChunkLimits(0, 0)) / GIB for n in (n_models, 1))
    advice = "train fewer seeds at once" if n_models > 1 else "use a smaller width, or a device with more memory"
    return CapacityError(
        f"{n_models} model(s) of width {spec.model.d_model} need about {stack:,.2f} GiB on {device} even at one "
        f"sequence at a time ({one:,.2f} GiB for one model), and it has {device_bytes(device) / GIB:,.1f} GiB in all; "
        f"{advice}"
    )
