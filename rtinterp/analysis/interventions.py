"""Interventions: what a model would have said, had an activation been another.

An ``Intervention`` changes the activation at one site, a hook point of the model, at chosen positions. A context
manager puts some in place, and takes them away at its end, whatever happens in it::

    subspace = principal_subspace(covariance, mean).first(20)
    with intervene(model, project("blocks.0.hook_resid_post", subspace)):
        accuracy(model, task.test_set())

Where is a mask [batch pos], or a function from tokens to one, which also fits batches that run in slices, such as those
of ``accuracy``: ``where=lambda tokens: task.roles(tokens) == VALUE``. What depends on the sequence, such as the sources
of an interchange, must be of the batch that runs.

Sites of the residual stream, in the order of the forward pass, are ``residual_sites``. Any other hook point whose
activation has the shape [batch pos ... d] is a site too: ``"blocks.1.attn.hook_z"`` with ``heads``. So are attention
scores and patterns [batch head query_pos key_pos], of which positions are those of queries.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.analysis.selection import Where, check_selection, known, selected
from rtinterp.analysis.subspaces import Subspace

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Makes the new activation of the old one and the tokens that the model reads, which are None where they are not known.
Edit: TypeAlias = "Callable[[Float[Tensor, 'batch pos *shape'], Any], Float[Tensor, '...']]"


@dataclasses.dataclass(frozen=True, eq=False)
class Intervention:
    """A change of the activation at one site.

    Attributes:
        site: the name of a hook point.
        edit: called with the activation [batch pos ...] and the tokens [batch pos], None where the model starts at a
            layer; what it returns broadcasts to the activation. It must not write into the activation.
        where: the positions that change; None for all.
        heads: the heads that change, where the site has an axis of them: [batch pos head d_head], or attention scores
            and patterns; None for all.

    Raises:
        ValueError: where or heads are of another type.
    """

    site: str
    edit: Edit
    where: Where = None
    heads: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_selection(self.where, self.heads)


@contextlib.contextmanager
def intervene(model: HookedModel, *interventions: Intervention) -> Iterator[HookedModel]:
    """Let a model run with interventions, one after the other where they share a site; other hooks stay.

    At the end, and after an exception, the model is as it was before.

    Raises:
        ValueError: the model has no such hook point; during a run: a mask, heads or an edited activation that do not
            fit, or a model that starts at a layer where tokens are needed.
    """
    for intervention in interventions:
        if intervention.site not in model.hook_dict:
            near = [name for name in model.hook_dict if name.endswith(intervention.site.rsplit(".", 1)[-1])]
            raise ValueError(
                f"the model has no hook point {intervention.site!r}; "
                + (f"such as: {', '.join(near[:4])}" if near else "model.hook_dict lists those it has")
            )
    read: list[Int64[Tensor, "batch pos"]] = []

    def remember(_: object, arguments: tuple[Tensor, ...]) -> None:
        read[:] = arguments[:1]

    def forget(*_: object) -> None:
        read.clear()

    # What is read counts for one pass: the next may start at a layer, on other sequences.
    handles = [
        model.embed.register_forward_pre_hook(remember),
        model.register_forward_hook(forget, always_call=True),
    ]
    hooks: list[Any] = [(one.site, _hook(one, read)) for one in interventions]
    try:
        with model.hooks(fwd_hooks=hooks):
            yield model
    finally:
        for handle in handles:
            handle.remove()


def project(site: str, subspace: Subspace, where: Where = None) -> Intervention:
    """Keep of an activation what lies in a subspace, and put the centre in the place of the rest: is it sufficient?"""
    return Intervention(site, lambda h, _: subspace.to(h).project(h), where)


def remove(site: str, subspace: Subspace, where: Where = None) -> Intervention:
    """Put the centre in the place of what lies in a subspace: is it necessary?"""
    return Intervention(site, lambda h, _: subspace.to(h).remove(h), where)


def interchange(
    site: str, subspace: Subspace, sources: Float[Tensor, "batch pos d_model"], where: Where = None
) -> Intervention:
    """Put what lies in a subspace of the activations of another batch, position by position, in place of the own.

    Args:
        sources: activations at the site, such as ``activations_at(model, other_tokens, site)``; of as many sequences
            as run, and at least as many positions.
    """
    return Intervention(site, lambda h, _: subspace.to(h).interchange(h, _fitting(sources, h)), where)


def replace(
    site: str, values: Float[Tensor, "*batch d"] | float, where: Where = None, heads: tuple[int, ...] | None = None
) -> Intervention:
    """Put given values in the place of activations: zero, a mean, activations of another batch, an optimal constant.

    Args:
        values: a number, a vector for every position, or anything else that broadcasts to the activation. Activations
            [batch pos ...] of as many sequences may have more positions than run: ``accuracy`` and the like run no
            further than the last scored one.
    """
    return Intervention(site, lambda h, _: _cut(torch.as_tensor(values), h).to(h), where, heads)


def replace_by_role(
    site: str,
    values: Float[Tensor, "role ..."],
    roles: Callable[[Int64[Tensor, "batch pos"]], Int64[Tensor, "batch pos"]],
    where: Where = None,
    heads: tuple[int, ...] | None = None,
) -> Intervention:
    """Put in the place of an activation the value of the role that its position has.

    Args:
        values: one for each role, such as ``means_by_role`` of the site.
        roles: the role of every position, from 0; such as ``task.roles``.
    """
    return Intervention(site, lambda h, tokens: values.to(h)[roles(known(tokens)).to(h.device)], where, heads)


def changed(
    intervention: Intervention,
    activation: Float[Tensor, "batch pos *shape"],
    tokens: Int64[Tensor, "batch pos"] | None,
) -> Float[Tensor, "batch pos *shape"]:
    """Compute what an intervention makes of an activation.

    Raises:
        ValueError: a mask, heads or an edited activation that do not fit, or no tokens where they are needed.
    """
    edited = intervention.edit(activation, tokens)
    try:
        edited = edited.expand_as(activation)
    except RuntimeError:
        raise ValueError(
            f"{intervention.site} has activations of shape {list(activation.shape)}, and the edit made "
            f"{list(edited.shape)}: pass what is of the batch that runs"
        ) from None
    chosen = selected(intervention.site, activation, tokens, intervention.where, intervention.heads)
    return edited if chosen is None else torch.where(chosen, edited, activation)


def _hook(intervention: Intervention, read: list[Int64[Tensor, "batch pos"]]) -> Callable[..., Tensor]:
    def change(activation: Tensor, hook: object) -> Tensor:
        return changed(intervention, activation, read[0] if read else None)

    return change


def _cut(values: Tensor, activation: Tensor) -> Tensor:
    """Without the positions that do not run, if values are of the very sequences that run."""
    of_all = values.ndim == activation.ndim > 2 and len(values) == len(activation)
    return values[:, : activation.shape[1]] if of_all and values.shape[2:] == activation.shape[2:] else values


def _fitting(sources: Tensor, activation: Tensor) -> Tensor:
    """The sources of the positions that run."""
    if len(sources) != len(activation) or sources.shape[1] < activation.shape[1]:
        raise ValueError(
            f"sources are of shape {list(sources.shape)}, what runs of {list(activation.shape)}: an interchange needs "
            "the same sequences, so pass as many as run at once"
        )
    return sources[:, : activation.shape[1]].to(activation)
