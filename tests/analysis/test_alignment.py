from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch

from rtinterp.analysis.activations import activations_at
from rtinterp.analysis.alignment import interchange_accuracies, interchange_accuracy, learned_subspace, pairs_at
from rtinterp.analysis.interventions import interchange, intervene, replace
from rtinterp.analysis.predictions import accuracy
from rtinterp.analysis.subspace_finding import random_subspace
from rtinterp.analysis.subspaces import Subspace, expected_overlap, overlap
from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch, ModularAddition, NeedleInAHaystack

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

SITE, D_MODEL, N_VALUES = "blocks.1.hook_resid_post", 32, 4


@dataclasses.dataclass(frozen=True)
class Pairs:
    base: Batch
    sources: torch.Tensor


@pytest.fixture(scope="module")
def planted() -> Subspace:
    return random_subspace(N_VALUES, torch.zeros(D_MODEL), torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def model(planted: Subspace) -> HookedModel:
    """A model whose answer lies in the planted subspace: the unembedding reads that, and the embedding writes it there.

    The blocks add little at this width, and the noise of the embedding lies outside.
    """
    model = build_model(ModularAddition(p=11), ModelSpec(D_MODEL), seed=0)
    noise = planted.remove(torch.randn(11, D_MODEL, generator=torch.Generator().manual_seed(4)))
    answers = torch.arange(11) % N_VALUES
    W_U = torch.zeros(D_MODEL, 11)
    W_U[:, :N_VALUES] = 9 * planted.directions.T
    model.load_state_dict({"embed.W_E": noise + 3 * planted.directions[answers], "unembed.W_U": W_U}, strict=False)
    return model


def pairs(n: int, seed: int) -> Pairs:
    """One token each; the base is to say what the source's token calls for."""
    tokens, sources = torch.randint(11, (2, n, 1), generator=torch.Generator().manual_seed(seed))
    return Pairs(Batch(tokens, torch.ones(n, 1, dtype=torch.bool), sources % N_VALUES), sources)


def test_the_planted_subspace_holds_the_answer_and_the_rest_does_not(model: HookedModel, planted: Subspace) -> None:
    test = pairs(300, seed=1)
    assert interchange_accuracy(model, test, SITE, planted) == 1
    rest = random_subspace(D_MODEL, planted.centre, torch.Generator().manual_seed(5))
    outside = Subspace(torch.linalg.svd(planted.remove(rest.directions))[2][: D_MODEL - N_VALUES], planted.centre)
    unchanged = (test.base.tokens % N_VALUES == test.base.targets).double().mean().item()
    assert interchange_accuracy(model, test, SITE, outside) == pytest.approx(unchanged)


def test_the_search_finds_the_planted_subspace(model: HookedModel, planted: Subspace) -> None:
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    random_state = torch.get_rng_state()
    # Differences between answers span one direction less than there are answers.
    found = learned_subspace(model, pairs(400, seed=2), SITE, N_VALUES - 1, torch.Generator().manual_seed(0))
    assert interchange_accuracy(model, pairs(300, seed=1), SITE, found) > 0.98
    # With eleven tokens the noise outside tells answers apart, too, and the search may use it.
    assert overlap(found, planted) > 0.7 > 4 * expected_overlap(N_VALUES - 1, N_VALUES, D_MODEL)
    again = learned_subspace(model, pairs(400, seed=2), SITE, N_VALUES - 1, torch.Generator().manual_seed(0))
    assert torch.equal(found.directions, again.directions)
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_pairs_that_were_run_up_to_a_site_are_not_run_again(
    model: HookedModel, planted: Subspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_it, some = "blocks.0.hook_resid_post", pairs(300, seed=1)
    ready = pairs_at(model, some, [before_it, SITE])
    expected = interchange_accuracies(model, some, SITE, [planted, planted.first(2)])
    search = learned_subspace(model, some, SITE, 2, torch.Generator().manual_seed(0), n_steps=3)
    passes: list[str] = []
    forward = type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda *args, **more: (passes.append(""), forward(*args, **more))[1])
    assert interchange_accuracies(model, ready[SITE], SITE, [planted, planted.first(2)]) == expected
    again = learned_subspace(model, ready[SITE], SITE, 2, torch.Generator().manual_seed(0), n_steps=3)
    assert torch.equal(again.directions, search.directions)
    assert not passes
    # Those of another site are not mistaken for it.
    assert interchange_accuracies(model, ready[before_it], SITE, [planted, planted.first(2)]) == expected
    assert passes


def test_pairs_run_one_at_a_time_unless_somebody_s_hooks_may_expect_them_together(
    model: HookedModel, planted: Subspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    some, n_seen = pairs(5, seed=7), []
    together = pairs_at(model, some, [SITE])[SITE]
    monkeypatch.setattr("rtinterp.analysis.alignment.ACTIVATIONS_PER_SLICE", 1)
    handle = model.embed.register_forward_pre_hook(lambda _, arguments: n_seen.append(len(arguments[0])))
    torch.testing.assert_close(pairs_at(model, some, [SITE])[SITE].h, together.h)
    with intervene(model, replace("blocks.0.hook_resid_pre", 0.0)):
        pairs_at(model, some, [SITE])
    handle.remove()
    assert n_seen == [1] * 10 + [5] * 2


def test_nothing_is_found_for_shuffled_answers(model: HookedModel) -> None:
    shuffled = pairs(400, seed=2)
    targets = shuffled.base.targets
    assert targets is not None
    order = torch.randperm(400, generator=torch.Generator().manual_seed(6))
    base = dataclasses.replace(shuffled.base, targets=targets[order])
    found = learned_subspace(model, Pairs(base, shuffled.sources), SITE, N_VALUES - 1, torch.Generator().manual_seed(0))
    # The best it can do is to hedge between the answers of base and source.
    assert interchange_accuracy(model, pairs(300, seed=1), SITE, found) < 0.8


def test_positions_and_slices_are_respected(
    model: HookedModel, planted: Subspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = pairs(30, seed=1)
    where = torch.zeros(30, 1, dtype=torch.bool)
    where[:10] = True
    expected = torch.where(where, test.sources, test.base.tokens) % N_VALUES == test.base.targets
    monkeypatch.setattr("rtinterp.analysis.alignment.PAIRS_PER_PASS", 7)
    found = interchange_accuracy(model, test, SITE, planted, where)
    assert found == pytest.approx(expected.double().mean().item())


@pytest.mark.parametrize("site", ["hook_embed", "blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", SITE])
def test_running_on_from_the_site_is_running_with_the_interchange(site: str) -> None:
    task = NeedleInAHaystack(max_pairs=3, n_values=5)
    model = build_model(task, ModelSpec(D_MODEL), seed=1)
    for name in ("embed.W_E", "pos_embed.W_pos", "unembed.W_U"):
        parameter = model.state_dict()[name]
        parameter.normal_(generator=torch.Generator().manual_seed(7))
    pairs = task.counterfactuals(60, "asked marker", torch.Generator().manual_seed(0))
    some = random_subspace(20, torch.zeros(D_MODEL), torch.Generator().manual_seed(1))
    by_site = interchange_accuracies(model, pairs, site, [some, some.first(3)], pairs.base.scored)
    n_pos = int(pairs.base.scored.any(0).nonzero().max()) + 1
    sources = activations_at(model, pairs.sources, site)
    for rank, found in zip((20, 3), by_site, strict=True):
        with intervene(model, interchange(site, some.first(rank), sources, pairs.base.scored[:, :n_pos])):
            assert found == accuracy(model, pairs.base)
    assert len(set(by_site)) > 1 or site == "hook_embed"


def test_a_user_s_hooks_stay_while_a_site_is_run_on_from(model: HookedModel, planted: Subspace) -> None:
    with intervene(model, replace("ln_final.hook_normalized", 0.0)):
        assert interchange_accuracy(model, pairs(50, seed=1), SITE, planted) < 0.5


def test_bad_searches_are_refused(model: HookedModel) -> None:
    generator = torch.Generator()
    with pytest.raises(ValueError, match="rank is 33; pass 1 to 32"):
        learned_subspace(model, pairs(5, 0), SITE, 33, generator)
    with pytest.raises(ValueError, match="n_steps is 0"):
        learned_subspace(model, pairs(5, 0), SITE, 1, generator, n_steps=0)
    mask = torch.ones(5, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"where is of shape \[5, 2\].*\[5, 1\]"):
        interchange_accuracy(model, pairs(5, 0), SITE, random_subspace(2, torch.zeros(D_MODEL), generator), mask)
    with pytest.raises(ValueError, match="no hook point"):
        learned_subspace(model, pairs(5, 0), "blocks.7.hook_resid_post", 1, generator)
