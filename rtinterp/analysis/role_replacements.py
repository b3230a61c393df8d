"""What stands in the place of an activation, by the role of its position: nothing, a mean, or another sequence's.

How much a head or a position seems to matter hinges on what replaces it (Zhang and Nanda 2024, arXiv 2309.16042; Miller
et al. 2024, arXiv 2407.08734), so an effect is told beside what replaced. A mean, and what is drawn in the place of an
activation, come from positions of the same role: others hold different things.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.analysis.activations import means_by_role

#: What replaces, in the order of ``replacements``.
REPLACEMENTS = ("zero", "mean", "resample")


def replacements(
    pool: Float[Tensor, "n n_pos *shape"],
    pool_roles: Int64[Tensor, "n n_pos"],
    roles: Int64[Tensor, "batch pos"],
    n_roles: int,
    generator: torch.Generator,
) -> Iterator[tuple[str, Float[Tensor, "batch pos *shape"]]]:
    """Make what could stand in the place of a site's activations: zero, means by role, activations drawn by role.

    Args:
        pool: activations of other sequences at the site, such as ``activations_at`` gives.
        roles: those of the positions where something is replaced; from 0 to ``n_roles - 1``.

    Raises:
        ValueError: a role that no position of the pool has.
    """
    means = means_by_role(pool, pool_roles, n_roles)[roles]
    yield "zero", torch.zeros_like(means)
    yield "mean", means
    yield "resample", resampled_by_role(pool, pool_roles, roles, generator)


def resampled_by_role(
    pool: Float[Tensor, "n n_pos *shape"],
    pool_roles: Int64[Tensor, "n n_pos"],
    roles: Int64[Tensor, "batch pos"],
    generator: torch.Generator,
) -> Float[Tensor, "batch pos *shape"]:
    """Draw for every position, apart from the others, the activation of some position of the pool of the same role.

    Raises:
        ValueError: a role that no position of the pool has.
    """
    flat = pool.flatten(0, 1)
    drawn = flat.new_empty(*roles.shape, *flat.shape[1:])
    for role in roles.unique().tolist():
        of_role = (pool_roles.flatten() == role).nonzero()[:, 0]
        if not len(of_role):
            raise ValueError(f"no position of the pool has role {role}; draw a pool of more sequences")
        at = roles == role
        chosen = torch.randint(len(of_role), (int(at.sum()),), generator=generator)
        drawn[at] = flat[of_role[chosen.to(of_role.device)]]
    return drawn
