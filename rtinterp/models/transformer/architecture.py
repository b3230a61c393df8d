"""The architecture and initialisation of a GPT-2 style decoder, as data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rtinterp.strict import strict

MLP_EXPANSION = 4


@strict
class TransformerArchitecture:
    """A pre-LayerNorm GPT-2 with learned positions, gelu_new, no dropout and an untied unembedding (paper section 3).

    Attributes:
        d_model: width of the residual stream; a multiple of n_heads.
        init: "gpt2" scales the two matrices that write to the residual stream by 1/sqrt(2 n_layers), as Hugging
            Face and so the official code do; "paper_text" scales W_in as well, as the paper's text says;
            "imitation_target" is the amplified one of circuit imitation: W_out times 20, queries, keys and
            values times 10, the unembedding times 100 / sqrt(d_model).
        attention: "softmax", or "prefix_sum" for the linearised transformer of Table 9: a lower triangle of
            ones, not normalised, takes the place of the attention pattern.
        positions: "learned", or "sinusoidal" for a fixed table that no regime trains (official code only).

    Raises:
        ValueError: a value is out of range, or d_model is not a multiple of n_heads.
    """

    d_model: Annotated[int, Field(ge=1)]
    n_layers: Annotated[int, Field(ge=1)] = 2
    n_heads: Annotated[int, Field(ge=1)] = 4
    init: Literal["gpt2", "paper_text", "imitation_target"] = "gpt2"
    attention: Literal["softmax", "prefix_sum"] = "softmax"
    positions: Literal["learned", "sinusoidal"] = "learned"

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads

    @property
    def d_mlp(self) -> int:
        return MLP_EXPANSION * self.d_model

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TransformerArchitecture:
        if self.d_model % self.n_heads:
            below = self.d_model - self.d_model % self.n_heads
            near = [width for width in (below, below + self.n_heads) if width]
            raise ValueError(
                f"d_model={self.d_model} is not a multiple of n_heads={self.n_heads}; "
                f"the nearest widths are {' and '.join(map(str, near))}"
            )
        return self
