"""Tables 4 and 7: the variance of the right activations, by scikit-learn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import torch
from sklearn.decomposition import PCA

from rtinterp.papers.random_transformers import FIGURES, PAPER, table4_explained_variance
from rtinterp.tasks import Memorization
from rtinterp.training.run import Run

SHIPPED = Path(__file__).parents[2] / "figures" / PAPER.name / "data"
SITES = {
    "embedding": "blocks.0.hook_resid_pre",
    "after layer 0": "blocks.0.hook_resid_post",
    "after layer 1": "blocks.1.hook_resid_post",
}


def check(name: str, run: Run, lengths: torch.Tensor) -> None:
    """Compare the run's rows with the shares of all positions of the test set before ``lengths``."""
    table = FIGURES[name].compute([run])
    tokens = run.spec.task.test_set().tokens
    read = torch.arange(tokens.shape[1]) < lengths[:, None]
    assert set(table["n_activations"]) == {int(read.sum())}
    _, cache = run.model.run_with_cache(tokens)
    for site, hook in SITES.items():
        activations = cache[hook][read].double().numpy()
        row = table.row(by_predicate=pl.col("site") == site, named=True)
        components = PCA().fit(activations).explained_variance_ratio_[:10].sum()
        variances = sorted(activations.var(axis=0), reverse=True)
        assert row["share_principal_components"] == pytest.approx(components, abs=1e-5)
        assert row["share_coordinates"] == pytest.approx(sum(variances[:10]) / sum(variances), abs=1e-5)


@pytest.fixture
def all_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table4_explained_variance, "N_SEQUENCES", 10**6)


@pytest.mark.parametrize("name", ["table4_explained_variance", "table7_explained_variance"])
def test_no_padding_and_no_answer_counts(name: str, runs_of, all_sequences: None) -> None:
    run = next(run for run in runs_of(name) if run.spec.task.name == "needle_in_a_haystack")
    check(name, run, lengths=(run.spec.task.test_set().tokens != 0).sum(1) - 1)


def test_memorization_counts_both_keys_of_every_pair(runs_of, all_sequences: None) -> None:
    run = next(run for run in runs_of("table4_explained_variance") if run.spec.task.name == "memorization")
    check("table4_explained_variance", run, lengths=torch.full((36,), 2))


def test_the_sequences_are_no_corner_of_a_sorted_test_set() -> None:
    """Memorization's test set has its second key in order: the first thousand pairs would have 16 of 64."""
    batches = list(table4_explained_variance._test_activations(Memorization(n_keys=64)))
    keys = torch.cat([tokens[:, :2] for tokens, _ in batches])
    assert len(set(map(tuple, keys.tolist()))) == 1000
    for counts in (Counter(keys[:, 0].tolist()), Counter(keys[:, 1].tolist())):
        assert len(counts) == 64
        assert max(counts.values()) < 40, "sixteen are expected"


def test_tables_4_and_7_say_which_they_are(runs_of) -> None:
    for number in (4, 7):
        figure = FIGURES[f"table{number}_explained_variance"]
        runs = runs_of(figure.name)
        assert f"Table {number}:" in figure.plot(figure.compute(runs[:1])).layout.title.text
        assert {run.spec.model.d_model for run in runs} == {{4: 24, 7: 16}[number]}
        assert {run.spec.task.name for run in runs} >= {"decimal_addition", "parenthesis_balancing"}
        assert ("memorization" in {run.spec.task.name for run in runs}) == (number == 4)


@pytest.mark.parametrize("name", [name for name in FIGURES if "attention" in name or "variance" in name])
def test_layers_and_heads_of_shipped_tables_count_from_0(name: str) -> None:
    table = pl.read_csv(SHIPPED / f"{name}.csv", infer_schema_length=None)
    of_layer = table.filter(pl.col("layer").is_not_null())
    assert of_layer["layer"].min() == 0
    assert (of_layer["layer"] < of_layer["n_layers"]).all()
    if "site" in table.columns:
        named = of_layer.select(pl.format("after layer {}", "layer")).to_series()
        assert of_layer["site"].to_list() == named.to_list()
        assert set(table.filter(pl.col("layer").is_null())["site"]) == {"embedding"}
