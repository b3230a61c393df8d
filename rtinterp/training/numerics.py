"""In what precision the matrix products of a step are computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from rtinterp.training.train_spec import Precision

_FLOAT32_PRODUCTS: dict[Precision, str] = {"float32": "highest", "tf32": "high", "bfloat16": "highest"}


def body_dtype(precision: Precision) -> torch.dtype:
    """The type of the products between the embeddings; all else is float32."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


@contextlib.contextmanager
def float32_products(precision: Precision) -> Iterator[None]:
    """Within it, float32 products are what the spec says, whatever the process has chosen for itself."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(_FLOAT32_PRODUCTS[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise ValueError if the device has no such arithmetic."""
    if precision == "tf32" and device.type != "cuda":
        raise ValueError("precision='tf32' is a mode of CUDA devices; on a CPU use 'float32' or 'bfloat16'")
