"""Initial tensors as a function of (parameters, seed) alone, bit for bit the same on every machine.

A function of other tensors is the same but for what it says of its rounding.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from rtinterp.models.memory import check_parameters_fit
from rtinterp.models.parameters import Parameter, ValueOfOthers

PHILOX_KEY_BYTES = 16


def initialise(parameters: Iterable[Parameter], seed: int) -> dict[str, Float32[Tensor, ...]]:
    """Every parameter at its initial value, on the CPU, by name.

    Raises:
        MemoryError: they need more memory than this machine has.
    """
    parameters = tuple(parameters)
    check_parameters_fit(parameters)
    return {parameter.name: _initial_tensor(parameter, seed) for parameter in parameters}


def initial_blocks(parameter: Parameter, seed: int) -> Iterator[Float32[np.ndarray, " value"]]:
    """The values of an initial tensor, in order and a block at a time, so that any tensor takes little memory."""
    initial = parameter.initial
    if isinstance(initial, ValueOfOthers):
        others = [_initial_tensor(other, seed).double().numpy() for other in initial.others]
        yield initial.values(parameter.shape, others).astype(np.float32)
        return
    for block in initial.blocks(parameter.shape, _stream(parameter, seed)):
        yield block.astype(np.float32)


def _initial_tensor(parameter: Parameter, seed: int) -> Float32[Tensor, ...]:
    values = np.empty(math.prod(parameter.shape), np.float32)
    start = 0
    for block in initial_blocks(parameter, seed):
        values[start : start + len(block)] = block
        start += len(block)
    return torch.from_numpy(values).view(parameter.shape)


def _stream(parameter: Parameter, seed: int) -> np.random.Generator:
    """A stream per tensor, keyed by seed and name: no tensor depends on which others are drawn, or in what order.

    torch.randn differs between instruction sets; Philox does not.
    """
    digest = hashlib.sha256(f"{parameter.name}/{seed}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:PHILOX_KEY_BYTES], "little")))
