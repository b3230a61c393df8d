"""What figures/README.md says of key frequencies, held against the shipped table."""

from __future__ import annotations

import math
import re
from pathlib import Path

import polars as pl
import pytest

from rtinterp.figures import style
from rtinterp.papers.mechanism.figure_fourier import FIGURE

FIGURES = Path(__file__).parents[2] / "figures"
#: Kinds of models, by what trains and their width, as the page has them.
RANDOM, TRAINED, HALF = ("embeddings", 512), ("all", 512), ("all", 256)
MODELS = {RANDOM: "a random transformer", TRAINED: "a fully trained one", HALF: "a fully trained one"}


@pytest.fixture(scope="module")
def last() -> pl.DataFrame:
    """The trained models on test pairs; means over draws."""
    table = pl.read_csv(FIGURES / "mechanism" / "data" / "figure_fourier.csv", infer_schema_length=None)
    table = table.filter((pl.col("step") == pl.col("n_steps")) & (pl.col("pairs") == "test"))
    keys = [name for name in table.columns if name not in ("draw", "loss")]
    return table.group_by(keys, maintain_order=True).agg(pl.col("loss").mean())


@pytest.fixture(scope="module")
def said() -> str:
    text = (FIGURES / "README.md").read_text(encoding="utf-8")
    (paragraph,) = re.findall(r"\*By which frequencies\*.*?\n\n", text, re.DOTALL)
    return " ".join(paragraph.split())


def spread(values: pl.Series, digits: int = 2) -> str:
    return style.ends(*(f"{value:.{digits}f}" for value in (values.min(), values.max())))


def of(last: pl.DataFrame, model: tuple[str, int], logits: str, frequencies: str) -> pl.Series:
    trainable, d_model = model
    chosen = last.filter(trainable=trainable, d_model=d_model, logits=logits, frequencies=frequencies)
    return chosen.sort("seed")["loss"]


def test_numbers_of_frequencies_and_their_power(last: pl.DataFrame, said: str) -> None:
    for (trainable, d_model), name in MODELS.items():
        models = last.filter(trainable=trainable, d_model=d_model, logits="all")
        assert len(models) == 3
        numbers = models["key_frequencies"].cast(pl.String).str.split(" ").list.len()
        told = f"{name} of width {d_model} adds by {numbers.min()} to {numbers.max()}"
        assert f"{told} frequencies" in said or told in said
        assert f"hold {spread(100 * models['key_power'], 0)} %" in said


def test_losses(last: pl.DataFrame, said: str) -> None:
    def told(logits: str, frequencies: str, digits: int = 2) -> str:
        one, two, three = (spread(of(last, model, logits, frequencies), digits) for model in MODELS)
        return f"{one}, {two} and {three}"

    assert f"On test pairs the loss is {told('all', 'none')} nats" in said
    assert f"with their waves alone {told('restricted', 'key')}, " in said
    assert f"without them {told('excluded', 'key', 1)}, where guessing has 4.4" in said
    assert (of(last, RANDOM, "restricted", "control") > 4.4).all()
    without_others = of(last, RANDOM, "excluded", "control") - of(last, RANDOM, "all", "none")
    assert (without_others.abs() < 0.01).all()


def test_clock_and_pizza(last: pl.DataFrame, said: str) -> None:
    models = last.filter(logits="all")
    for trainable in ("embeddings", "all"):
        of_models = models.filter(trainable=trainable)
        symmetricity, irrelevance = (spread(of_models[m]) for m in ("gradient_symmetricity", "distance_irrelevance"))
        assert f"{symmetricity} and {irrelevance}" in said


def test_the_caption(last: pl.DataFrame) -> None:
    caption = FIGURE.caption
    numbers = {
        model: last.filter(trainable=model[0], d_model=model[1], logits="all")["key_frequencies"]
        .cast(pl.String).str.split(" ").list.len().sort().to_list()
        for model in MODELS
    }  # fmt: skip
    assert "by two or three" in caption
    assert (numbers[RANDOM][0], numbers[RANDOM][-1]) == (2, 3)
    assert f"add by {numbers[TRAINED][0]} to {numbers[TRAINED][-1]} frequencies" in caption
    assert f"half the width by {numbers[HALF][0]} to {numbers[HALF][-1]};" in caption
    guessing = math.log(79)
    assert (of(last, RANDOM, "excluded", "key") > guessing).all()
    assert (of(last, RANDOM, "restricted", "key") < 0.1).all()
    assert (of(last, TRAINED, "excluded", "key") < guessing).any()
    assert (of(last, HALF, "excluded", "key") < guessing).any()
