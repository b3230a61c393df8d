"""How the tensors start that only S4D has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from rtinterp.models.initial_values import BLOCK_VALUES, InitialValue

#: Step sizes start log-uniform between these.
SMALLEST_STEP, LARGEST_STEP = 1e-3, 1e-1


@dataclasses.dataclass(frozen=True)
class LogStep(InitialValue):
    """The logarithms of step sizes that are log-uniform in [0.001, 0.1]."""

    def blocks(self, shape: tuple[int, ...], stream: np.random.Generator) -> Iterator[Float64[np.ndarray, " value"]]:
        size, low, high = math.prod(shape), math.log(SMALLEST_STEP), math.log(LARGEST_STEP)
        for start in range(0, size, BLOCK_VALUES):
            yield low + (high - low) * stream.random(min(BLOCK_VALUES, size - start))

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        low, high = math.log(SMALLEST_STEP), math.log(LARGEST_STEP)
        return math.sqrt((high**3 - low**3) / (3 * (high - low)))


@dataclasses.dataclass(frozen=True)
class Frequencies(InitialValue):
    """0, pi, 2 pi, ... in every row: how fast a channel's numbers turn. Nothing is drawn."""

    def blocks(self, shape: tuple[int, ...], stream: np.random.Generator) -> Iterator[Float64[np.ndarray, " value"]]:
        n_rows, n_columns = shape
        return (math.pi * np.arange(n_columns, dtype=np.float64) for _ in range(n_rows))

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        return math.pi * float(np.sqrt(np.mean(np.arange(shape[1]) ** 2)))
