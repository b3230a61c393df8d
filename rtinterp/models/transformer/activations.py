"""What stands between the maps of an MLP."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.transformer.architecture import TransformerArchitecture

Activation: TypeAlias = Callable[[Float[Tensor, "..."]], Float[Tensor, "..."]]

gelu_new: Activation = functools.partial(F.gelu, approximate="tanh")


def activation_of(architecture: TransformerArchitecture) -> Activation:
    """The activation of an architecture."""
    if architecture.activation == "scaled_leaky_relu":
        return functools.partial(scaled_leaky_relu, d_model=architecture.d_model)
    return gelu_new if architecture.activation == "gelu_new" else F.silu


def scaled_leaky_relu(x: Float[Tensor, "*shape"], d_model: int) -> Float[Tensor, "*shape"]:
    """LeakyReLU of slope 1 - 1/sqrt(d_model), scaled to keep the mean square of values from N(0, 1)."""
    slope = 1 - 1 / math.sqrt(d_model)
    return math.sqrt(2 / (1 + slope**2)) * F.leaky_relu(x, slope)
