"""What stands at the sites of a model, which are hook points: where they are, activations there, and their means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


def residual_sites(model: HookedModel) -> tuple[str, ...]:
    """The hook points of the residual stream: the embedding, then after attention and after the MLP of every layer.

    Layers that have one part alone, such as Mamba's, have one after it. Of a recurrent model, the token embedding and
    the hidden states of every layer.
    """
    layers = range(model.cfg.n_layers)
    if "layers.0.hook_hidden" in model.hook_dict:
        return ("hook_embed", *(f"layers.{layer}.hook_hidden" for layer in layers))
    after = (f"blocks.{layer}.hook_resid_{part}" for layer in layers for part in ("mid", "post"))
    return tuple(site for site in ("blocks.0.hook_resid_pre", *after) if site in model.hook_dict)


@torch.no_grad()
def activations_at(
    model: HookedModel, tokens: Int64[Tensor, "batch pos"], site: str
) -> Float[Tensor, "batch pos *shape"]:
    """Compute the activations at one site, with the hooks that the model has.

    Raises:
        ValueError: the model has no such hook point, or it was not called.
    """
    return activations_at_sites(model, tokens, [site])[site]


@torch.no_grad()
def activations_at_sites(
    model: HookedModel, tokens: Int64[Tensor, "batch pos"], sites: Sequence[str]
) -> dict[str, Float[Tensor, "batch pos *shape"]]:
    """Compute the activations at several sites in one pass, which in a transformer ends after the last site's layer.

    Raises:
        ValueError: the model has no such hook point, or it was not called.
    """
    unknown = [site for site in sites if site not in model.hook_dict]
    if unknown:
        raise ValueError(f"the model has no hook point {unknown[0]!r}; model.hook_dict lists those it has")
    in_layers = all(site.startswith("blocks.") for site in sites)
    end = 1 + max(int(site.split(".")[1]) for site in sites) if sites and in_layers else None
    _, cache = model.run_with_cache(tokens, names_filter=list(sites), stop_at_layer=end)
    for site in sites:
        if site not in cache:
            raise ValueError(f"{site} was not called; some hook points are called only after model.set_use_...(True)")
    return {site: cache[site] for site in sites}


def means_by_role(
    activations: Float[Tensor, "batch pos *shape"], roles: Int64[Tensor, "batch pos"], n_roles: int
) -> Float[Tensor, "role ..."]:
    """Average activations over the positions of each role; zero for a role that nothing has.

    Raises:
        ValueError: roles of another shape, or outside 0 .. n_roles - 1.
    """
    if roles.shape != activations.shape[:2]:
        raise ValueError(f"roles have shape {list(roles.shape)}, the activations {list(activations.shape[:2])}")
    if not 0 <= int(roles.min()) <= int(roles.max()) < n_roles:
        raise ValueError(f"roles are {int(roles.min())} to {int(roles.max())}; with n_roles = {n_roles} they end below")
    flat, index = activations.flatten(0, 1), roles.flatten().to(activations.device)
    sums = flat.new_zeros(n_roles, *flat.shape[1:]).index_add_(0, index, flat)
    counts = torch.bincount(index, minlength=n_roles).clamp(min=1)
    return sums / counts.view(-1, *[1] * (flat.ndim - 1))
