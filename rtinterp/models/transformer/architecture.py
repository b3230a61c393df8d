"""The architecture and initialisation of a GPT-2 style decoder, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rtinterp.models.transformer.gates import GATED
from rtinterp.models.transformer.linear_attention import LINEAR_KINDS
from rtinterp.strict import strict

MLP_EXPANSION = 4

AttentionKind = Literal[
    "softmax",
    "prefix_sum",
    "linear",
    "linear_normalised",
    "retention",
    "gated_linear",
    "random_mixing",
    "random_mixing_with_sink",
]

#: Kinds of attention that have queries and keys.
WITH_QUERIES = ("softmax", "prefix_sum", *LINEAR_KINDS, GATED)

#: By field that is younger than stored specs: what its absence means.
WHEN_ABSENT: dict[str, object] = {
    "qk_init_std": "as_init",
    "norm": "layer_norm",
    "mlp": "plain",
    "activation": "gelu_new",
    "skip_share": None,
    "width_multipliers": False,
    "mixing_length": None,
}


@strict
class TransformerArchitecture:
    """A pre-LayerNorm GPT-2 with learned positions, gelu_new, no dropout and an untied unembedding (paper section 3).

    The fields after positions make other transformers of it, each on its own, up to those of Dong, Noci, Khodak and Li
    (2025); presets.py beside this has them whole.

    Attributes:
        d_model: width of the residual stream; a multiple of n_heads.
        init: "gpt2" scales the two matrices that write to the residual stream by 1/sqrt(2 n_layers), as Hugging
            Face and so the official code do; "paper_text" scales W_in as well, as the paper's text says;
            "imitation_target" is the amplified one of circuit imitation: W_out times 20, queries, keys and
            values times 10, the unembedding times 100 / sqrt(d_model); "normal" scales nothing.
        attention: "softmax", or "prefix_sum" for the linearised transformer of Table 9: a lower triangle of
            ones, not normalised, takes the place of the attention pattern; "linear", "linear_normalised" and
            "retention" for attention without softmax (linear_attention.py), and "gated_linear" for such that forgets
            what tokens say (gates.py); or "random_mixing", for a fixed random pattern, the same for every sequence,
            without queries and keys, and "random_mixing_with_sink", of which the first head of every layer looks half
            at itself and half at the first token.
        positions: "learned", "sinusoidal" for a fixed table that no regime trains (official code only), or "rotary"
            for none but rotations of queries and keys.
        qk_init_std: the standard deviation of query and key matrices: that of init, or 1/sqrt(d_model) with
            "inverse_sqrt_width".
        norm: "layer_norm", or "rms_norm", which subtracts no mean and has no bias.
        mlp: "plain", or "gated", of which the activation of another map multiplies the hidden layer.
        activation: "gelu_new", "silu", or "scaled_leaky_relu" of slope 1 - 1/sqrt(d_model) below zero.
        skip_share: None adds what a layer writes to the residual stream; s, between 0 and 1, takes the sum of
            sqrt(s) times the stream and sqrt(1 - s) times that.
        width_multipliers: multiply what values, attention outputs, the MLP's inner maps and the unembedding give by
            sqrt(512 / d_model), and what the MLP writes by sqrt(1 / (4 d_model)).
        mixing_length: positions that random mixing is drawn for, which no sequence may exceed; the more, the smaller
            its entries. None takes as many as the positional embedding has rows.

    Raises:
        ValueError: a value is out of range, d_model is not a multiple of n_heads, or two fields exclude each other.
    """

    d_model: Annotated[int, Field(ge=1)]
    n_layers: Annotated[int, Field(ge=1)] = 2
    n_heads: Annotated[int, Field(ge=1)] = 4
    init: Literal["gpt2", "paper_text", "imitation_target", "normal"] = "gpt2"
    attention: AttentionKind = "softmax"
    positions: Literal["learned", "sinusoidal", "rotary"] = "learned"
    qk_init_std: Literal["as_init", "inverse_sqrt_width"] = "as_init"
    norm: Literal["layer_norm", "rms_norm"] = "layer_norm"
    mlp: Literal["plain", "gated"] = "plain"
    activation: Literal["gelu_new", "silu", "scaled_leaky_relu"] = "gelu_new"
    skip_share: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    width_multipliers: bool = False
    mixing_length: Annotated[int, Field(ge=1)] | None = None

    @classmethod
    def when_absent(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What a stored spec means that lacks fields, because its runs are older than these: GPT-2's block."""
        return dict(WHEN_ABSENT)

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads

    @property
    def d_mlp(self) -> int:
        return MLP_EXPANSION * self.d_model

    @property
    def mixes_at_random(self) -> bool:
        """Whether a fixed random pattern takes the place of attention."""
        return self.attention not in WITH_QUERIES

    @property
    def has_linear_heads(self) -> bool:
        """Whether a head is a linear recurrent network with queries and keys."""
        return self.attention in LINEAR_KINDS or self.attention == GATED

    @property
    def compares_keys_as_they_are(self) -> bool:
        """Whether scores are of the keys themselves and a softmax of them follows, in which a key's bias drops out.

        No keys are needed then where the query can go through their matrix. Rotation stands between the two, and
        without softmax the bias counts.
        """
        return self.positions != "rotary" and not self.has_linear_heads

    @property
    def has_gpt2_blocks(self) -> bool:
        """Whether the blocks compute what GPT-2's do."""
        others = {"norm", "mlp", "activation", "skip_share", "width_multipliers"}
        is_changed = any(getattr(self, name) != WHEN_ABSENT[name] for name in others)
        return self.attention == "softmax" and self.positions != "rotary" and not is_changed

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

    @model_validator(mode="after")
    def _rotates_pairs(self) -> TransformerArchitecture:
        if self.positions == "rotary" and self.d_head % 2:
            raise ValueError(
                f"positions='rotary' rotates pairs of dimensions, and d_head={self.d_head} of d_model={self.d_model} "
                f"and n_heads={self.n_heads} is odd; use a d_model that is a multiple of {2 * self.n_heads}"
            )
        return self

    @model_validator(mode="after")
    def _fields_have_a_meaning(self) -> TransformerArchitecture:
        """A field without effect would make other run ids for equal models."""
        if self.attention != "softmax" and self.positions == "rotary":
            raise ValueError(
                f"positions='rotary' rotates queries and keys, which attention={self.attention!r} does not compare; "
                "use 'learned'"
            )
        if self.mixes_at_random and self.qk_init_std != "as_init":
            raise ValueError(
                f"qk_init_std={self.qk_init_std!r} is about queries and keys, which attention={self.attention!r} has "
                "not; leave it out"
            )
        if not self.mixes_at_random and self.mixing_length is not None:
            raise ValueError(
                f"mixing_length={self.mixing_length} is about random mixing, and attention is {self.attention!r}; "
                "leave it out"
            )
        return self
