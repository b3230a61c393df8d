"""Which numbers of an activation change, and where an intervention is refused because it would not be what it seems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from rtinterp.analysis import accuracy
from rtinterp.analysis.ablations import ResampleAblation
from rtinterp.analysis.activations import activations_at, residual_sites
from rtinterp.analysis.alignment import interchange_accuracy, learned_subspace
from rtinterp.analysis.circuits import subset_values
from rtinterp.analysis.continuation import Continuation
from rtinterp.analysis.interventions import Intervention, intervene, replace, replace_by_role
from rtinterp.analysis.subspace_finding import random_subspace
from rtinterp.models.build import build_model
from rtinterp.models.mamba.spec import MambaSpec
from rtinterp.models.s4d.spec import S4DSpec
from rtinterp.tasks import Batch, NeedleInAHaystack, Sorting

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

PATTERN, SITE = "blocks.0.attn.hook_pattern", "blocks.1.hook_resid_pre"
N, N_POS = 6, 9


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randint(11, (N, N_POS), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def batch(tokens: torch.Tensor) -> Batch:
    """The fourth position is scored, so that those behind it need not run."""
    return Batch(tokens, (torch.arange(N_POS) == 3).expand_as(tokens))


@pytest.mark.parametrize("name", ["hook_pattern", "hook_attn_scores"])
def test_heads_and_queries_of_a_pattern(sharp_model: HookedModel, tokens: torch.Tensor, name: str) -> None:
    """Its axes are [batch head query_pos key_pos], with as many heads as there are few positions."""
    few, site = tokens[:, :4], f"blocks.0.attn.{name}"
    with torch.no_grad():
        before = activations_at(sharp_model, few, site)
        assert before.shape == (N, 4, 4, 4)
        with intervene(sharp_model, replace(site, 0.5, where=lambda tokens: tokens > 5, heads=(0, 2))):
            after = activations_at(sharp_model, few, site)
        with intervene(
            sharp_model, replace(site, 0.5, where=lambda tokens: tokens > 5, heads=tuple(np.arange(0, 4, 2)))
        ):
            assert torch.equal(activations_at(sharp_model, few, site), after), "whatever kind of whole numbers they are"
    expected = before.clone()
    for sequence, query in (few > 5).nonzero().tolist():
        expected[sequence, [0, 2], query] = 0.5
    assert torch.equal(after, expected)
    assert not torch.equal(after, before)


def test_a_clean_patch_of_whole_sequences_fits_what_accuracy_runs(
    sharp_model: HookedModel, tokens: torch.Tensor, batch: Batch
) -> None:
    """Activations of all positions, although no more run than are needed; the last layers' alone decide."""
    others = tokens.flip(0)
    there = sharp_model(others)[:, 3].argmax(-1)
    answers = Batch(tokens, batch.scored, there[:, None].expand_as(tokens))
    with torch.no_grad():
        assert accuracy(sharp_model, answers) < 1
        with intervene(sharp_model, replace(SITE, activations_at(sharp_model, others, SITE))):
            assert accuracy(sharp_model, answers) == 1


def test_a_model_that_starts_at_a_layer_has_no_tokens(sharp_model: HookedModel, tokens: torch.Tensor) -> None:
    seen: list[Any] = []

    def edit(h: torch.Tensor, read: torch.Tensor | None) -> torch.Tensor:
        seen.append(read)
        return h

    stream = sharp_model(tokens, stop_at_layer=1)
    with torch.no_grad(), intervene(sharp_model, Intervention(SITE, edit)):
        sharp_model(tokens)
        # Nothing of the pass before is left over.
        sharp_model(stream, start_at_layer=1)
    assert torch.equal(seen[0], tokens)
    assert seen[1] is None
    mask = torch.zeros(N, N_POS, dtype=torch.bool)
    with intervene(sharp_model, replace(SITE, 0.0, where=mask)):
        assert torch.equal(sharp_model(stream, start_at_layer=1), sharp_model(tokens))
    of_tokens = [
        replace(SITE, 0.0, where=lambda tokens: tokens > 5),
        replace_by_role(SITE, torch.zeros(2, 32), lambda tokens: tokens % 2),
    ]
    for one in of_tokens:
        with intervene(sharp_model, one), pytest.raises(ValueError, match="starts at a layer, so that its tokens are"):
            sharp_model(stream, start_at_layer=1)


def test_hooks_are_not_left_out_silently(sharp_model: HookedModel, batch: Batch) -> None:
    others = ResampleAblation(batch.tokens.flip(0)[:, :4])
    going_on = Continuation(sharp_model, batch, SITE)
    with intervene(sharp_model, replace("blocks.0.hook_mlp_out", 0.0)):
        for measure in (
            lambda: subset_values(sharp_model, batch, others),
            lambda: Continuation(sharp_model, batch, SITE),
            lambda: going_on.value(replace(SITE, 0.0)),
        ):
            with pytest.raises(ValueError, match=r"the model has hooks, at blocks.0.hook_mlp_out"):
                measure()
    assert going_on.value(replace(SITE, going_on.activations)) == subset_values(sharp_model, batch, others)[-1]


def test_heads_are_no_site_of_an_alignment(sharp_model: HookedModel, batch: Batch) -> None:
    class Pairs:
        base, sources = batch, batch.tokens.flip(0)

    generator, site = torch.Generator(), "blocks.0.attn.hook_z"
    with pytest.raises(ValueError, match=r"'blocks.0.attn.hook_z' has an axis of heads.*pass a site of"):
        learned_subspace(sharp_model, Pairs(), site, 2, generator)
    with pytest.raises(ValueError, match=r"'blocks.0.attn.hook_z' has an axis of heads"):
        interchange_accuracy(sharp_model, Pairs(), site, random_subspace(2, torch.zeros(8), generator))


@pytest.mark.parametrize("spec", [MambaSpec(32, n_layers=2), S4DSpec(32, n_layers=2)], ids=["mamba", "s4d"])
def test_residual_sites_of_layers_of_one_part(spec: MambaSpec | S4DSpec) -> None:
    model, task = build_model(Sorting(4, vocabulary=4), spec, seed=0), Sorting(4, vocabulary=4)
    assert residual_sites(model) == ("blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post")
    for site in residual_sites(model):
        assert activations_at(model, task.test_set().tokens[:3], site).shape == (3, task.sequence_length, 32)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 2}, r"heads=2: pass a tuple, \(2,\)"),
        ({"heads": ("0",)}, r"heads=\('0',\): pass their numbers"),
        ({"where": 3}, "where=3: pass a mask"),
    ],
    ids=["number", "text", "where"],
)
def test_what_can_be_no_selection_is_refused_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace("blocks.0.attn.hook_z", 0.0, **fields)


def test_counterfactual_patching_as_a_user_does_it() -> None:
    """From the sources into the bases: what stands at the last layer's end decides."""
    task = NeedleInAHaystack(max_pairs=3, n_values=8)
    model = build_model(task, MambaSpec(16, n_layers=1), seed=0)
    pairs = task.counterfactuals(20, "queried value", torch.Generator().manual_seed(0))
    site = residual_sites(model)[-1]
    of_sources = activations_at(model, pairs.sources, site)
    said = model(pairs.sources).argmax(-1)
    told = Batch(pairs.base.tokens, pairs.base.scored, said)
    with intervene(model, replace(site, of_sources)):
        assert accuracy(model, told) == 1
