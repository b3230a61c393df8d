"""What trains in place of a model's tensors: leaves, of which the effective tensors are a function.

With ``LowRank(2, ("embed.W_E",))``, a token embedding ``embed.W_E`` of shape [d_vocab d_model] is the product of the
leaves ``low_rank.embed.W_E.A`` [d_vocab 2] and ``low_rank.embed.W_E.B`` [2 d_model]. The optimiser, weight decay,
clipping, checkpoints and the store know the leaves alone; the model knows the effective tensors alone.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import BeforeValidator, Field
from torch import Tensor

from rtinterp.models.initial_values import InitialValue, Normal, Orthonormal
from rtinterp.models.parameters import (
    POSITIONAL_EMBEDDING,
    TOKEN_EMBEDDING,
    UNEMBEDDING,
    Parameter,
    ValueOfOthers,
    matrix,
)
from rtinterp.models.reading_directions import reading_directions
from rtinterp.registry import Registry
from rtinterp.strict import strict


def _sorted(names: object) -> object:
    """The order makes no difference, so there is one; JSON has lists."""
    return tuple(sorted(set(names), key=str)) if isinstance(names, list | tuple | set | frozenset) else names


TensorNames = Annotated[tuple[str, ...], BeforeValidator(_sorted), Field(min_length=1)]


class Parametrisation(abc.ABC):
    """How some tensors of a model are made of leaves. Subclasses are ``strict`` dataclasses.

    The names of leaves and of fixed tensors begin with the parametrisation's own, and a dot.

    Attributes:
        name: stands in stored specs.
        tensors: names of the tensors that are made of leaves; the others train as they are.
    """

    name: ClassVar[str]
    tensors: TensorNames

    @abc.abstractmethod
    def leaves(self, parameter: Parameter) -> tuple[Parameter, ...]:
        """What trains in place of one tensor, such that the tensor starts with the standard deviation it has without.

        Raises:
            ValueError: the tensor cannot be made in this way, and why.
        """

    def fixed(self, parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
        """Tensors drawn from the seed that never train, on which the effective tensors depend; none by default."""
        return ()

    @abc.abstractmethod
    def effective(self, name: str, held: Mapping[str, Float[Tensor, ...]]) -> Float[Tensor, ...]:
        """One effective tensor from leaves and fixed tensors, differentiable; leading axes, as of models, stay."""

    def parameters(self, parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
        """All that training holds: a model's parameters with leaves in place of ``tensors``, and the fixed ones.

        Raises:
            ValueError: one of ``tensors`` is not among the parameters, or cannot be made of leaves.
        """
        parameters = tuple(parameters)
        unknown = set(self.tensors).difference(parameter.name for parameter in parameters)
        if unknown:
            raise ValueError(
                f"the model has no {', '.join(sorted(unknown))} that {self.name} could make; pass tensors="
            )
        made = [self.leaves(p) if p.name in self.tensors else (p,) for p in parameters]
        return (*(leaf for leaves in made for leaf in leaves), *self.fixed(parameters))

    def tensors_of(self, held: Mapping[str, Float[Tensor, ...]]) -> dict[str, Float[Tensor, ...]]:
        """The model's tensors from all that training holds: a pure, differentiable function."""
        plain = {name: tensor for name, tensor in held.items() if not name.startswith(f"{self.name}.")}
        return plain | {name: self.effective(name, held) for name in self.tensors}


@strict
class LowRank(Parametrisation):
    """W = A B of rank at most ``rank``.

    Attributes:
        tensors: names of matrices.

    Raises:
        ValueError: a value is out of range.
    """

    name: ClassVar[str] = "low_rank"

    rank: Annotated[int, Field(ge=1)]
    tensors: TensorNames = (TOKEN_EMBEDDING, POSITIONAL_EMBEDDING, UNEMBEDDING)

    def leaves(self, parameter: Parameter) -> tuple[Parameter, ...]:
        """A and B, which start equally large: the variance of W is ``rank`` times the product of theirs."""
        if len(parameter.shape) != 2:
            raise ValueError(f"{parameter.name} of shape {list(parameter.shape)} is not a matrix, so it has no rank")
        (n_rows, n_columns), most = parameter.shape, min(parameter.shape)
        if self.rank > most:
            raise ValueError(f"rank={self.rank} is more than {parameter.name} [{n_rows} {n_columns}] can have: {most}")
        scale = parameter.initial.root_mean_square(parameter.shape)
        if not scale:
            raise ValueError(f"{parameter.name} starts at zero, and factors that are zero never move")
        initial = Normal(math.sqrt(scale / math.sqrt(self.rank)))
        return (
            matrix(f"{self.name}.{parameter.name}.A", (n_rows, self.rank), initial, parameter.group),
            matrix(f"{self.name}.{parameter.name}.B", (self.rank, n_columns), initial, parameter.group),
        )

    def effective(self, name: str, held: Mapping[str, Float[Tensor, ...]]) -> Float[Tensor, ...]:
        return held[f"{self.name}.{name}.A"] @ held[f"{self.name}.{name}.B"]


class _Subspace(Parametrisation):
    """The d_model axis of W lies in the span of fixed orthonormal directions; what trains are the coordinates.

    Attributes:
        dimension: number of directions.
    """

    dimension: int

    @abc.abstractmethod
    def directions(self, parameters: Sequence[Parameter]) -> InitialValue | ValueOfOthers:
        """How the directions ``[dimension d_model]`` are found, from the parameters of the model."""

    def leaves(self, parameter: Parameter) -> tuple[Parameter, ...]:
        """The coordinates, which start larger than the tensor as they are fewer than d_model."""
        d_model, others = self._d_model(parameter), math.prod(parameter.shape) // self._d_model(parameter)
        if self.dimension > d_model:
            raise ValueError(f"dimension={self.dimension} is more than d_model={d_model}, which {parameter.name} has")
        std = parameter.initial.root_mean_square(parameter.shape) * math.sqrt(d_model / self.dimension)
        shape = (self.dimension, others) if parameter.name == UNEMBEDDING else (others, self.dimension)
        return (matrix(f"{self.name}.{parameter.name}", shape, Normal(std), parameter.group),)

    def fixed(self, parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
        embedding = next(parameter for parameter in parameters if parameter.name == self.tensors[0])
        shape = (self.dimension, self._d_model(embedding))
        initial = self.directions(parameters)
        return (Parameter(f"{self.name}.directions", shape, initial, embedding.group, trains=False),)

    def effective(self, name: str, held: Mapping[str, Float[Tensor, ...]]) -> Float[Tensor, ...]:
        coordinates, directions = held[f"{self.name}.{name}"], held[f"{self.name}.directions"]
        return directions.mT @ coordinates if name == UNEMBEDDING else coordinates @ directions

    def _d_model(self, parameter: Parameter) -> int:
        if parameter.name == UNEMBEDDING:
            return parameter.shape[0]
        if parameter.name in (TOKEN_EMBEDDING, POSITIONAL_EMBEDDING):
            return parameter.shape[1]
        raise ValueError(f"{parameter.name} is not an embedding, so it has no one axis of d_model for {self.name}")


@strict
class RandomSubspace(_Subspace):
    """The d_model axis of W lies in the span of fixed random orthonormal directions; what trains are the coordinates.

    The directions are drawn from the seed, and are the same for all of ``tensors``.

    Attributes:
        dimension: number of directions.
        tensors: names of embeddings.

    Raises:
        ValueError: a value is out of range.
    """

    name: ClassVar[str] = "random_subspace"

    dimension: Annotated[int, Field(ge=1)]
    tensors: TensorNames = (TOKEN_EMBEDDING, POSITIONAL_EMBEDDING, UNEMBEDDING)

    def directions(self, parameters: Sequence[Parameter]) -> InitialValue:
        return Orthonormal()


@strict
class ReadSubspace(_Subspace):
    """The d_model axis of W lies in the span of the directions that the body reads most, or least.

    These are right-singular vectors of all the matrices that read the residual stream, at their initial values, which
    in a random transformer they keep; ``rtinterp.models.reading_directions`` has them. They are a function of the body
    and the seed, and the same for all of ``tensors``.

    Attributes:
        dimension: number of directions.
        end: ``"most"`` for the largest singular values, ``"least"`` for the smallest.
        tensors: names of embeddings.

    Raises:
        ValueError: a value is out of range, or nothing of the body is known to read its residual stream.
    """

    name: ClassVar[str] = "read_subspace"

    dimension: Annotated[int, Field(ge=1)]
    end: Literal["most", "least"] = "most"
    tensors: TensorNames = (TOKEN_EMBEDDING, POSITIONAL_EMBEDDING, UNEMBEDDING)

    def directions(self, parameters: Sequence[Parameter]) -> ValueOfOthers:
        return reading_directions(parameters, most=self.end == "most")


PARAMETRISATIONS: Registry[Parametrisation] = Registry("parametrisation", Parametrisation, "rtinterp.parametrisations")
register_parametrisation = PARAMETRISATIONS.register
register_parametrisation(LowRank)
register_parametrisation(RandomSubspace)
register_parametrisation(ReadSubspace)
