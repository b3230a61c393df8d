from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

from rtinterp.analysis import accuracy, scored_logits
from rtinterp.analysis.activations import activations_at, activations_at_sites, means_by_role, residual_sites
from rtinterp.analysis.interventions import (
    Intervention,
    interchange,
    intervene,
    project,
    remove,
    replace,
    replace_by_role,
)
from rtinterp.analysis.subspace_finding import random_subspace
from rtinterp.analysis.subspaces import Subspace
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

N, N_POS = 6, 9
D_MODEL = 32


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randint(11, (N, N_POS), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def others() -> torch.Tensor:
    return torch.randint(11, (N, N_POS), generator=torch.Generator().manual_seed(1))


def whole_space() -> Subspace:
    return random_subspace(D_MODEL, torch.ones(D_MODEL), torch.Generator().manual_seed(0))


def last(tokens: torch.Tensor) -> torch.Tensor:
    return (torch.arange(tokens.shape[1]) == tokens.shape[1] - 1).expand_as(tokens)


SITES = [
    "blocks.0.hook_resid_pre",
    *(f"blocks.{layer}.hook_resid_{part}" for layer in (0, 1) for part in ("mid", "post")),
]


def test_residual_sites_are_in_the_order_of_the_forward_pass(sharp_model: HookedModel, tokens: torch.Tensor) -> None:
    seen: list[str | None] = []
    hooks = [(site, lambda _, hook: seen.append(hook.name)) for site in reversed(residual_sites(sharp_model))]
    with torch.no_grad():
        sharp_model.run_with_hooks(tokens, fwd_hooks=hooks)
    assert seen == list(residual_sites(sharp_model)) == SITES


def test_activations_at_sites_are_those_of_the_whole_pass(sharp_model: HookedModel, tokens: torch.Tensor) -> None:
    _, cache = sharp_model.run_with_cache(tokens)
    names = ["blocks.0.attn.hook_z", "blocks.1.hook_mlp_out", *residual_sites(sharp_model)]
    for name, found in activations_at_sites(sharp_model, tokens, names).items():
        assert torch.equal(found, cache[name])
    for name in ("blocks.0.hook_resid_mid", "hook_embed", "ln_final.hook_normalized"):
        assert torch.equal(activations_at(sharp_model, tokens, name), cache[name])


@pytest.mark.parametrize("site", SITES)
def test_clean_into_clean_and_the_whole_space_change_nothing(
    sharp_model: HookedModel, tokens: torch.Tensor, site: str
) -> None:
    with torch.no_grad():
        clean = sharp_model(tokens)
        for same in (
            project(site, whole_space()),
            remove(site, whole_space().first(0)),
            interchange(site, whole_space().first(3), activations_at(sharp_model, tokens, site)),
            replace(site, activations_at(sharp_model, tokens, site)),
            replace(site, 0.0, where=lambda tokens: torch.zeros_like(tokens, dtype=torch.bool)),
        ):
            with intervene(sharp_model, same):
                torch.testing.assert_close(sharp_model(tokens), clean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("site", SITES)
def test_a_whole_interchange_makes_the_other_batch(
    sharp_model: HookedModel, tokens: torch.Tensor, others: torch.Tensor, site: str
) -> None:
    with torch.no_grad():
        sources = activations_at(sharp_model, others, site)
        for full in (interchange(site, whole_space(), sources), replace(site, sources)):
            with intervene(sharp_model, full):
                mixed = sharp_model(tokens)
            torch.testing.assert_close(mixed, sharp_model(others), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("site", SITES)
def test_only_chosen_positions_change_and_those_after_them(
    sharp_model: HookedModel, tokens: torch.Tensor, site: str
) -> None:
    where = torch.zeros(N, N_POS, dtype=torch.bool)
    where[:, 4] = True
    with torch.no_grad():
        before = activations_at(sharp_model, tokens, site)
        with intervene(sharp_model, remove(site, whole_space().first(8), where)):
            after = activations_at(sharp_model, tokens, site)
            logits = sharp_model(tokens)
        changed = (after - before).abs().amax(-1) > 1e-6
        assert torch.equal(changed, where)
        torch.testing.assert_close(logits[:, :4], sharp_model(tokens)[:, :4])
        assert (logits[:, 4] - sharp_model(tokens)[:, 4]).abs().max() > 1e-2


def test_interventions_at_one_site_follow_each_other(sharp_model: HookedModel, tokens: torch.Tensor) -> None:
    site = SITES[2]
    subspace = whole_space().first(5)
    with torch.no_grad(), intervene(sharp_model, remove(site, subspace), replace(site, 7.0, where=last)):
        changed = activations_at(sharp_model, tokens, site)
    assert (changed[:, -1] == 7).all()
    torch.testing.assert_close(subspace.coordinates(changed[:, :-1]), torch.zeros(N, N_POS - 1, 5), atol=1e-4, rtol=0)


def test_heads_are_replaced_alone(sharp_model: HookedModel, tokens: torch.Tensor) -> None:
    site = "blocks.0.attn.hook_z"
    with torch.no_grad():
        before = activations_at(sharp_model, tokens, site)
        with intervene(sharp_model, replace(site, 0.0, where=last, heads=(1, 3))):
            after = activations_at(sharp_model, tokens, site)
    expected = before.clone()
    expected[:, -1, [1, 3]] = 0
    assert torch.equal(after, expected)


def test_means_are_taken_by_role_and_put_back_by_role(sharp_model: HookedModel, tokens: torch.Tensor) -> None:
    def roles(tokens: torch.Tensor) -> torch.Tensor:
        return tokens % 3

    site = SITES[1]
    with torch.no_grad():
        before = activations_at(sharp_model, tokens, site)
        means = means_by_role(before, roles(tokens), n_roles=4)
        with intervene(sharp_model, replace_by_role(site, means, roles)):
            after = activations_at(sharp_model, tokens, site)
    for role in range(3):
        of_role = roles(tokens) == role
        torch.testing.assert_close(after[of_role], before[of_role].mean(0).expand(int(of_role.sum()), -1))
    assert (means[3] == 0).all()


def test_a_batch_in_slices_is_changed_as_a_whole_one(
    sharp_model: HookedModel, tokens: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch(tokens, last(tokens).roll(-1, 1))
    with intervene(sharp_model, replace(SITES[0], 1.0, where=lambda tokens: tokens > 5)):
        whole = scored_logits(sharp_model, batch)
        monkeypatch.setattr("rtinterp.analysis.predictions.ACTIVATIONS_PER_PASS", 1)
        torch.testing.assert_close(scored_logits(sharp_model, batch), whole)


def test_the_model_is_as_before_even_after_an_exception(sharp_model: HookedModel, tokens: torch.Tensor) -> None:
    seen: list[str | None] = []
    sharp_model.add_hook(SITES[1], lambda _, hook: seen.append(hook.name))
    try:
        with torch.no_grad():
            clean = sharp_model(tokens)
            with pytest.raises(KeyboardInterrupt), intervene(sharp_model, replace(SITES[0], 0.0)):
                raise KeyboardInterrupt
            assert torch.equal(sharp_model(tokens), clean)
        assert seen == [SITES[1]] * 2, "hooks of others stay"
        assert not sharp_model.embed._forward_pre_hooks
    finally:
        sharp_model.reset_hooks()


def _run(*interventions: Intervention) -> Callable[[HookedModel, torch.Tensor], object]:
    def run(model: HookedModel, tokens: torch.Tensor) -> object:
        with torch.no_grad(), intervene(model, *interventions):
            return model(tokens)

    return run


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (_run(replace("blocks.0.hook_resid_end", 0.0)), "no hook point 'blocks.0.hook_resid_end'"),
        (_run(replace("hook_resid_mid", 0.0)), "such as: blocks.0.hook_resid_mid"),
        (_run(replace(SITES[0], torch.zeros(4, N_POS, D_MODEL))), "pass what is of the batch that runs"),
        (_run(interchange(SITES[0], whole_space(), torch.zeros(N, 3, D_MODEL))), "the same sequences"),
        (_run(replace(SITES[0], 0.0, where=torch.ones(N, 3, dtype=torch.bool))), "pass a function of the tokens"),
        (_run(replace(SITES[0], 0.0, where=torch.ones(N, N_POS))), "truth values"),
        (_run(replace(SITES[0], 0.0, heads=(0,))), r"choose a site \[batch pos head d_head\]"),
        (_run(replace("blocks.0.attn.hook_z", 0.0, heads=(9,))), "heads that it has"),
        (lambda model, tokens: activations_at(model, tokens, "blocks.0.attn.hook_result"), "was not called"),
        (lambda model, tokens: means_by_role(torch.zeros(2, 3, 4), torch.zeros(2, 2).long(), 1), "roles have shape"),
        (lambda model, tokens: means_by_role(torch.zeros(2, 3, 4), torch.ones(2, 3).long(), 1), "roles are 1 to 1"),
    ],
    ids=["site", "near", "values", "sources", "positions", "truth", "no heads", "head", "uncalled", "roles", "role"],
)
def test_what_does_not_fit_is_refused(
    sharp_model: HookedModel, tokens: torch.Tensor, run: Callable[..., object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(sharp_model, tokens)


def test_accuracy_under_an_intervention_is_that_of_a_model_changed_by_hand(
    sharp_model: HookedModel, tokens: torch.Tensor
) -> None:
    batch = Batch(tokens, last(tokens).roll(-1, 1))
    with intervene(sharp_model, replace("hook_pos_embed", 0.0)):
        found = accuracy(sharp_model, batch)
    changed = copy.deepcopy(sharp_model)
    changed.load_state_dict({"pos_embed.W_pos": torch.zeros(12, D_MODEL)}, strict=False)
    assert accuracy(changed, batch) == found
