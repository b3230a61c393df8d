"""Accuracies of kinds of rows, against rows that are counted by hand."""

import polars as pl
import pytest
import torch

from rtinterp.analysis import accuracy_by_label, wilson
from rtinterp.tasks import Batch

#: Rows 0 and 1 are alike; the last two predictions of each are scored, of row 3 only one.
TOKENS = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 4], [5, 6, 7, 8], [9, 1, 2, 3], [2, 2, 2, 2]])
SCORED = torch.tensor([[False, True, True, False]] * 3 + [[False, False, True, False]] + [[False, True, True, False]])
BATCH = Batch(TOKENS, SCORED)
#: Row by row.
RIGHT = torch.tensor([True, False, True, False, True, True, False, True, True])
SHAPES, SIZES = torch.tensor([1, 1, 0, 0, 1]), torch.tensor([7, 7, 7, 7, 5])


def test_rows_of_one_kind_are_counted_together() -> None:
    table = accuracy_by_label(RIGHT, BATCH, {"shape": SHAPES})
    first, second = table.iter_rows(named=True)
    assert (first["shape"], first["n_rows"], first["n_distinct"], first["n_effective"]) == (0, 2, 2, 2)
    assert first["accuracy"] == pytest.approx(2 / 3), "two predictions of one row and one of the other"
    assert (second["shape"], second["n_rows"], second["n_distinct"]) == (1, 3, 2)
    assert second["n_effective"] == pytest.approx(9 / 5)
    assert second["accuracy"] == pytest.approx(4 / 6)
    assert (second["low"], second["high"]) == pytest.approx(wilson(4 / 6 * 9 / 5, 9 / 5)[:2])


def test_several_labels_make_a_kind() -> None:
    table = accuracy_by_label(RIGHT, BATCH, {"shape": SHAPES, "size": SIZES})
    assert table.select("shape", "size", "n_rows").rows() == [(0, 7, 2), (1, 5, 1), (1, 7, 2)]
    assert table["accuracy"].to_list() == pytest.approx([2 / 3, 1, 1 / 2])


def test_kinds_add_up_to_the_accuracy_of_all() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = {"label": torch.randint(4, (200,), generator=generator)}
    batch = Batch(torch.randint(9, (200, 3), generator=generator), torch.tensor([[True, True, False]]).expand(200, 3))
    right = torch.rand(400, generator=generator) < 0.7
    table = accuracy_by_label(right, batch, labels)
    weighted = (pl.col("accuracy") * pl.col("n_rows")).sum() / 200
    assert table.select(weighted).item() == pytest.approx(right.double().mean().item())


def test_labels_and_predictions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\{'shape': \[4\]\}; pass one label for each of 5 rows"):
        accuracy_by_label(RIGHT, BATCH, {"shape": SHAPES[1:]})
    with pytest.raises(ValueError, match="pass one label for each"):
        accuracy_by_label(RIGHT, BATCH, {})
    with pytest.raises(ValueError, match=r"right has shape \[8\]; pass one for each of 9 predictions"):
        accuracy_by_label(RIGHT[1:], BATCH, {"shape": SHAPES})
