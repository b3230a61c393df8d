"""Fixed factors of what the maps of a transformer give, by width (Dong, Noci, Khodak and Li 2025)."""

from __future__ import annotations

import dataclasses
import math

from jaxtyping import Float
from torch import Tensor

from rtinterp.models.transformer.architecture import MLP_EXPANSION, TransformerArchitecture

#: At which all but the MLP's output have the factor one.
BASE_WIDTH = 512


@dataclasses.dataclass(frozen=True)
class Multipliers:
    """Factors of a map's output, bias included.

    Attributes:
        usual: of values, attention outputs, the MLP's inner maps, and the unembedding, which has it on what it reads.
        mlp_out: of what the MLP writes.
    """

    usual: float = 1.0
    mlp_out: float = 1.0

    @classmethod
    def of(cls, architecture: TransformerArchitecture) -> Multipliers:
        if not architecture.width_multipliers:
            return cls()
        d_model = architecture.d_model
        return cls(math.sqrt(BASE_WIDTH / d_model), math.sqrt(1 / (MLP_EXPANSION * d_model)))


def times(factor: float, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The product, without work where the factor is one."""
    return x if factor == 1.0 else factor * x
