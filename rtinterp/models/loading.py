"""Tensors into a model, all of them and no others."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float32
from torch import Tensor, nn


def load_exactly(model: nn.Module, tensors: Mapping[str, Float32[Tensor, ...]]) -> None:
    """Copy the tensors into the model's parameters.

    Raises:
        ValueError: a parameter has no tensor, or a tensor no parameter.
    """
    buffers = {name for name, _ in model.named_buffers()}
    missing, unexpected = model.load_state_dict(dict(tensors), strict=False)
    if unexpected or set(missing) - buffers:
        raise ValueError(f"tensors do not make a model: missing {sorted(set(missing) - buffers)}, unknown {unexpected}")
