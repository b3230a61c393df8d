"""A hash of tensors, to prove that a rebuilt body is the one that was trained around."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from jaxtyping import Float32
from torch import Tensor


def fingerprint(tensors: Mapping[str, Float32[Tensor, ...]]) -> str:
    """sha256 (hex) of names, shapes and the exact little-endian float32 values, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()
