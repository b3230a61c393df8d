"""Fixed random patterns: the identity plus centred noise of the published size, and a sink."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtinterp.models.transformer.mixing_matrices import RandomMixing


def drawn_mixing(length: int = 40, n_heads: int = 600, d_head: int = 8, sink: bool = False) -> np.ndarray:
    stream = np.random.default_rng(0)
    blocks = RandomMixing(d_head, sink).blocks((n_heads, length, length), stream)
    return np.concatenate(list(blocks)).reshape(n_heads, length, length)


def test_random_mixing_is_the_identity_plus_centred_noise_of_the_published_size() -> None:
    length, d_head = 40, 8
    mixing = drawn_mixing(length, d_head=d_head)
    np.testing.assert_allclose(mixing.sum(-1), 1.0, atol=1e-12)
    assert (np.triu(mixing, 1) == 0).all()
    assert (mixing[:, 0, 0] == 1).all()
    assert (mixing < 0).any()
    # The last row of each head has the most entries: its sample variance is the head's, within a fifth or so.
    stds = np.sqrt(np.square(mixing[:, -1] - np.eye(length)[-1]).sum(-1) / (length - 1))
    least, most = 1 / math.sqrt(length * d_head), 1 / math.sqrt(length)
    assert stds.mean() == pytest.approx((least + most) / 2, rel=0.04)
    assert stds.std() == pytest.approx(math.hypot((most - least) / math.sqrt(12), stds.mean() / math.sqrt(78)), rel=0.1)
    measured = math.sqrt(np.square(mixing).mean())
    assert RandomMixing(d_head).root_mean_square(mixing.shape) == pytest.approx(measured, rel=0.01)


def test_a_sink_is_the_first_head_alone() -> None:
    plain, sink = drawn_mixing(12, 3), drawn_mixing(12, 3, sink=True)
    assert (plain[1:] == sink[1:]).all()
    expected = np.eye(12) / 2
    expected[1:, 0] = 0.5
    assert (sink[0] == expected).all()
    assert sink[0].sum(-1).tolist() == [0.5] + [1.0] * 11
    measured = math.sqrt(
        np.square(drawn_mixing(12, 3000, sink=True)[1:]).mean() * 2 / 3 + np.square(expected).mean() / 3
    )
    assert RandomMixing(8, sink=True).root_mean_square((3, 12, 12)) == pytest.approx(measured, rel=0.01)
