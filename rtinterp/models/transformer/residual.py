"""How what a layer writes joins a residual stream that is scaled."""

from __future__ import annotations

import dataclasses

from jaxtyping import Float
from torch import Tensor

from rtinterp.models.layers import Affine


@dataclasses.dataclass(frozen=True)
class ScaledSkip:
    """The last map of a branch, added to a scaled residual stream."""

    out: Affine
    skip: float

    def added_to(
        self, residual: Float[Tensor, "model row d_model"], x: Float[Tensor, "model row d_in"]
    ) -> Float[Tensor, "model row d_model"]:
        return self.out.added_to(self.skip * residual, x)
