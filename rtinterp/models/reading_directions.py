"""The directions of the residual stream that a body reads most, or least, at its initial values."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float64

from rtinterp.models.parameters import Parameter, ValueOfOthers

#: The matrices that read the stream: the axis of d_model is the last but one.
READERS = r"blocks\.\d+\.(?:attn\.W_[QGKV]|mlp\.W_(?:in|gate))"
#: A LayerNorm takes the mean over d_model away from what is read; a norm without a bias does not.
CENTRED = r"blocks\.\d+\.ln1\.b"
#: Directions are rounded to multiples of this, which hides what two machines' linear algebra differ in.
STEP = 2.0**-20


@dataclasses.dataclass(frozen=True)
class ReadingDirections(ValueOfOthers):
    """Orthonormal rows: right-singular vectors of all readers together, stacked as rows of ``[reader d_model]``.

    The largest component of every direction is positive. Components are rounded to about a millionth, so that the same
    bits come out on every machine but where a value lies within rounding of the middle between two steps.

    Attributes:
        others: the readers.
        most: whether the directions of the largest singular values come, the largest first; else those of the smallest.
        centred: whether what is read has no mean over d_model, so that the constant direction is read by none.
    """

    others: tuple[Parameter, ...]
    most: bool
    centred: bool

    def values(
        self, shape: tuple[int, ...], others: Sequence[Float64[np.ndarray, ...]]
    ) -> Float64[np.ndarray, " value"]:
        n_directions, d_model = shape
        rows = np.concatenate([np.moveaxis(reader, -2, -1).reshape(-1, d_model) for reader in others])
        if self.centred:
            rows = rows - rows.mean(1, keepdims=True)
        directions = np.linalg.eigh(rows.T @ rows).eigenvectors.T
        chosen = (directions[::-1] if self.most else directions)[:n_directions]
        largest = np.take_along_axis(chosen, np.abs(chosen).argmax(1)[:, None], axis=1)
        return (np.round(chosen * np.sign(largest) / STEP) * STEP).ravel()

    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        return 1 / math.sqrt(shape[1])


def reading_directions(parameters: Iterable[Parameter], *, most: bool) -> ReadingDirections:
    """Say which directions the parameters of a body read.

    Raises:
        ValueError: none of them is a matrix of attention or of an MLP.
    """
    parameters = tuple(parameters)
    readers = tuple(p for p in parameters if re.fullmatch(READERS, p.name))
    if not readers:
        raise ValueError("the model has no W_Q, W_K, W_V or W_in that reads its residual stream; take RandomSubspace")
    return ReadingDirections(readers, most, centred=any(re.fullmatch(CENTRED, p.name) for p in parameters))
