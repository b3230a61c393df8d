"""Token ids and real values as models read them, from whatever holds such numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor


def as_numbers(numbers: Any, what: str) -> Int64[Tensor, "*shape"] | Float[Tensor, "*shape"]:
    """Whole numbers of any type as int64, real values as they are; from a tensor, a NumPy array or nested lists.

    Args:
        what: the numbers' name, for messages.

    Raises:
        TypeError: they are neither.
    """
    if isinstance(numbers, np.ndarray | list | tuple):
        try:
            numbers = torch.as_tensor(numbers)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{what} are not numbers: {error}") from error
    if not isinstance(numbers, Tensor):
        raise TypeError(f"{what} must be a tensor of token ids or of real values, not {type(numbers).__name__}")
    if numbers.is_floating_point():
        return numbers
    if numbers.dtype == torch.bool or numbers.is_complex():
        raise TypeError(f"{what} are of {numbers.dtype}; pass token ids, or real values")
    return numbers.long()
