"""Replacements by role: planted activations that tell role and sequence come back in the right places."""

from __future__ import annotations

import pytest
import torch

from rtinterp.analysis.role_replacements import REPLACEMENTS, replacements, resampled_by_role

#: Sequences of the pool, and its roles: the last one once only.
N_POOL, POOL_ROLES = 50, torch.tensor([0, 1, 1, 2])


def planted() -> tuple[torch.Tensor, torch.Tensor]:
    """Activations [n pos 2] that say of which role, and of which sequence, they are."""
    roles = POOL_ROLES.expand(N_POOL, 4)
    sequences = torch.arange(N_POOL)[:, None].expand(N_POOL, 4)
    return torch.stack([roles.float(), sequences.float()], -1), roles


def test_what_is_drawn_is_of_the_same_role_and_of_any_sequence() -> None:
    pool, pool_roles = planted()
    roles = torch.randint(3, (200, 7), generator=torch.Generator().manual_seed(1))
    drawn = resampled_by_role(pool, pool_roles, roles, torch.Generator().manual_seed(0))
    assert torch.equal(drawn[..., 0], roles.float())
    counts = torch.bincount(drawn[..., 1].flatten().long(), minlength=N_POOL)
    expected = 1400 / N_POOL
    assert ((counts - expected).abs() < 5 * expected**0.5).all()
    again = resampled_by_role(pool, pool_roles, roles, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_means_are_those_of_the_role() -> None:
    pool, pool_roles = planted()
    roles = torch.tensor([[2, 0, 1]])
    found = dict(replacements(pool, pool_roles, roles, 3, torch.Generator().manual_seed(0)))
    assert tuple(found) == REPLACEMENTS
    torch.testing.assert_close(found["mean"], torch.tensor([[[2.0, 24.5], [0.0, 24.5], [1.0, 24.5]]]))
    assert torch.equal(found["zero"], torch.zeros(1, 3, 2))
    assert torch.equal(found["resample"][..., 0], roles.float())


def test_a_role_that_the_pool_lacks_is_refused() -> None:
    pool, pool_roles = planted()
    with pytest.raises(ValueError, match="no position of the pool has role 3"):
        resampled_by_role(pool, pool_roles, torch.tensor([[3]]), torch.Generator())
