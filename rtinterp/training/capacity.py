"""How much goes through the model at once: what fits the caches of a CPU, or the memory of a GPU."""

from __future__ import annotations

import math

import torch

from rtinterp.models.layers import CONVOLVED_FROM_COLUMNS, ROWS_PER_CONVOLUTION
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
FLOAT32_BYTES = 4
#: Gradient and the two moments of AdamW, beside the parameter.
OPTIMISER_COPIES = 3
GIB = 2**30


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
    held = sum(math.prod(parameter.shape) for parameter in spec.parameters())
    trained = sum(math.prod(parameter.shape) for parameter in spec.trained_parameters())
    elements = held + OPTIMISER_COPIES * trained
    rows = max(limits.n_rows, n_models * task.sequence_length)
    activations = rows * model.n_layers * KEPT_WIDTHS_PER_BLOCK * model.d_model
    return FLOAT32_BYTES * (n_models * elements + activations)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class CapacityError(MemoryError):
    """A stack of runs does not fit the device's memory, one sequence at a time."""

    def __init__(self, spec: RunSpec, n_models: int, device: torch.device) -> None:
        smallest = ChunkLimits(0, 0)
        stack, one = (needed_bytes(spec, n, smallest) / GIB for n in (n_models, 1))
        advice = "train fewer seeds at once" if n_models > 1 else "use a smaller width, or a device with more memory"
        super().__init__(
            f"{n_models} model(s) of width {spec.model.d_model} need about {stack:.2g} GiB on {device} even at one "
            f"sequence at a time ({one:.2g} GiB for one model), and that did not fit; {advice}"
        )
