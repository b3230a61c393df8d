"""Every regime has a name to read and a colour of its own."""

from __future__ import annotations

import itertools

import pytest

from rtinterp.figures.regime_style import regime_colour, regime_name
from rtinterp.figures.style import model_name
from rtinterp.models.parameters import GROUPS
from rtinterp.models.regimes import TRAINABLE, canonical

EVERY_REGIME = [
    canonical("+".join(groups)) for n in range(1, len(GROUPS) + 1) for groups in itertools.combinations(GROUPS, n)
]


@pytest.mark.parametrize(
    ("trainable", "name"),
    [
        ("embeddings", "random transformer"),
        ("all", "fully trained"),
        ("unembedding", "unembedding only"),
        ("input_embeddings", "input embeddings only"),
        ("token_embedding+unembedding", "token embedding and unembedding"),
        ("frozen_qk", "all but QK"),
        ("frozen_mlp", "all but MLP"),
        ("mlp+norms", "MLP and norms"),
        (canonical("embeddings+qk"), "embeddings and QK"),
        ("unembedding+recurrence", "unembedding and recurrence"),
    ],
)
def test_a_regime_is_named_in_words(trainable: str, name: str) -> None:
    assert regime_name(trainable) == name


def test_no_two_regimes_share_a_name() -> None:
    assert len({regime_name(trainable) for trainable in EVERY_REGIME}) == len(EVERY_REGIME)


def test_models_of_any_regime_and_body_are_named() -> None:
    assert model_name("transformer", "embeddings") == "random"
    assert model_name("lstm", "all") == "normal LSTM"
    assert model_name("lstm", "mlp+norms") == "MLP and norms LSTM"


def test_regimes_of_experiments_have_colours_far_apart_and_others_one_that_stays() -> None:
    assert len({regime_colour(trainable) for trainable in TRAINABLE}) == len(TRAINABLE)
    assert len({regime_colour(trainable) for trainable in EVERY_REGIME}) == len(EVERY_REGIME)
    assert regime_colour("mlp+norms") == "#749c21"
