"""The comparison of precisions: which runs, and what counts as a difference."""

from __future__ import annotations

import polars as pl
import pytest
from benchmarking.precision import differences, precision_specs

from rtinterp.tasks import ParenthesisBalancing


def test_twins_differ_in_their_precision_alone() -> None:
    plain, halved = (precision_specs(ParenthesisBalancing, precision, 2) for precision in ("float32", "bfloat16"))
    assert [spec.seed for spec in plain] == [spec.seed for spec in halved] == [0, 1]
    for left, right in zip(plain, halved, strict=True):
        assert (left.task, left.model, left.trainable) == (right.task, right.model, right.trainable)
        assert left.run_id != right.run_id


def test_differences_pair_the_seeds() -> None:
    """Seeds are .2 apart and bfloat16 changes one of them by .01, which a difference of medians would not show."""
    rows = [
        ("t", "embedding", seed, precision, share + change, share, share)
        for seed, share, change in ((0, 0.5, 0.01), (1, 0.7, 0.0))
        for precision, change in (("float32", 0.0), ("bfloat16", change))
    ]
    names = ["task", "site", "seed", "precision", "test_accuracy", "share_principal_components", "share_coordinates"]
    (row,) = differences(pl.DataFrame(rows, schema=names, orient="row")).iter_rows(named=True)
    assert row["n_seeds"] == 2
    assert row["test_accuracy_over_precisions"] == pytest.approx(0.01)
    assert row["test_accuracy_over_seeds"] == pytest.approx(0.2)
    assert row["share_coordinates_over_precisions"] == 0
