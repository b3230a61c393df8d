"""Which parameters train under each regime."""

from __future__ import annotations

import pytest
import torch
from model_references import EMBEDDINGS, UNEMBEDDING_BIAS

from rtinterp.models.bodies import trained_parameters
from rtinterp.models.regimes import TRAINABLE, freeze
from rtinterp.models.transformer.hooked import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition

#: None stands for everything but the unembedding bias.
TRAINED = {
    "embeddings": EMBEDDINGS,
    "all": None,
    "unembedding": {"unembed.W_U"},
    "input_embeddings": {"embed.W_E", "pos_embed.W_pos"},
    "token_embedding+unembedding": {"embed.W_E", "unembed.W_U"},
}


@pytest.fixture(scope="module")
def model():
    return build_model(ModularAddition(p=5), ModelSpec(d_model=16), seed=0)


def requiring_grad(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_the_table_covers_every_regime() -> None:
    assert set(TRAINED) == set(TRAINABLE)


@pytest.mark.parametrize("before", TRAINED)
@pytest.mark.parametrize("trainable", TRAINED)
def test_freeze_leaves_exactly_the_regime_training(model, trainable: str, before: str) -> None:
    names = {name for name, _ in model.named_parameters()}
    assert EMBEDDINGS | {UNEMBEDDING_BIAS} < names
    assert freeze(freeze(model, before), trainable) is model
    expected = TRAINED[trainable] or names - {UNEMBEDDING_BIAS}
    assert requiring_grad(model) == expected
    assert {p.name for p in trained_parameters(ModelSpec(d_model=16), 5, 5, trainable)} == expected


def test_an_unknown_regime_names_the_known_ones_and_changes_nothing(model) -> None:
    before = requiring_grad(freeze(model, "unembedding"))
    with pytest.raises(ValueError, match="trainable='embedings'") as error:
        freeze(model, "embedings")
    assert all(repr(trainable) in str(error.value) for trainable in TRAINED)
    assert requiring_grad(model) == before


def test_a_module_without_the_parameters_is_refused() -> None:
    linear = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"Linear has no parameter embed\.W_E"):
        freeze(linear, "embeddings")
    assert requiring_grad(linear) == {"weight", "bias"}
