"""Every parameter of a model: its TransformerLens name, its shape, how it starts and what it is a part of."""

from __future__ import annotations

import abc
import dataclasses
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from rtinterp.models.initial_values import Constant, InitialValue

TOKEN_EMBEDDING = "embed.W_E"
POSITIONAL_EMBEDDING = "pos_embed.W_pos"
UNEMBEDDING = "unembed.W_U"
UNEMBEDDING_BIAS = "unembed.b_U"
#: What lies around a body, and never in it.
EMBEDDINGS = (TOKEN_EMBEDDING, POSITIONAL_EMBEDDING, UNEMBEDDING, UNEMBEDDING_BIAS)

#: The component groups of a transformer, by the TransformerLens names of their tensors; a bias belongs to its matrix.
_GROUP_NAMES = {
    "token_embedding": r"embed\.W_E",
    "positional_embedding": r"pos_embed\.W_pos",
    "unembedding": r"unembed\.[Wb]_U",
    "qk": r"blocks\.\d+\.attn\.(?:[Wb]_[QKG]|mixing)",
    "ov": r"blocks\.\d+\.attn\.[Wb]_[VO]",
    "mlp": r"blocks\.\d+\.mlp\.[Wb]_(?:in|out|gate)",
    "norms": r"(?:blocks\.\d+\.ln[12]|ln_final)\.[wb]",
}
GROUPS = tuple(_GROUP_NAMES)
#: The groups of ``EMBEDDINGS``.
EMBEDDING_GROUPS = frozenset({"token_embedding", "positional_embedding", "unembedding"})


class ValueOfOthers(abc.ABC):
    """How a tensor starts that is a function of other initial tensors of the same seed.

    Attributes:
        others: the parameters that it is a function of; they start by an ``InitialValue``.
    """

    others: tuple[Parameter, ...]

    @abc.abstractmethod
    def values(
        self, shape: tuple[int, ...], others: Sequence[Float64[np.ndarray, ...]]
    ) -> Float64[np.ndarray, " value"]:
        """The values in their order, from the initial tensors of ``others``."""

    @abc.abstractmethod
    def root_mean_square(self, shape: tuple[int, ...]) -> float:
        """What the root of the mean square of the values is expected to be."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One named tensor of a model.

    Attributes:
        name: key in ``HookedTransformer.state_dict()``, or of that form where the body is another.
        initial: how it starts.
        group: the component group that it trains with: one of ``GROUPS``, or one of the body's own.
        decays: whether weight decay applies: to matrices and embeddings, not to biases and norms.
        trains: False for what no regime trains.
    """

    name: str
    shape: tuple[int, ...]
    initial: InitialValue | ValueOfOthers
    group: str
    decays: bool = False
    trains: bool = True


def group_of(name: str) -> str:
    """The component group of a tensor of a transformer, by its TransformerLens name.

    Raises:
        ValueError: no tensor of a transformer has that name.
    """
    for group, names in _GROUP_NAMES.items():
        if re.fullmatch(names, name):
            return group
    raise ValueError(f"no component group has a tensor called {name!r}; groups: {', '.join(GROUPS)}")


def matrix(name: str, shape: tuple[int, ...], initial: InitialValue, group: str | None = None) -> Parameter:
    """A parameter to which weight decay applies; its group is that of its TransformerLens name unless given."""
    return Parameter(name, shape, initial, group or group_of(name), decays=True)


def vector(
    name: str, shape: tuple[int, ...], initial: InitialValue | None = None, group: str | None = None
) -> Parameter:
    """A bias, zero unless an initial value is given, or a gain: no weight decay applies to it."""
    return Parameter(name, shape, initial or Constant(0.0), group or group_of(name))
