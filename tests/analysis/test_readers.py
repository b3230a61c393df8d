from __future__ import annotations

import dataclasses

import pytest
import torch

from rtinterp.analysis.alignment import interchange_accuracies
from rtinterp.analysis.layer_parts import logits_of
from rtinterp.analysis.readers import split_by_readers, unembedding_readers
from rtinterp.analysis.subspace_finding import random_subspace
from rtinterp.analysis.subspaces import Subspace, overlap
from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch, ModularAddition

D_MODEL = 32


@dataclasses.dataclass(frozen=True)
class Pairs:
    base: Batch
    sources: torch.Tensor


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_subspace_falls_into_what_is_read_and_what_is_not() -> None:
    axes = torch.eye(D_MODEL)
    readers = normal(5, 3, seed=0) @ axes[:3]
    tilted = (axes[2] + 3 * axes[7]) / 10**0.5
    subspace = Subspace(torch.stack([axes[0], axes[9], tilted]), torch.zeros(D_MODEL))
    split = split_by_readers(subspace, readers)
    assert overlap(split.seen, Subspace(axes[[0, 2]], subspace.centre)) == pytest.approx(1)
    assert overlap(split.unseen, Subspace(axes[[7, 9]], subspace.centre)) == pytest.approx(1)
    assert (split.seen.rank, split.unseen.rank) == (2, 2)
    assert split.share_seen == pytest.approx((1 + 0 + 0.1) / 3)


def test_readers_of_all_dimensions_see_everything() -> None:
    subspace = random_subspace(4, torch.zeros(D_MODEL), torch.Generator().manual_seed(1))
    split = split_by_readers(subspace, normal(D_MODEL, D_MODEL, seed=2))
    assert (split.seen.rank, split.unseen.rank) == (4, 0)
    assert split.share_seen == pytest.approx(1, abs=1e-5)


def test_an_illusion_works_as_a_whole_and_in_neither_part() -> None:
    """The embedding varies along a direction that nothing reads; the unembedding reads one that never varies."""
    model = build_model(ModularAddition(p=11), ModelSpec(D_MODEL), seed=0)
    model.load_state_dict(
        {name: 0 * tensor for name, tensor in model.state_dict().items() if "W_" in name}, strict=False
    )
    centred = torch.eye(D_MODEL) - 1 / D_MODEL
    varies, read = torch.linalg.qr(centred[:, :2])[0].T
    W_E, W_U = torch.zeros(11, D_MODEL), torch.zeros(D_MODEL, 11)
    W_E[:2] = 10 * torch.stack([varies, -varies])
    W_U[:, 0], W_U[:, 1] = read, -read
    # A third answer, unless something moves the other two.
    b_U = torch.zeros(11)
    b_U[2] = 0.1
    model.load_state_dict({"embed.W_E": W_E, "unembed.W_U": W_U, "unembed.b_U": b_U}, strict=False)
    tokens, sources = torch.randint(2, (2, 200, 1), generator=torch.Generator().manual_seed(3))
    pairs = Pairs(Batch(tokens, torch.ones(200, 1, dtype=torch.bool), sources), sources)
    different = (tokens != sources)[:, 0]
    pairs = Pairs(pairs.base[different], sources[different])
    whole = Subspace(((varies + read) / 2**0.5)[None], torch.zeros(D_MODEL))
    split = split_by_readers(whole, unembedding_readers(model))
    assert split.share_seen == pytest.approx(0.5, abs=1e-4)
    found, seen, unseen = interchange_accuracies(
        model, pairs, "blocks.1.hook_resid_post", [whole, split.seen, split.unseen]
    )
    assert (found, seen, unseen) == (1, 0, 0)


def test_what_the_unembedding_cannot_see_moves_no_logit_but_through_the_norm() -> None:
    model = build_model(ModularAddition(p=11), ModelSpec(D_MODEL), seed=0)
    readers = unembedding_readers(model)
    everything = Subspace(torch.eye(D_MODEL), torch.zeros(D_MODEL))
    assert split_by_readers(everything, readers).seen.rank == 10
    h = normal(6, D_MODEL, seed=4)
    moved = h + split_by_readers(everything, readers).unseen.project(normal(6, D_MODEL, seed=5))
    norm = [x.sub(x.mean(-1, keepdim=True)).var(-1, unbiased=False, keepdim=True).add(1e-5).sqrt() for x in (h, moved)]
    logits = [logits_of(model, x[None])[0] * scale for x, scale in zip((h, moved), norm, strict=True)]
    differences = [x - x.mean(-1, keepdim=True) for x in logits]
    torch.testing.assert_close(differences[0], differences[1], atol=1e-4, rtol=1e-4)


def test_readers_of_another_width_are_refused() -> None:
    subspace = random_subspace(4, torch.zeros(D_MODEL), torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match=r"\[reader 32\]"):
        split_by_readers(subspace, torch.zeros(3, 5))
