"""What figures/README.md says of key frequencies, held against the shipped table."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

FIGURES = Path(__file__).parents[2] / "figures"
RANDOM, TRAINED = "embeddings", "all"


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
    return f"{values.min():.{digits}f} to {values.max():.{digits}f}"


def of(last: pl.DataFrame, trainable: str, logits: str, frequencies: str) -> pl.Series:
    return last.filter(trainable=trainable, logits=logits, frequencies=frequencies).sort("seed")["loss"]


def test_numbers_of_frequencies_and_their_power(last: pl.DataFrame, said: str) -> None:
    for trainable, name in ((RANDOM, "random transformer"), (TRAINED, "fully trained one")):
        models = last.filter(trainable=trainable, logits="all")
        assert len(models) == 3
        numbers = models["key_frequencies"].cast(pl.String).str.split(" ").list.len()
        assert f"{name} of width {models['d_model'][0]} adds by {numbers.min()} to {numbers.max()}" in said
        assert f"{spread(100 * models['key_power'], 0)} %" in said


def test_losses(last: pl.DataFrame, said: str) -> None:
    for trainable in (RANDOM, TRAINED):
        assert spread(of(last, trainable, "all", "none")) in said
        assert spread(of(last, trainable, "restricted", "key")) in said
        assert spread(of(last, trainable, "excluded", "key"), 1) in said
    assert (of(last, RANDOM, "restricted", "control") > 4.4).all()
    without_others = of(last, RANDOM, "excluded", "control") - of(last, RANDOM, "all", "none")
    assert (without_others.abs() < 0.01).all()


def test_clock_and_pizza(last: pl.DataFrame, said: str) -> None:
    models = last.filter(logits="all")
    for trainable in (RANDOM, TRAINED):
        of_models = models.filter(trainable=trainable)
        symmetricity, irrelevance = (spread(of_models[m]) for m in ("gradient_symmetricity", "distance_irrelevance"))
        assert f"{symmetricity} and {irrelevance}" in said
