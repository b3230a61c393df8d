"""How a tensor starts: small values that draw a tensor of any shape from a stream of random numbers."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

SINUSOID_BASE = 10_000.0
BLOCK_VALUES = 2**20


class InitialValue(abc.ABC):
    """How a tensor starts, as a function of its shape and a stream of random numbers."""

    @abc.abstractmethod
    def blocks(self, shape: tuple[int, ...], stream: np.random.Generator) -> Iterator[Float64[np.ndarray, " value"]]:
        """The values in their order, some at a time, so that a tensor of any size takes little memory.

        Values in float64 leave the rounding to float32 as the only place where a last bit of libm could show.
        """

    @abc.abstractmethod
    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        """What the root of the mean square of the values is expected to be."""


class _Independent(InitialValue):
    """Values that are drawn one by one from the same distribution."""

    @abc.abstractmethod
    def draw(self, n: int, stream: np.random.Generator) -> Float64[np.ndarray, " value"]:
        """The next values."""

    def blocks(self, shape: tuple[int, ...], stream: np.random.Generator) -> Iterator[Float64[np.ndarray, " value"]]:
        size = math.prod(shape)
        return (self.draw(min(BLOCK_VALUES, size - start), stream) for start in range(0, size, BLOCK_VALUES))


@dataclasses.dataclass(frozen=True)
class Normal(_Independent):
    """Values from N(0, std^2)."""

    std: float

    def draw(self, n: int, stream: np.random.Generator) -> Float64[np.ndarray, " value"]:
        return stream.standard_normal(n) * self.std

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        return self.std


@dataclasses.dataclass(frozen=True)
class Uniform(_Independent):
    """Values from U(-bound, bound)."""

    bound: float

    def draw(self, n: int, stream: np.random.Generator) -> Float64[np.ndarray, " value"]:
        return (2 * stream.random(n) - 1) * self.bound

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        return self.bound / math.sqrt(3)


@dataclasses.dataclass(frozen=True)
class Constant(_Independent):
    """The same value everywhere; nothing is drawn."""

    value: float

    def draw(self, n: int, stream: np.random.Generator) -> Float64[np.ndarray, " value"]:
        return np.full(n, self.value)

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        return abs(self.value)


@dataclasses.dataclass(frozen=True)
class Sinusoidal(InitialValue):
    """Sine and cosine in turn, at wavelengths from 2 pi to 10,000 times that (Vaswani et al. 2017, section 3.5).

    The tensor is ``[pos d_model]``; nothing is drawn.
    """

    def blocks(self, shape: tuple[int, ...], stream: np.random.Generator) -> Iterator[Float64[np.ndarray, " value"]]:
        n_ctx, d_model = shape
        n_rows = max(1, BLOCK_VALUES // d_model)
        return (self._rows(start, min(start + n_rows, n_ctx), d_model) for start in range(0, n_ctx, n_rows))

    def _rows(self, start: int, stop: int, d_model: int) -> Float64[np.ndarray, " value"]:
        rates = SINUSOID_BASE ** (-2 * (np.arange(d_model) // 2) / d_model)
        angles = np.arange(start, stop)[:, None] * rates
        return np.where(np.arange(d_model) % 2 == 0, np.sin(angles), np.cos(angles)).ravel()

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        return math.sqrt(0.5)


@dataclasses.dataclass(frozen=True)
class Orthonormal(InitialValue):
    """Rows that are orthonormal and otherwise at random: the first ones of a rotation drawn from the Haar measure.

    The tensor is ``[row column]``, with at least as many columns as rows. Gaussian rows are made orthonormal one after
    the other. Only sums of many numbers depend on the machine's order of summation, so they are added in pairs.
    """

    def blocks(self, shape: tuple[int, ...], stream: np.random.Generator) -> Iterator[Float64[np.ndarray, " value"]]:
        n_rows, n_columns = shape
        rows = stream.standard_normal((n_rows, n_columns))
        for index, row in enumerate(rows):
            row /= np.sqrt(pairwise_sums(row * row))
            later = rows[index + 1 :]
            later -= pairwise_sums(later * row)[:, None] * row
        yield rows.ravel()

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        return 1 / math.sqrt(shape[1])


def pairwise_sums(terms: Float64[np.ndarray, "*row column"]) -> Float64[np.ndarray, "*row"]:
    """Sums over the last axis, the same bits on every machine: neighbours are added until one value is left."""
    while (n := terms.shape[-1]) > 1:
        even = terms[..., : n - n % 2]
        pairs = even[..., ::2] + even[..., 1::2]
        terms = np.concatenate([pairs, terms[..., n - 1 :]], -1) if n % 2 else pairs
    return terms[..., 0]
