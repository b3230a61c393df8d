"""What lies between the embeddings of a model: all that the rest of the package asks of a kind of body."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from rtinterp.models.initialisation import initialise
from rtinterp.models.parameters import EMBEDDINGS, Parameter
from rtinterp.models.products import BatchSize, Stage
from rtinterp.models.stacked import Embeddings, StackedBody, StackedModel
from rtinterp.tasks import Task

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


#: Every layer has parameters, which are listed one by one.
MAX_LAYERS = 1000


class Body(abc.ABC):
    """A kind of body with its sizes. Subclasses are ``strict`` dataclasses; ``register_body`` makes one known.

    A body is a function of its fields and the seed. It reads the sum of the embeddings and writes what the unembedding
    reads; their tensors are among its parameters, under the names in ``rtinterp.models.parameters``.

    Attributes:
        name: stands in stored specs.
        own_groups: component groups that its parameters have beside ``rtinterp.models.parameters.GROUPS``.
        d_model: width of what it reads and writes.
    """

    name: ClassVar[str]
    own_groups: ClassVar[frozenset[str]] = frozenset()

    d_model: int
    n_layers: int

    @property
    def label(self) -> str:
        """What to call it in a table."""
        return self.name

    @abc.abstractmethod
    def parameters(self, d_vocab: int, n_ctx: int, d_vocab_out: int | None = None) -> tuple[Parameter, ...]:
        """Every parameter of the model, the embeddings first.

        Args:
            d_vocab: rows of the token embedding, or the length of the real-valued vectors that it maps.
            n_ctx: rows of the positional embedding, if there is one.
            d_vocab_out: columns of the unembedding; ``d_vocab`` if None.
        """

    @abc.abstractmethod
    def stack(
        self,
        tensors: Mapping[str, Float[Tensor, "model ..."]],
        frozen: Set[str] = frozenset(),
        dtype: torch.dtype = torch.float32,
    ) -> StackedBody:
        """Lay out the stacked tensors of M models, by name, for the forward pass; differentiable.

        Args:
            tensors: every parameter; those in ``rtinterp.models.parameters.EMBEDDINGS`` are not to be read.
            frozen: names that will never change.
            dtype: of the body's matrix products.
        """

    @abc.abstractmethod
    def hooked(self, task: Task, tensors: Mapping[str, Float32[Tensor, ...]], device: str) -> HookedModel:
        """A model with hook points and exactly these tensors, by name; what it needs for that, it imports itself.

        Raises:
            ValueError: the tensors are not those of the model.
        """

    @property
    @abc.abstractmethod
    def widest_row(self) -> int:
        """Elements of the widest activation of a distinct prefix."""

    @abc.abstractmethod
    def widest_place(self, sequence_length: int) -> int:
        """Elements of the widest activation of a position in a sequence."""

    def check_can_read(self, task: Task) -> None:  # noqa: B027  (most bodies read all sequences)
        """Raise ValueError if the body cannot read sequences as long as the task's; by default it can."""

    def products(self, size: BatchSize) -> tuple[Stage, ...]:
        """The matrix products of a forward pass in order; every matrix once for each place if not said otherwise."""
        return tuple(
            Stage({parameter.group: size.n_places * math.prod(parameter.shape)})
            for parameter in self.parameters(1, 1)
            if parameter.decays and parameter.name not in EMBEDDINGS
        )

    def gpt2_config(self) -> dict[str, object] | None:
        """Its part of Hugging Face's ``GPT2Config``; None if GPT-2 does not have this body."""
        return None

    def initial_tensors(
        self, d_vocab: int, n_ctx: int, seed: int, d_vocab_out: int | None = None
    ) -> dict[str, Float32[Tensor, ...]]:
        """Every parameter of the model at its initial value, on the CPU, by name."""
        return initialise(self.parameters(d_vocab, n_ctx, d_vocab_out), seed)

    def stack_model(
        self,
        tensors: Mapping[str, Float[Tensor, "model ..."]],
        frozen: Set[str] = frozenset(),
        dtype: torch.dtype = torch.float32,
    ) -> StackedModel:
        """The forward pass of M models from their stacked tensors; as ``stack``, with the embeddings around it."""
        return StackedModel(Embeddings.of(tensors, frozen), self.stack(tensors, frozen, dtype))


def check_can_be_listed(body: Body) -> Body:
    """Raise ValueError if the body has more layers than its parameters can be listed of."""
    if body.n_layers > MAX_LAYERS:
        raise ValueError(f"n_layers={body.n_layers} is more than a model may have: {MAX_LAYERS}")
    return body
