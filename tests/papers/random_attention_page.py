"""What figures/random_attention/README.md says, and what the shipped tables hold, to be compared."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "figures" / "random_attention"
NUMBER = r"(-?[\d.]+)"


def page(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8").split())


def said(pattern: str, path: Path = FOLDER / "README.md") -> list[float]:
    """The numbers in the one place of the page that reads so; # stands for a number."""
    (found,) = re.findall(re.escape(pattern).replace(r"\#", NUMBER), page(path))
    return [float(number.rstrip(".")) for number in ([found] if isinstance(found, str) else found)]


def table(name: str) -> pl.DataFrame:
    return pl.read_csv(FOLDER / "data" / f"{name}.csv", infer_schema_length=None)


def ends(runs: pl.DataFrame, column: str, factor: float = 100.0) -> list[float]:
    """The smallest and the largest of three seeds."""
    assert runs["seed"].n_unique() == 3
    values = [factor * value for value in runs[column].to_list()]
    return [min(values), max(values)]


def of(task: str, regime: str, column: str = "test_accuracy", factor: float = 100.0) -> list[float]:
    runs = table("table_regimes").filter(pl.col("task").str.starts_with(task), pl.col("regime") == regime)
    return ends(runs, column, factor)


def both_ends(told: list[float]) -> list[float]:
    """The ends of a range; one number is told where they are written alike."""
    return told * 2 if len(told) == 1 else told


def near(expected: list[float]) -> object:
    """Up to what is written of a percentage."""
    return pytest.approx(expected, abs=0.0501)
