import copy
import math

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.decomposition import PCA

from rtinterp.analysis.batches import positions_that_feed
from rtinterp.analysis.explained_variance import (
    StreamingCovariance,
    residual_explained_variance,
    top_k_component_share,
    top_k_coordinate_share,
)
from rtinterp.models.build import build_model
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.tasks import ModularAddition

D = 24
PAD = 0


def gaussian(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(n, seed=0, offset=1e4):
    """Correlated rows whose mean is ten thousand times their spread, in float32 as activations are."""
    return (gaussian(n, D, seed=seed) @ (gaussian(D, D, seed=1) * torch.logspace(0, -2, D)) + offset).float()


def streamed(data, chunks):
    covariance = StreamingCovariance(data.shape[1])
    for chunk in data.split(chunks):
        covariance.update(chunk)
    return covariance


@pytest.fixture
def batch():
    """Sequences of 5 to 10 tokens, padded at the end; the mask is True on tokens."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(1, 11, (16, 10), generator=generator)
    lengths = torch.randint(5, 11, (16, 1), generator=generator)
    tokens[torch.arange(10) >= lengths] = PAD
    return tokens, tokens != PAD


@pytest.mark.parametrize("k", [1, 3, 10, D])
def test_component_share_equals_sklearn(k):
    data = correlated(500)
    reference = PCA(k, svd_solver="full").fit(data.double().numpy()).explained_variance_ratio_.sum()
    assert top_k_component_share(streamed(data, 64).covariance, k) == pytest.approx(reference, abs=1e-5)


@pytest.mark.parametrize("chunks", [1, 7, 499, 500, [0, 3, 0, 497]])
def test_chunks_do_not_change_the_result(chunks):
    data = correlated(500, offset=1e6)
    covariance = streamed(data, chunks)
    assert covariance.n == 500
    exact = data.double().numpy()
    np.testing.assert_allclose(covariance.mean, exact.mean(axis=0), rtol=1e-12)
    expected = np.cov(exact, rowvar=False)
    np.testing.assert_allclose(covariance.covariance, expected, rtol=1e-6, atol=1e-9 * np.trace(expected))


def test_axis_aligned_and_rotated_data_have_the_shares_planted():
    variances = torch.tensor([6.0, 3.0, 1.0] + [0.0] * (D - 3)).double()
    aligned = torch.diag(variances)
    rotation = torch.linalg.qr(gaussian(D, D, seed=4)).Q
    rotated = rotation @ aligned @ rotation.T
    for k, share in [(1, 0.6), (2, 0.9), (3, 1.0)]:
        assert top_k_component_share(aligned, k) == pytest.approx(share)
        assert top_k_coordinate_share(aligned, k) == pytest.approx(share)
        assert top_k_component_share(rotated, k) == pytest.approx(share)
        assert top_k_coordinate_share(rotated, k) < share - 0.2
    # Components bound coordinates from above, and k of D coordinates hold at least k / D.
    assert 3 / D <= top_k_coordinate_share(rotated, 3) <= top_k_component_share(rotated, 3)
    assert top_k_coordinate_share(rotated, D) == pytest.approx(1)


def test_table_equals_a_direct_computation(tiny_model, batch):
    tokens, included = batch
    k = 5
    table = residual_explained_variance(tiny_model, [(tokens[:5], included[:5]), (tokens[5:], included[5:])], k)
    assert table["site"].to_list() == ["embedding", "after layer 0", "after layer 1"]
    assert table["layer"].to_list() == [None, 0, 1]
    assert table["n_activations"].to_list() == [int(included.sum())] * 3
    assert table["k"].to_list() == [k] * 3
    _, cache = tiny_model.run_with_cache(tokens)
    embedding = cache["hook_embed"] + cache["hook_pos_embed"]
    sites = [embedding, cache["resid_post", 0], cache["resid_post", 1]]
    for row, site in zip(table.rows(named=True), sites, strict=True):
        activations = site[included].detach().double().numpy()
        reference = PCA(k, svd_solver="full").fit(activations).explained_variance_ratio_.sum()
        assert row["share_principal_components"] == pytest.approx(reference, abs=1e-5)
        variances = np.sort(activations.var(axis=0))
        assert row["share_coordinates"] == pytest.approx(variances[-k:].sum() / variances.sum(), abs=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_hidden_states_of_a_recurrent_model_reach_the_same_table(batch, cell):
    tokens, included = batch
    model = build_model(ModularAddition(p=11), RecurrentSpec(12, cell=cell), seed=0)
    table = residual_explained_variance(model, [(tokens[:7], included[:7]), (tokens[7:], included[7:])], k=3)
    assert table["site"].to_list() == ["embedding", "after layer 0", "after layer 1"]
    assert table["n_activations"].to_list() == [int(included.sum())] * 3
    weights = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("layers")}
    body = {"lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}[cell]
    states = model.W_E[tokens]
    for layer, row in enumerate(table.rows(named=True)):
        if layer:
            one = body(12, 12, batch_first=True)
            one.load_state_dict({name: weights[f"layers.{layer - 1}.{name[:-3]}"] for name in one.state_dict()})
            states, _ = one(states)
        activations = states[included].detach().double().numpy()
        reference = PCA(3, svd_solver="full").fit(activations).explained_variance_ratio_.sum()
        assert row["share_principal_components"] == pytest.approx(reference, abs=1e-5)
        variances = np.sort(activations.var(axis=0))
        assert row["share_coordinates"] == pytest.approx(variances[-3:].sum() / variances.sum(), abs=1e-5)


def test_last_site_is_before_the_final_norm(tiny_model, batch):
    """Whatever the final LayerNorm gives out, here NaN, is never read."""
    before = residual_explained_variance(tiny_model, [batch])
    hooks = [("ln_final.hook_normalized", lambda value, hook: value * math.nan)]
    with tiny_model.hooks(fwd_hooks=hooks):
        assert residual_explained_variance(tiny_model, [batch]).equals(before)
    # Adding a large vector of one direction to the last block's output shows at the last site alone.
    direction = torch.zeros(32)
    direction[0] = 1e3
    every_other = (torch.arange(10) % 2)[:, None]
    hooks = [("blocks.1.hook_resid_post", lambda value, hook: value + every_other[: value.shape[1]] * direction)]
    with tiny_model.hooks(fwd_hooks=hooks):
        after = residual_explained_variance(tiny_model, [batch])
    assert after[:2].equals(before[:2])
    assert after["share_coordinates"][2] == pytest.approx(1, abs=1e-3)


def test_padding_changes_nothing(tiny_model, batch):
    expected = residual_explained_variance(tiny_model, [batch], k=1)
    planted = copy.deepcopy(tiny_model)
    planted.W_E.data[PAD] = 1e6 * gaussian(32, seed=5).float()
    assert residual_explained_variance(planted, [batch], k=1).equals(expected)
    # The same pads, counted, would have taken over.
    unmasked = residual_explained_variance(planted, [(batch[0], torch.ones_like(batch[1]))], k=1)
    assert unmasked["share_principal_components"][0] > 0.999
    assert expected["share_principal_components"][0] < 0.5


def test_a_batch_without_counted_positions_changes_nothing(tiny_model, batch):
    tokens, included = batch
    empty = (tokens, torch.zeros_like(included))
    expected = residual_explained_variance(tiny_model, [batch])
    assert residual_explained_variance(tiny_model, iter([empty, batch, empty])).equals(expected)


def test_positions_that_feed_end_at_the_last_scored_one():
    scored = torch.tensor([[0, 0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]]).bool()
    expected = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]]).bool()
    assert torch.equal(positions_that_feed(scored), expected)


def test_table_has_one_type_per_column(tiny_model, batch):
    schema = residual_explained_variance(tiny_model, [batch]).schema
    assert [schema[name] for name in ("site", "layer", "share_coordinates")] == [pl.String, pl.Int64, pl.Float64]


@pytest.mark.parametrize("share", [top_k_component_share, top_k_coordinate_share])
def test_bad_covariances_are_refused(share):
    with pytest.raises(ValueError, match="k is 25"):
        share(torch.eye(D), D + 1)
    with pytest.raises(ValueError, match="k is 0"):
        share(torch.eye(D), 0)
    with pytest.raises(ValueError, match="not finite"):
        share(torch.full((3, 3), math.nan), 1)
    constant = streamed(torch.full((50, D), 1234.567), 7)
    with pytest.raises(ValueError, match="total variance is 0"):
        share(constant.covariance, 1)


def test_bad_streams_are_refused(tiny_model, batch):
    statistic = StreamingCovariance(D)
    statistic.update(correlated(1))
    with pytest.raises(ValueError, match="1 activations seen"):
        _ = statistic.covariance
    with pytest.raises(ValueError, match="1 of 2 activations are not finite"):
        statistic.update(torch.stack([torch.zeros(D), torch.full((D,), math.inf)]))
    assert statistic.n == 1
    with pytest.raises(ValueError, match="k is 33"):
        residual_explained_variance(tiny_model, [batch], k=33)
    with pytest.raises(ValueError, match="batches is empty"):
        residual_explained_variance(tiny_model, [])
    only_one = torch.zeros_like(batch[1])
    only_one[0, 0] = True
    with pytest.raises(ValueError, match="1 activations seen"):
        residual_explained_variance(tiny_model, [(batch[0], only_one)])
