"""The tables of figures/ladder/README.md are those that ship, and of whole models."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from ladder_page import FOLDER, PAGE, ends, percent, spread, table

from rtinterp.papers.ladder.bodies import TOLD
from rtinterp.papers.ladder.figure_map import thresholds
from rtinterp.papers.ladder.looks import rung_name

MODEL = ("task", "kind", "initial_values", "n_layers", "d_model", "trainable")


def least_width(row: dict[str, Any]) -> str:
    """What is known of a least width, with the accuracies that it rests on."""
    if row["known"] == "more than":
        return f"> {row['widest']}: {percent(row['accuracy_below'])}"
    if row["known"] == "open":
        return f"> {row['below']}, <= {row['width']}"
    at = f"{percent(row['accuracy_at'])} {ends(row['least_at'], row['most_at'])}".strip()
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


def rows_by_validation() -> list[str]:
    """Fully trained models of other seeds on validation rows, beside what the map has of the same rung and width."""
    shipped = table("figure_map")
    rows = []
    for path in sorted((FOLDER / "data").glob("ladder_*_test_rows-validation_widths.csv")):
        for row in pl.read_csv(path, infer_schema_length=None).iter_rows(named=True):
            assert (row["n_seeds"], row["trainable"]) == (3, "all")
            same = shipped.filter(
                pl.col("task").str.starts_with(row["task"].split("(")[0] + "("),
                value=row["value"], trainable="all", d_model=row["widest"],
            )  # fmt: skip
            training = {"n_steps", "batch_size", "learning_rate"}
            assert all(set(same[name]) == {row[name]} for name in training)
            cells = [
                rung_name(row["task"], row["dial"], row["value"]),
                str(row["widest"]),
                percent(row["best_accuracy"]),
                percent(same["accuracy"].median()),
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def test_the_tables_of_the_page_are_those_that_ship() -> None:
    """All rows, and no others: those of former tables would be left over."""
    expected = [*rows_of_the_map(), *rows_of_bodies(), *rows_of_depths(), *rows_by_validation()]
    written = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| rung"))]
    assert written == expected


@pytest.mark.parametrize("name", ["figure_map", "figure_bodies", "figure_depth_and_init"])
def test_every_model_is_of_three_seeds(name: str) -> None:
    shipped = table(name)
    model = [column for column in MODEL if column in shipped.columns]
    assert set(shipped.group_by(model).agg(pl.col("seed").n_unique())["seed"]) == {3}
    assert set(shipped["device"]) == {"cpu (x86_64)"}
    assert set(shipped["scale"]) == {"quick"}
