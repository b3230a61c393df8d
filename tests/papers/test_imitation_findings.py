"""What figures/README.md says of imitation is what the table that ships says."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

SHIPPED = Path(__file__).parents[2] / "figures"


def test_targets_differ_more_than_students() -> None:
    page = re.sub(r"\s+", " ", (SHIPPED / "README.md").read_text(encoding="utf-8"))
    table = pl.read_csv(SHIPPED / "random_transformers/data/figure6_imitation.csv", infer_schema_length=None)
    found = re.search(
        r"Three students of one target differ by a factor of at most ([\d.]+), students of three targets of one width "
        r"by ([\d.]+) to ([\d.]+): .*? the median is ([\d.]+) at width 4, ([\d.]+) at 8, ([\d.]+) at 16 and "
        r"([\d.]+) at 32",
        page,
    )
    assert found is not None
    model, divergence = ["trainable", "target_d_model"], pl.col("test_kl")
    targets = table.group_by(*model, "target_seed").agg(
        median=divergence.median(), ratio=divergence.max() / divergence.min(), n=pl.len()
    )
    assert set(targets["n"]) == {3}
    between = targets.group_by(model).agg(ratio=pl.col("median").max() / pl.col("median").min(), n=pl.len())
    assert set(between["n"]) == {3}
    random = table.filter(trainable="embeddings").group_by("target_d_model").agg(divergence.median())
    expected = [targets["ratio"].max(), between["ratio"].min(), between["ratio"].max()]
    shown = [float(number) for number in found.groups()]
    assert shown[:3] == pytest.approx(expected, abs=0.051)
    assert shown[3:] == pytest.approx(random.sort("target_d_model")["test_kl"].to_list(), abs=0.00051)
    ends = {
        one: (runs["test_kl"].min(), runs["test_kl"].max())
        for one, runs in (
            (key, table.filter(trainable=key[0], target_d_model=key[1])) for key in between.select(model).rows()
        )
    }
    assert "Every random student of a target of width 32 diverges more than every one of width 4, and more than" in page
    assert ends["embeddings", 32][0] > max(ends["embeddings", 4][1], ends["all", 32][1])
    assert "of widths 4, 8 and 16, targets overlap" in page
    assert all(
        ends["embeddings", narrow][1] > ends["embeddings", wide][0] for narrow, wide in ((4, 8), (8, 4), (4, 16))
    )
