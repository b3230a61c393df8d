"""Fixed factors in a block: of what its maps give, by width, and of the residual stream (Dong et al. 2025)."""

from __future__ import annotations

import dataclasses
import math

from jaxtyping import Float
from torch import Tensor

from rtinterp.models.transformer.architecture import MLP_EXPANSION, TransformerArchitecture

#: At which all but the MLP's output have the width multiplier one.
BASE_WIDTH = 512


@dataclasses.dataclass(frozen=True)
class Factors:
    """Factors of a map's output, bias included, and of the residual stream.

    Attributes:
        usual: of values, of the MLP's inner maps, and of the unembedding, which has it on what it reads.
        attn_out: of what attention adds to the residual stream.
        mlp_out: of what the MLP adds to it.
        skip: of the residual stream wherever something is added.
    """

    usual: float = 1.0
    attn_out: float = 1.0
    mlp_out: float = 1.0
    skip: float = 1.0

    @property
    def head(self) -> float:
        """Of what a head adds to the residual stream, for what it reads there."""
        return self.usual * self.attn_out

    @classmethod
    def of(cls, architecture: TransformerArchitecture) -> Factors:
        d_model, share = architecture.d_model, architecture.skip_share
        usual, mlp_out = 1.0, 1.0
        if architecture.width_multipliers:
            usual, mlp_out = math.sqrt(BASE_WIDTH / d_model), math.sqrt(1 / (MLP_EXPANSION * d_model))
        if share is None:
            return cls(usual, usual, mlp_out)
        branch = math.sqrt(1 - share)
        return cls(usual, usual * branch, mlp_out * branch, math.sqrt(share))


#: GPT-2's.
NO_FACTORS = Factors()


def times(factor: float, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The product, without work where the factor is one."""
    return x if factor == 1.0 else factor * x
