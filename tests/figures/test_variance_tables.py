"""Tables 4 and 7: the variance of the right activations, by scikit-learn."""

from __future__ import annotations

import re
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
    for model, suffix in ((run.model, ""), (run.initial_model, "_untrained")):
        _, cache = model.run_with_cache(tokens)
        for site, hook in SITES.items():
            activations = cache[hook][read].double().numpy()
            row = table.row(by_predicate=pl.col("site") == site, named=True)
            components = PCA().fit(activations).explained_variance_ratio_[:10].sum()
            variances = sorted(activations.var(axis=0), reverse=True)
            assert row[f"share_principal_components{suffix}"] == pytest.approx(components, abs=1e-5)
            assert row[f"share_coordinates{suffix}"] == pytest.approx(sum(variances[:10]) / sum(variances), abs=1e-5)


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


def planted(runs_of, name: str, **columns: object) -> tuple[pl.DataFrame, list[list[str]], str]:
    """The table of runs of one task with some columns replaced, and its drawn rows and title."""
    runs = [run for run in runs_of(name) if run.spec.task.name in ("needle_in_a_haystack", "language_modelling")]
    table = FIGURES[name].compute(runs)
    table = table.with_columns(**{key: pl.lit(value) for key, value in columns.items() if value is not None})
    table = table.drop(key for key, value in columns.items() if value is None)
    drawn = FIGURES[name].plot(pl.read_csv(table.write_csv().encode()))
    return table, [list(row) for row in zip(*drawn.data[0].cells.values, strict=True)], drawn.layout.title.text


BEFORE = "share_principal_components_untrained"


@pytest.mark.parametrize("name", ["table4_explained_variance", "table5_language_variance"])
def test_untrained_shares_stand_below_and_what_has_not_grown_is_marked(name: str, runs_of) -> None:
    grown = {
        "share_principal_components": 0.8,
        BEFORE: 0.6,
        "share_coordinates": 0.5,
        "share_coordinates_untrained": 0.5,
    }
    _, rows, _ = planted(runs_of, name, **grown)
    cells = [cell for row in rows for cell in row[1:]]
    shown = [(cell.split("<br>")[0], "before: 60.0" in cell, "before: 50.0" in cell) for cell in cells]
    assert set(shown) == {("80.0", True, False), ("50.0 °", False, True)}


def test_one_seed_that_has_not_grown_is_enough_for_the_mark(runs_of) -> None:
    one = pl.when(pl.col("seed") == 1).then(0.9).otherwise(0.6)
    runs = [run for run in runs_of("table4_explained_variance") if run.spec.task.name == "needle_in_a_haystack"]
    table = FIGURES["table4_explained_variance"].compute(runs)
    table = table.with_columns(share_principal_components=0.8, **{BEFORE: one})
    assert set(table["seed"]) == {0, 1}
    cell = table4_explained_variance.share_cell(table.filter(site="embedding"), "share_principal_components")
    assert cell.startswith("80.0 °")


def test_what_k_directions_hold_of_anything_stands_beside_the_model(runs_of) -> None:
    for name, d_model in (("table4_explained_variance", 24), ("table5_language_variance", 16)):
        _, rows, _ = planted(runs_of, name)
        assert all(f"10 of {d_model} directions: ≥ {10 / d_model:.1%} of anything" in row[0] for row in rows)


@pytest.mark.parametrize(("share", "mark"), [(0.05, " †"), (0.3, " ‡"), (1.0, "")])
def test_models_that_are_not_above_a_floor_are_marked(share: float, mark: str, runs_of) -> None:
    _, rows, title = planted(runs_of, "table4_explained_variance", test_accuracy=share, n_effective_rows=1000.0)
    assert len(rows) == 2
    assert [row[0].split("<br>")[1].removesuffix("</span>")[-2:] for row in rows] == (
        [mark] * 2 if mark else ["er", "ed"]
    )
    assert "not above guessing" in title


@pytest.mark.parametrize(("loss", "is_marked"), [(1.0, False), (99.0, True)])
def test_language_models_that_are_not_better_than_pairs_of_tokens_are_marked(loss, is_marked, runs_of) -> None:
    _, rows, title = planted(runs_of, "table5_language_variance", test_loss=loss, bigram_entropy=3.4)
    assert all((" ‡" in row[0]) == is_marked for row in rows)
    assert f"random transformer {loss:.2f}" in title
    assert "a bigram model 3.40" in title


@pytest.mark.parametrize("name", ["table4_explained_variance", "table5_language_variance"])
def test_older_tables_say_what_they_lack(name: str, runs_of) -> None:
    lacking = dict.fromkeys(
        [BEFORE, "share_coordinates_untrained", "n_test_rows", "n_effective_rows", "bigram_entropy"]
    )
    table = FIGURES[name].compute(runs_of(name)[:1])
    _, rows, title = planted(runs_of, name, **{key: None for key in lacking if key in table.columns})
    assert "without <i>before</i>: drawn before untrained models" in title
    assert not [cell for row in rows for cell in row if "before:" in cell or "†" in cell or "‡" in cell]


def test_no_test_row_counts_twice() -> None:
    rows = torch.cat([tokens for tokens, _ in table4_explained_variance._test_activations(Memorization(n_keys=64))])
    assert len(torch.unique(rows, dim=0)) == len(rows) == 1000


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


def test_figure_2_names_its_heads_as_its_table_does() -> None:
    name = "figure2_attention"
    table = pl.read_csv(SHIPPED / f"{name}.csv")
    drawn = " ".join(note.text for note in FIGURES[name].plot(table).layout.annotations)
    named = {(int(layer), int(head)) for layer, head in re.findall(r"layer (\d+), head (\d+)", drawn)}
    assert named == set(table.filter(seed=table["seed"].min()).select("layer", "head").rows())
