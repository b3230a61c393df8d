"""What figures/README.md says of subspaces, ranks and transplants, held against the shipped tables."""

from __future__ import annotations

from pathlib import Path

import polars as pl

FIGURES = Path(__file__).parents[2] / "figures"


def table(name: str) -> pl.DataFrame:
    return pl.read_csv(FIGURES / "mechanism" / "data" / f"{name}.csv", infer_schema_length=None)


def finding(beginning: str) -> str:
    """One item of the list, on one line."""
    text = (FIGURES / "README.md").read_text(encoding="utf-8")
    (found,) = [item for item in text.split("\n- ")[1:] if item.startswith(f"*{beginning}")]
    return " ".join(found.partition("\n\n")[0].split())


def percents(rows: pl.DataFrame) -> str:
    low, high = (100 * value for value in (min(rows["accuracy"]), max(rows["accuracy"])))
    return f"{low:.1f} to {high:.1f} %"


def test_transplants() -> None:
    shipped, said = table("figure_transplants"), finding("Bodies share a geometry")

    def of(task: str, embeddings: str, treatment: str) -> str:
        chosen = (pl.col("embeddings") == embeddings) & (pl.col("treatment") == treatment)
        return percents(shipped.filter(pl.col("task").str.starts_with(task) & chosen))

    needle, decimal, modular = "Needle", "Decimal", "Modular"
    of_another = (of(needle, "another", "rotated"), of(decimal, "another", "rotated"))
    assert "reach {} on needle and {} on decimal addition (3 seeds)".format(*of_another) in said
    assert f"rotated alike, {of(needle, 'untrained', 'rotated')} and {of(decimal, 'untrained', 'rotated')}." in said
    assert f"they reach {of(needle, 'another', 'raw')} and {of(decimal, 'another', 'raw')}." in said
    assert f"no rotation helps: {of(modular, 'another', 'rotated')}." in said
    assert shipped["seed"].n_unique() == 3
