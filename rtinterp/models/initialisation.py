"""Initial tensors as a function of (spec, seed) alone, bit for bit the same on every machine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from rtinterp.models.bodies import BodySpec, model_parameters
from rtinterp.models.parameters import Parameter, body_parameters
from rtinterp.models.transformer.spec import ModelSpec

PHILOX_KEY_BYTES = 16
SINUSOID_BASE = 10_000.0
BLOCK_VALUES = 2**20


def initial_tensors(spec: BodySpec, d_vocab: int, n_ctx: int, seed: int) -> dict[str, Float32[Tensor, ...]]:
    """Every parameter at its initial value, on the CPU, by TransformerLens name."""
    return initialise(model_parameters(spec, d_vocab, n_ctx), seed)


def initial_body(spec: ModelSpec, seed: int) -> dict[str, Float32[Tensor, ...]]:
    """The tensors between the embeddings at their initial value: the same for every task."""
    return initialise(body_parameters(spec), seed)


def initialise(parameters: Iterable[Parameter], seed: int) -> dict[str, Float32[Tensor, ...]]:
    return {parameter.name: _initial_tensor(parameter, seed) for parameter in parameters}


def _initial_tensor(parameter: Parameter, seed: int) -> Float32[Tensor, ...]:
    """A stream per tensor, keyed by seed and name: no tensor depends on which others are drawn, or in what order.

    torch.randn differs between instruction sets. Philox does not, and drawing in float64 leaves the rounding to
    float32 as the only place where a last bit of libm could show.
    """
    if parameter.sinusoidal:
        n_ctx, d_model = parameter.shape
        return torch.from_numpy(_sinusoids(range(n_ctx), d_model).astype(np.float32))
    if not parameter.std and not parameter.bound:
        return torch.full(parameter.shape, parameter.fill)
    return torch.from_numpy(_drawn(parameter, _stream(parameter, seed), parameter.shape).astype(np.float32))


def initial_blocks(parameter: Parameter, seed: int) -> Iterator[Float32[np.ndarray, " value"]]:
    """The values of an initial tensor, in order and a block at a time, so that any tensor takes little memory."""
    size = math.prod(parameter.shape)
    if parameter.sinusoidal:
        n_ctx, d_model = parameter.shape
        step = max(1, BLOCK_VALUES // d_model)
        for start in range(0, n_ctx, step):
            yield _sinusoids(range(start, min(start + step, n_ctx)), d_model).astype(np.float32).ravel()
        return
    is_drawn = bool(parameter.std or parameter.bound)
    stream = _stream(parameter, seed)
    for start in range(0, size, BLOCK_VALUES):
        shape = (min(BLOCK_VALUES, size - start),)
        values = _drawn(parameter, stream, shape) if is_drawn else np.full(shape, parameter.fill)
        yield values.astype(np.float32)


def _stream(parameter: Parameter, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{parameter.name}/{seed}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:PHILOX_KEY_BYTES], "little")))


def _drawn(parameter: Parameter, stream: np.random.Generator, shape: tuple[int, ...]) -> Float64[np.ndarray, ...]:
    """The next values of a stream."""
    if parameter.bound:
        return (2 * stream.random(shape, dtype=np.float64) - 1) * parameter.bound
    return stream.standard_normal(shape, dtype=np.float64) * parameter.std


def _sinusoids(positions: range, d_model: int) -> Float64[np.ndarray, "pos d_model"]:
    """Sine and cosine in turn, at wavelengths from 2 pi to 10,000 times that (Vaswani et al. 2017, section 3.5)."""
    rates = SINUSOID_BASE ** (-2 * (np.arange(d_model) // 2) / d_model)
    angles = np.arange(positions.start, positions.stop)[:, None] * rates
    return np.where(np.arange(d_model) % 2 == 0, np.sin(angles), np.cos(angles))
