"""What figures/ladder/README.md says is what the shipped tables hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rtinterp.papers.ladder.bodies import TOLD
from rtinterp.papers.ladder.figure_map import thresholds
from rtinterp.papers.ladder.looks import rung_name

FOLDER = Path(__file__).parents[2] / "figures" / "ladder"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


def table(name: str) -> pl.DataFrame:
    return pl.read_csv(FOLDER / "data" / f"{name}.csv", infer_schema_length=None)


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def spread(runs: pl.DataFrame, column: str = "accuracy") -> str:
    """Median, and the least and most of the seeds, in %."""
    least, median, most = (getattr(runs[column], name)() for name in ("min", "median", "max"))
    return f"{percent(median)} ({percent(least)} to {percent(most)})"


def least_width(row: dict[str, Any]) -> str:
    """What is known of a least width, with the accuracies that it rests on."""
    if row["known"] == "more than the one before":
        return f"> {row['widest']}: {percent(row['accuracy_below'])}"
    if row["known"] == "open":
        return f"> {row['below']}, <= {row['width']}"
    at = f"{percent(row['accuracy_at'])} ({percent(row['least_at'])} to {percent(row['most_at'])})"
    if row["known"] == "at most":
        return f"<= {row['width']}: {at}"
    return f"{row['width']}: {at}; {row['below']}: {percent(row['accuracy_below'])}"


def rows_of_the_map() -> list[str]:
    known = thresholds(table("figure_map"))
    rows = []
    for of_rung in known.partition_by("task", maintain_order=True):
        of = {row["trainable"]: row for row in of_rung.iter_rows(named=True)}
        one = next(iter(of.values()))
        cells = [
            rung_name(one["task"], one["dial"], one["value"]),
            *(least_width(of[kind]) if kind in of else "" for kind in ("all", "embeddings")),
            f"{one['n_seeds']}",
            f"{one['n_test_rows']:,}",
            f"{percent(one['floor_accuracy'])} / {percent(one['heuristic_accuracy'])}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def rows_of_bodies() -> list[str]:
    rows = []
    for of_task in table("figure_bodies").partition_by("task", maintain_order=True):
        one = of_task.row(0, named=True)
        for kind, name in TOLD.items():
            cells = [
                spread(runs)
                if len(runs := of_task.filter(pl.col("kind") == kind, pl.col("trainable") == trainable))
                else ""
                for trainable in ("embeddings", "all")
            ]
            if any(cells):
                rung = rung_name(one["task"], one["dial"], one["value"])
                rows.append(f"| {rung} | {name} | {' | '.join(cells)} |")
    return rows


def rows_of_depths() -> list[str]:
    rows = []
    for of_model in table("figure_depth_and_init").partition_by(
        "task", "initial_values", "n_layers", maintain_order=True
    ):
        one = of_model.row(0, named=True)
        least, most = of_model["cosine"].min(), of_model["cosine"].max()
        rung = rung_name(one["task"], one["dial"], one["value"])
        cells = (rung, one["initial_values"], str(one["n_layers"]), spread(of_model), f"{least:.2f} to {most:.2f}")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


@pytest.mark.parametrize("rows", [rows_of_the_map, rows_of_bodies, rows_of_depths])
def test_the_tables_of_the_page_are_those_that_ship(rows: Any) -> None:
    expected = rows()
    assert [row for row in expected if row not in PAGE.splitlines()] == []
    kept = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert len(kept) == sum(len(one()) + 2 - 1 for one in (rows_of_the_map, rows_of_bodies, rows_of_depths))


def test_every_row_is_of_three_seeds_on_the_named_device() -> None:
    for name in ("figure_map", "figure_bodies", "figure_depth_and_init"):
        shipped = table(name)
        models = (
            shipped.group_by("task", "kind", "n_layers", "d_model", "trainable", "initial_values")
            if ("initial_values" in shipped.columns)
            else shipped.group_by("task", "kind", "n_layers", "d_model", "trainable")
        )
        assert set(models.agg(pl.col("seed").n_unique())["seed"]) == {3}
        assert set(shipped["device"]) == {"cpu (x86_64)"}
        assert set(shipped["scale"]) == {"quick"}


def said(pattern: str) -> list[float]:
    """The numbers in the one place of the page that reads so; # stands for a number."""
    text = " ".join(PAGE.split())
    (found,) = re.findall(re.escape(pattern).replace(r"\#", r"(-?[\d.]+)"), text)
    return [float(number.rstrip(".")) for number in ([found] if isinstance(found, str) else found)]
