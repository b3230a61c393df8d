"""Fixed random patterns in the place of attention (Dong, Noci, Khodak and Li 2025)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from rtinterp.models.initial_values import InitialValue, pairwise_sums

#: What a sink head gives to itself, and what it gives to the first token.
SELF_SHARE = SINK_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class RandomMixing(InitialValue):
    """For each head the identity plus noise at and before each position, of which every row sums to zero.

    The tensor is ``[head query_pos key_pos]``, with T positions. The standard deviation of a head's noise is uniform
    between 1/sqrt(T d_head) and 1/sqrt(T). So rows sum to one, the first position sees itself alone, and entries may be
    negative.

    Attributes:
        sink: head 0 is one half itself and one half the first token, without noise; its first row sums to one half, as
            in the released code. The other heads are the same with and without.
    """

    d_head: int
    sink: bool = False

    def blocks(self, shape: tuple[int, ...], stream: np.random.Generator) -> Iterator[Float64[np.ndarray, " value"]]:
        n_heads, length, _ = shape
        least, most = self._stds(length)
        stds = least + stream.random(n_heads) * (most - least)
        for head, std in enumerate(stds):
            matrix = self._noisy(length, std, stream)
            yield (_sink(length) if self.sink and head == 0 else matrix).ravel()

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        n_heads, length, _ = shape
        least, most = self._stds(length)
        mean_variance = (least**2 + least * most + most**2) / 3
        # Row i has i + 1 noisy entries, of which centring leaves i degrees of freedom.
        noisy = (1 + mean_variance * (length - 1) / 2) / length
        if not self.sink:
            return math.sqrt(noisy)
        return math.sqrt(((n_heads - 1) * noisy + float(np.square(_sink(length)).mean())) / n_heads)

    def _stds(self, length: int) -> tuple[float, float]:
        return 1 / math.sqrt(length * self.d_head), 1 / math.sqrt(length)

    def _noisy(self, length: int, std: float, stream: np.random.Generator) -> Float64[np.ndarray, "query_pos key_pos"]:
        noise = np.tril(stream.standard_normal((length, length)) * std)
        means = pairwise_sums(noise) / np.arange(1, length + 1)
        return np.eye(length) + np.tril(noise - means[:, None])


def _sink(length: int) -> Float64[np.ndarray, "query_pos key_pos"]:
    matrix = SELF_SHARE * np.eye(length)
    matrix[1:, 0] = SINK_SHARE
    return matrix
