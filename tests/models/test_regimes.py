"""Which parameters train under each regime."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from model_references import EMBEDDINGS, UNEMBEDDING_BIAS

from rtinterp.models.build import build_model
from rtinterp.models.parameters import GROUPS, group_of
from rtinterp.models.regimes import TRAINABLE, canonical, complement, freeze, parse, trained_parameters
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition

#: None stands for everything but the unembedding bias.
TRAINED = {
    "embeddings": EMBEDDINGS,
    "all": None,
    "unembedding": {"unembed.W_U"},
    "input_embeddings": {"embed.W_E", "pos_embed.W_pos"},
    "token_embedding+unembedding": {"embed.W_E", "unembed.W_U"},
    "frozen_qk": None,
    "frozen_mlp": None,
}
FROZEN = {"frozen_qk": r"attn\.[Wb]_[QK]$", "frozen_mlp": r"mlp\."}


def trained_names(trainable: str, names: set[str]) -> set[str]:
    frozen = FROZEN.get(trainable, "^$")
    return TRAINED[trainable] or {name for name in names - {UNEMBEDDING_BIAS} if not re.search(frozen, name)}


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
    expected = trained_names(trainable, names)
    assert requiring_grad(model) == expected
    assert {p.name for p in trained_parameters(ModelSpec(d_model=16).parameters(5, 5), trainable)} == expected


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [
        ("mlp+qk", "qk+mlp"),
        ({"norms", "token_embedding"}, "token_embedding+norms"),
        (("unembedding", "positional_embedding", "token_embedding"), "embeddings"),
        ("positional_embedding+token_embedding", "input_embeddings"),
        ("embeddings+qk", "token_embedding+positional_embedding+unembedding+qk"),
        ("ov+mlp+norms+embeddings+qk", "all"),
        ("embeddings+ov+norms+mlp", "frozen_qk"),
        (frozenset({"frozen_qk", "frozen_mlp"}), "all"),
        ("embeddings+embeddings", "embeddings"),
    ],
    ids=lambda names: names if isinstance(names, str) else "+".join(sorted(names)),  # the same in every worker
)
def test_a_set_has_one_canonical_form(trainable: str | set[str], expected: str) -> None:
    assert canonical(trainable) == expected
    assert canonical(expected) == expected
    assert parse(trainable) == parse(expected)


def test_every_set_of_groups_has_a_form_of_its_own() -> None:
    sets = [frozenset(s) for n in range(1, 8) for s in itertools.combinations(GROUPS, n)]
    assert len({canonical(groups) for groups in sets}) == len(sets) == 2**7 - 1
    for groups in sets:
        assert parse(canonical(groups)) == groups
        if len(groups) < 7:
            assert parse(complement(groups)) == set(GROUPS) - groups


def test_a_body_with_groups_of_its_own() -> None:
    own = frozenset({"recurrence"})
    assert canonical("frozen_mlp", own) == "frozen_mlp"
    assert parse("frozen_mlp", own) == {*GROUPS, "recurrence"} - {"mlp"}
    assert complement("embeddings", own) == "qk+ov+mlp+norms+recurrence"
    assert complement("mlp", own) == "frozen_mlp"
    assert canonical(GROUPS, own) != "all"
    with pytest.raises(ValueError, match="'all' trains everything"):
        complement("all", own)
    with pytest.raises(ValueError, match="no component group 'recurrence'"):
        parse("recurrence")


@pytest.mark.parametrize("trainable", ["qk+mpl", {"mpl"}, "mpl"], ids=str)
def test_an_unknown_group_names_the_nearest(trainable: str | set[str]) -> None:
    with pytest.raises(ValueError, match=r"no component group 'mpl'; did you mean 'mlp'\?.*qk.*'frozen_qk'"):
        parse(trainable)


@pytest.mark.parametrize("nothing", ["", (), set()], ids=repr)
def test_no_group_is_no_regime(nothing: str | set[str]) -> None:
    with pytest.raises(ValueError, match="trainable="):
        parse(nothing)


def test_groups_of_a_whole_transformer_are_those_of_its_names() -> None:
    parameters = ModelSpec(8, n_layers=11, positions="sinusoidal").parameters(5, 5)
    assert all(parameter.group == group_of(parameter.name) for parameter in parameters)
    assert {parameter.group for parameter in parameters} == set(GROUPS)
    with pytest.raises(ValueError, match=r"'blocks\.0\.attn\.W_X'"):
        group_of("blocks.0.attn.W_X")


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
