"""What is wrong with a value, in one line that names the field, the value and what would do."""

from __future__ import annotations

import dataclasses
import pickle
import re
from typing import Annotated

import pydantic
import pytest

from rtinterp import ModelSpec, RunSpec, TrainSpec
from rtinterp.strict import faults, strict
from rtinterp.tasks import Corpus, ModularAddition

TRAINING = TrainSpec(n_steps=5, batch_size=4)


@strict
class Sizes:
    """Sizes of something."""

    width: Annotated[int, pydantic.Field(ge=1)]
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Sizes(0), "width=0: should be greater than or equal to 1"),
        (lambda: Sizes(width=0), "width=0: should be greater than or equal to 1"),
        (lambda: Sizes(4, ("a", 3)), "names[1]=3: should be a valid string"),
        (lambda: Sizes(), "width is missing"),
        (lambda: Sizes(4, widht=3), "there is no widht; did you mean 'width'?"),
        (lambda: Sizes(4, seed=3), "there is no seed; there are width, names"),
        (lambda: Sizes(4, (), 5), "takes 2 values at most: width, names"),
        (lambda: dataclasses.replace(Sizes(4), width=-1), "width=-1: should be greater than or equal to 1"),
        (
            lambda: RunSpec(ModularAddition(13), ModelSpec(16), TRAINING, "embeddings", -1),
            "seed=-1: should be greater than or equal to 0",
        ),
        (lambda: ModelSpec(18), "d_model=18 is not a multiple of n_heads=4; the nearest widths are 16 and 20"),
    ],
)
def test_a_fault_is_told_in_one_line_with_field_and_value(make, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$") as caught:
        make()
    assert caught.value.__suppress_context__, "the traceback does not lead through a library"


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ValueError, match=r"train=\['story") as caught:
        Corpus(["story" * 100] * 1000, ("end",))
    assert len(str(caught.value)) < 400


def test_of_many_faults_the_first_are_told() -> None:
    with pytest.raises(ValueError, match="names") as caught:
        Sizes(4, tuple(range(100)))
    assert str(caught.value).count("valid string") == 3


def test_a_strict_class_is_a_frozen_value() -> None:
    sizes = Sizes(4, names=("a",))
    assert sizes == Sizes(4, ("a",)) != Sizes(5, ("a",))
    assert hash(sizes) == hash(Sizes(4, ("a",)))
    assert pickle.loads(pickle.dumps(sizes)) == sizes
    with pytest.raises(dataclasses.FrozenInstanceError):
        sizes.width = 5


def test_what_pydantic_finds_elsewhere_reads_alike() -> None:
    @pydantic.dataclasses.dataclass
    class Theirs:
        width: int

    with pytest.raises(pydantic.ValidationError) as caught:
        Theirs(width="four")
    assert faults(caught.value).startswith("width='four': should be a valid integer")
