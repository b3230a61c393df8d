"""Which component groups train: the axis along which the paper's models differ (section 3, Table 2).

A regime is a set of component groups. Its canonical form is a string: an alias where one fits, and otherwise the names
of the groups, joined by "+" in the order of ``GROUPS``; groups that a body has of its own come last, sorted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Set
from typing import TypeAlias, TypeVar

from torch import nn

from rtinterp.models.parameters import GROUPS, TOKEN_EMBEDDING, UNEMBEDDING_BIAS, Parameter, group_of

#: A regime in its canonical form; "embeddings" makes a random transformer, "all" a fully trained one.
Trainable: TypeAlias = str

_FEWER: dict[str, frozenset[str]] = {
    "embeddings": frozenset({"token_embedding", "positional_embedding", "unembedding"}),
    "input_embeddings": frozenset({"token_embedding", "positional_embedding"}),
}
#: By alias: what it leaves out of all groups, those of the body's own included.
_ALL_BUT: dict[str, frozenset[str]] = {
    "all": frozenset(),
    "frozen_qk": frozenset({"qk"}),
    "frozen_mlp": frozenset({"mlp"}),
}

#: The regimes that experiments are made of, in canonical form.
TRAINABLE: tuple[Trainable, ...] = (
    "embeddings", "all", "unembedding", "input_embeddings", "token_embedding+unembedding", "frozen_qk", "frozen_mlp",
)  # fmt: skip

#: Where a model with hook points tells the groups of its tensors, by name.
COMPONENT_GROUPS = "component_groups"

Model = TypeVar("Model", bound=nn.Module)


def parse(trainable: str | Iterable[str], own_groups: Set[str] = frozenset()) -> frozenset[str]:
    """The component groups of a regime.

    Args:
        trainable: group names and aliases, joined by "+" or as a collection.
        own_groups: groups that the body has beside ``GROUPS``.

    Raises:
        ValueError: a name is neither a group nor an alias, or there is no name.
    """
    everything = own_groups | set(GROUPS)
    names = trainable.split("+") if isinstance(trainable, str) else list(trainable)
    groups: set[str] = set()
    for name in names:
        if name in everything:
            groups.add(name)
        elif name in _FEWER:
            groups |= _FEWER[name]
        elif name in _ALL_BUT:
            groups |= everything - _ALL_BUT[name]
        else:
            raise ValueError(_unknown(trainable, name, everything))
    if not groups:
        raise ValueError(f"trainable={trainable!r} names no component group, so nothing would train")
    return frozenset(groups)


def canonical(trainable: str | Iterable[str], own_groups: Set[str] = frozenset()) -> Trainable:
    """The one string that stands for a regime.

    Raises:
        ValueError: as ``parse``.
    """
    return _joined(parse(trainable, own_groups), own_groups)


def complement(trainable: str | Iterable[str], own_groups: Set[str] = frozenset()) -> Trainable:
    """The regime that trains what this one freezes, in canonical form.

    Raises:
        ValueError: as ``parse``, or the regime freezes nothing.
    """
    groups = (own_groups | set(GROUPS)) - parse(trainable, own_groups)
    if not groups:
        raise ValueError(f"trainable={trainable!r} trains everything, so its complement would train nothing")
    return _joined(groups, own_groups)


def trained_parameters(parameters: Iterable[Parameter], trainable: str | Iterable[str]) -> tuple[Parameter, ...]:
    """Those of a model's parameters that train under a regime.

    Raises:
        ValueError: as ``parse``.
    """
    parameters = tuple(parameters)
    groups = parse(trainable, {parameter.group for parameter in parameters}.difference(GROUPS))
    return tuple(parameter for parameter in parameters if parameter.trains and parameter.group in groups)


def freeze(model: Model, trainable: str | Iterable[str]) -> Model:
    """Leave ``requires_grad`` on for the parameters of ``trainable`` alone, in place; returns the model.

    The unembedding bias, which GPT-2 does not have, never trains in a HookedTransformer.

    Args:
        model: a model of ``build_model`` or ``Run.model``, or any module with the parameter names of a
            HookedTransformer.

    Raises:
        ValueError: there is no such regime, or the model does not have a HookedTransformer's parameters.
    """
    names = [name for name, _ in model.named_parameters()]
    if TOKEN_EMBEDDING not in names:
        raise ValueError(f"{type(model).__name__} has no parameter {TOKEN_EMBEDDING}; is it a HookedTransformer?")
    of_name: dict[str, str] | None = getattr(model, COMPONENT_GROUPS, None)
    if of_name is None:
        of_name = {name: group_of(name) for name in names if name != UNEMBEDDING_BIAS}
    groups = parse(trainable, set(of_name.values()).difference(GROUPS))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(of_name.get(name) in groups)
    return model


def _joined(groups: Set[str], own_groups: Set[str]) -> Trainable:
    everything = own_groups | set(GROUPS)
    aliases = {**_FEWER, **{alias: everything - left_out for alias, left_out in _ALL_BUT.items()}}
    for alias, of_alias in aliases.items():
        if groups == of_alias:
            return alias
    return "+".join(group for group in (*GROUPS, *sorted(own_groups)) if group in groups)


def _unknown(trainable: object, name: object, groups: Set[str]) -> str:
    known = [*TRAINABLE, *GROUPS, *sorted(groups - set(GROUPS))]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0) if isinstance(name, str) else []
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return (
        f"trainable={trainable!r}: there is no component group {name!r}{meant} Known groups: "
        f"{', '.join(known[len(TRAINABLE) :])}, joined by '+'; named sets: {', '.join(map(repr, TRAINABLE))}"
    )
