"""How the tensors start that only Mamba has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from rtinterp.models.initial_values import BLOCK_VALUES, InitialValue

#: Step sizes start log-uniform between these, and at this at least.
SMALLEST_STEP, LARGEST_STEP, STEP_FLOOR = 1e-3, 1e-1, 1e-4


@dataclasses.dataclass(frozen=True)
class StepBias(InitialValue):
    """The biases whose softplus is a step size, log-uniform in [0.001, 0.1]."""

    def blocks(self, shape: tuple[int, ...], stream: np.random.Generator) -> Iterator[Float64[np.ndarray, " value"]]:
        size = math.prod(shape)
        return (self._draw(min(BLOCK_VALUES, size - start), stream) for start in range(0, size, BLOCK_VALUES))

    def _draw(self, n: int, stream: np.random.Generator) -> Float64[np.ndarray, " value"]:
        low, high = math.log(SMALLEST_STEP), math.log(LARGEST_STEP)
        steps = np.maximum(np.exp(low + (high - low) * stream.random(n)), STEP_FLOOR)
        return steps + np.log(-np.expm1(-steps))

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        """By the midpoints of many equal steps of the logarithm."""
        low, high, n_midpoints = math.log(SMALLEST_STEP), math.log(LARGEST_STEP), 1000
        steps = np.exp(low + (high - low) * (np.arange(n_midpoints) + 0.5) / n_midpoints)
        return float(np.sqrt(np.mean((steps + np.log(-np.expm1(-steps))) ** 2)))


@dataclasses.dataclass(frozen=True)
class LogOfCount(InitialValue):
    """The logarithms of 1, 2, 3, ... in every row: at which rates a channel's numbers fade. Nothing is drawn."""

    def blocks(self, shape: tuple[int, ...], stream: np.random.Generator) -> Iterator[Float64[np.ndarray, " value"]]:
        n_rows, n_columns = shape
        rows_at_once = max(1, BLOCK_VALUES // n_columns)
        row = np.log(np.arange(1, n_columns + 1))
        return (np.tile(row, min(rows_at_once, n_rows - start)) for start in range(0, n_rows, rows_at_once))

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        return float(np.sqrt(np.mean(np.log(np.arange(1, shape[1] + 1)) ** 2)))
