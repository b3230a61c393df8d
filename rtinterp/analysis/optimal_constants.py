"""The constants that do least harm in the place of an activation: it says nothing of the sequence, and misleads least.

A model may be thrown off by zero, or by a mean that it never sees; then what is lost tells both that a part is missed
and that something misleading is in its place. In the place of a part whose output matters through its mean alone, a
constant for which the loss is least costs nothing (optimal ablation; Li and Janson 2024, arXiv 2409.09951). The
constants are learnt, one for each role of a position, so judge them on other sequences than they were learnt from.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.analysis.continuation import Continuation
from rtinterp.analysis.interventions import Where, replace_by_role
from rtinterp.analysis.predictions import nats

#: Of the loss and its gradient; on this package's models more make no difference to speak of.
N_EVALUATIONS = 20


# Callers of TransformerLens often switch gradients off for the whole process.
@torch.enable_grad()
def optimal_constants(
    rest: Continuation,
    roles: Callable[[Int64[Tensor, "batch pos"]], Int64[Tensor, "batch pos"]],
    start: Float[Tensor, "role ..."],
    where: Where = None,
    heads: tuple[int, ...] | None = None,
    n_evaluations: int = N_EVALUATIONS,
) -> Float[Tensor, "role ..."]:
    """Learn what to put in the place of an activation, by role, such that cross-entropy is least (L-BFGS).

    On the sequences that they are learnt from, the constants are no worse than those at the start. The same arguments
    give the same constants. Of a role that has no position, and of a head that stays, the constant stays as it is.
    ``replace_by_role`` puts them in.

    Args:
        rest: the model from the site on, on the sequences to learn from.
        roles: the role of every position, from 0; such as ``task.roles``.
        start: where the search begins, such as ``means_by_role`` of the site.
        where: the positions that change; all if not given.
        heads: the heads that change, where the site has an axis of them; all if not given.
        n_evaluations: of the loss and its gradient, after which the search ends; a search along a line that has begun
            takes some more.

    Raises:
        ValueError: fewer than one evaluation, or what ``intervene`` refuses.
    """
    if n_evaluations < 1:
        raise ValueError(f"n_evaluations is {n_evaluations}; pass at least 1")
    constants = start.to(rest.activations).detach().clone().requires_grad_()
    change = replace_by_role(rest.site, constants, roles, where, heads)

    def loss() -> Tensor:
        value = nats(rest.logits(change), rest.expected).mean()
        (constants.grad,) = torch.autograd.grad(value, [constants])
        return value.detach()

    search = torch.optim.LBFGS(
        [constants], max_iter=n_evaluations, max_eval=n_evaluations, line_search_fn="strong_wolfe"
    )
    search.step(loss)  # pyright: ignore[reportArgumentType]
    return constants.detach()
