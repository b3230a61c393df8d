"""The architecture of Mamba between embeddings, as data."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rtinterp.strict import strict

#: Of a layer's inner width, and of what the step sizes are made through.
EXPANSION, WIDTHS_PER_STEP_RANK = 2, 16


@strict
class MambaArchitecture:
    """Layers of Mamba-1 (Gu and Dao 2023, arXiv 2312.00752), each after an RMSNorm and added to the residual stream.

    A layer convolves each of its 2 d_model channels over the last positions and runs a linear recurrence on each, whose
    step size, input and output depend on the token; another branch gates what comes out. There is no MLP and no
    positional embedding. Initial values are those of the official code.

    Attributes:
        d_model: width of the residual stream.
        d_state: numbers that each channel keeps of the past, 16 as published.
        d_conv: positions that are convolved, 4 as published.

    Raises:
        ValueError: a value is out of range.
    """

    d_model: Annotated[int, Field(ge=1)]
    n_layers: Annotated[int, Field(ge=1)] = 2
    d_state: Annotated[int, Field(ge=1)] = 16
    d_conv: Annotated[int, Field(ge=1)] = 4

    @property
    def d_inner(self) -> int:
        """The number of channels of a layer."""
        return EXPANSION * self.d_model

    @property
    def step_rank(self) -> int:
        """The dimension through which the step sizes of all channels are made."""
        return -(-self.d_model // WIDTHS_PER_STEP_RANK)
