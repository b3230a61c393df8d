"""A hash of tensors, to prove that a rebuilt body is the one that was trained around."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from jaxtyping import Float32
from torch import Tensor

from rtinterp.models.initialisation import initial_blocks
from rtinterp.models.parameters import Parameter


def fingerprint(tensors: Mapping[str, Float32[Tensor, ...]]) -> str:
    """sha256 (hex) of names, shapes and the exact little-endian float32 values, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def initial_fingerprint(parameters: Iterable[Parameter], seed: int) -> str:
    """``fingerprint(initialise(parameters, seed))``, without ever holding a tensor whole."""
    digest = hashlib.sha256()
    for parameter in sorted(parameters, key=lambda parameter: parameter.name):
        digest.update(f"{parameter.name}{list(parameter.shape)}".encode())
        for block in initial_blocks(parameter, seed):
            digest.update(block.astype("<f4", copy=False).tobytes())
    return digest.hexdigest()
