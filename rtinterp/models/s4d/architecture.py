"""The architecture of S4D between embeddings, as data."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rtinterp.strict import strict


@strict
class S4DArchitecture:
    """Layers of S4D-Lin (Gu, Gupta, Goel and Re 2022, arXiv 2206.11893), each after a LayerNorm, added to the stream.

    Every channel of the residual stream runs a linear recurrence of its own, the same at every token, whose complex
    numbers turn and fade at fixed rates; GELU and a gated linear unit follow. There is no positional embedding.

    Attributes:
        d_model: width of the residual stream.
        d_state: real numbers that each channel keeps of the past, in conjugate pairs; 64 as published.

    Raises:
        ValueError: a value is out of range, or d_state is odd.
    """

    d_model: Annotated[int, Field(ge=1)]
    n_layers: Annotated[int, Field(ge=1)] = 2
    d_state: Annotated[int, Field(ge=2)] = 64

    @property
    def n_pairs(self) -> int:
        """The number of conjugate pairs, one of each of which is computed with."""
        return self.d_state // 2

    @model_validator(mode="after")
    def _is_of_pairs(self) -> S4DArchitecture:
        if self.d_state % 2:
            raise ValueError(f"d_state={self.d_state} is odd, and numbers come in pairs; use {self.d_state + 1}")
        return self
