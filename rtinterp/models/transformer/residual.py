"""How what a layer writes joins the residual stream."""

from __future__ import annotations

import dataclasses
import math

from jaxtyping import Float
from torch import Tensor

from rtinterp.models.layers import Affine
from rtinterp.models.transformer.architecture import TransformerArchitecture


@dataclasses.dataclass(frozen=True)
class SkipWeights:
    """Factors of the residual stream, and of what is added to it; their squares sum to one unless both are one."""

    skip: float = 1.0
    branch: float = 1.0

    @classmethod
    def of(cls, architecture: TransformerArchitecture) -> SkipWeights:
        share = architecture.skip_share
        return cls() if share is None else cls(math.sqrt(share), math.sqrt(1 - share))


@dataclasses.dataclass(frozen=True)
class ScaledSkip:
    """The last map of a branch, added to a scaled residual stream; ``out`` has the factor of the branch already."""

    out: Affine
    skip: float

    def added_to(
        self, residual: Float[Tensor, "model row d_model"], x: Float[Tensor, "model row d_in"]
    ) -> Float[Tensor, "model row d_model"]:
        return self.out.added_to(self.skip * residual, x)
