"""M models of one body in one forward pass: the embeddings, which all bodies have, around what lies between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from typing import Protocol

from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import Affine, read_in, take_rows
from rtinterp.models.parameters import POSITIONAL_EMBEDDING, TOKEN_EMBEDDING, UNEMBEDDING, UNEMBEDDING_BIAS
from rtinterp.models.prefixes import Entries, Prefixes


class StackedBody(Protocol):
    """What lies between the embeddings of M models, computing only what the scored predictions read."""

    def shared(self, x: Float[Tensor, "model entry d_model"]) -> list[Float[Tensor, "model entry columns"]]:
        """What every occurrence of an entry shares, from its embedding.

        The tensors are float32 whatever the precision of the body, since the gradients of many rows meet there.
        """
        ...

    def scored_residual(
        self,
        shared: list[Float[Tensor, "model entry columns"]],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """What the unembedding reads at the scored positions."""
        ...


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """The embeddings of M models, in float32.

    Attributes:
        W_pos: None where the body has no positional embedding.
        b_U: None where the bias is frozen at zero.
    """

    W_E: Float[Tensor, "model d_vocab d_model"]
    W_pos: Float[Tensor, "model n_ctx d_model"] | None
    W_U: Float[Tensor, "model d_model d_vocab_out"]
    b_U: Float[Tensor, "model d_vocab_out"] | None

    @classmethod
    def of(cls, tensors: Mapping[str, Float[Tensor, "model ..."]], frozen: Set[str]) -> Embeddings:
        """Those among a model's tensors, by name; a bias that is frozen at zero is left out."""
        b_U = tensors[UNEMBEDDING_BIAS]
        if UNEMBEDDING_BIAS in frozen and not bool(b_U.any()):
            b_U = None
        return cls(tensors[TOKEN_EMBEDDING], tensors.get(POSITIONAL_EMBEDDING), tensors[UNEMBEDDING], b_U)

    def made_of(self, tensors: Mapping[str, Float[Tensor, "model ..."]]) -> Embeddings:
        """The same with other values, by name."""
        b_U = None if self.b_U is None else tensors[UNEMBEDDING_BIAS]
        return Embeddings(tensors[TOKEN_EMBEDDING], tensors.get(POSITIONAL_EMBEDDING), tensors[UNEMBEDDING], b_U)

    def __call__(self, entries: Entries) -> Float[Tensor, "model entry d_model"]:
        """The sum of token and positional embedding of every entry."""
        x = read_in(self.W_E, entries.tokens)
        return x if self.W_pos is None else x + take_rows(self.W_pos, entries.positions)

    @property
    def unembedding(self) -> Affine:
        return Affine(self.W_U, None if self.b_U is None else self.b_U.unsqueeze(1))


@dataclasses.dataclass(frozen=True)
class StackedModel:
    """The forward pass of M models."""

    embeddings: Embeddings
    body: StackedBody

    @property
    def unembedding(self) -> Affine:
        return self.embeddings.unembedding

    def embed(self, entries: Entries) -> list[Float[Tensor, "model entry columns"]]:
        """What every occurrence of a token at a position shares."""
        return self.body.shared(self.embeddings(entries))

    def scored_residual(
        self,
        shared: list[Float[Tensor, "model entry columns"]],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """What the unembedding reads at the scored positions."""
        return self.body.scored_residual(shared, prefixes, scored_positions)

    def scored_logits(
        self,
        shared: list[Float[Tensor, "model entry columns"]],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model batch scored d_vocab_out"]:
        """Logits at the scored positions alone."""
        residual = self.scored_residual(shared, prefixes, scored_positions)
        return self.unembedding(residual).unflatten(1, scored_positions.shape[1:])
