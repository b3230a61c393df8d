"""Whether the paper's claims hold by our rows: planted tables of which the verdict is known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from shipped_page import shipped_table

from rtinterp.figures import claims, verdicts
from rtinterp.figures.claims import Claim, Finding, claims_table, findings
from rtinterp.figures.render import table_path
from rtinterp.papers.random_transformers import FIGURES
from rtinterp.papers.random_transformers.claims import CLAIMS

OWN, SMALLER = claims.SIZES
#: By what it is about.
BY_KEY = {
    "solve": CLAIMS[0], "narrow": CLAIMS[1], "subsets": CLAIMS[2], "heads": CLAIMS[3], "circles": CLAIMS[4],
    "clock": CLAIMS[5], "few directions": CLAIMS[6], "selection": CLAIMS[7], "memory is concentrated": CLAIMS[8],
    "language is concentrated": CLAIMS[9], "bits": CLAIMS[10], "imitation": CLAIMS[11], "language": CLAIMS[12],
}  # fmt: skip
PAPERS_TASKS = (
    "ModularAddition(p=199)",
    "NeedleInAHaystack(max_pairs=30, n_values=127)",
    "DecimalAddition(n_digits=10, score_first_digit=False)",
    "ParenthesisBalancing(max_pairs=30)",
)
TOYS = (
    "ModularAddition(p=79)",
    "NeedleInAHaystack(max_pairs=4, n_values=16)",
    "DecimalAddition(n_digits=2, score_first_digit=False)",
    "ParenthesisBalancing(max_pairs=10)",
)


def rows(n_seeds: int = 3, **columns: object) -> pl.DataFrame:
    """A row per seed of a wide random transformer at the paper's size; lists have a value per seed."""
    common = {
        "scale": "short", "source": "shipped", "task": PAPERS_TASKS[0], "body": "transformer", "n_layers": 2,
        "d_model": 1024, "trainable": "embeddings", "n_steps": 9, "batch_size": 9, "device": "cpu", "size": "wide",
        "n_test_rows": 4000, "n_effective_rows": 4000.0, "floor": "chance", "floor_accuracy": 0.1,
        "heuristic": "copy", "heuristic_accuracy": 0.5,
    }  # fmt: skip
    table = pl.DataFrame({"seed": range(1, n_seeds + 1)})
    for name, value in {**common, **columns}.items():
        table = table.with_columns(pl.Series(name, value if isinstance(value, list) else [value] * n_seeds))
    return table


def decided(key: str, *parts: pl.DataFrame) -> dict[str, verdicts.Verdict]:
    """The verdicts of a claim by size."""
    claim = BY_KEY[key]
    table = pl.concat(parts, how="diagonal_relaxed")
    return {one.size: one.verdict for one in findings([claim], {claim.figure: table})}


def of_tasks(tasks: Sequence[str], shares: Sequence[float], **columns: object) -> list[pl.DataFrame]:
    """Runs of which accuracies are known, task by task."""
    return [rows(task=task, test_accuracy=share, **columns) for task, share in zip(tasks, shares, strict=True)]


ALL = [1.0, 0.99, 1.0, 0.97]


def test_tasks_are_solved_if_all_intervals_are_above_the_bar() -> None:
    assert decided("solve", *of_tasks(PAPERS_TASKS, ALL)) == {OWN: "holds"}
    assert decided("solve", *of_tasks(PAPERS_TASKS, [*ALL[:3], 0.92])) == {OWN: "does not hold"}
    assert decided("solve", *of_tasks(PAPERS_TASKS, [*ALL[:3], 0.952])) == {OWN: "cannot be told"}, "the interval spans"
    assert decided("solve", *of_tasks(PAPERS_TASKS[:3], ALL[:3])) == {OWN: "cannot be told"}, "a task is missing"
    assert decided("solve", *of_tasks(PAPERS_TASKS, ALL, n_seeds=2)) == {OWN: "cannot be told"}
    few = of_tasks(PAPERS_TASKS, ALL, n_effective_rows=40.0)
    assert decided("solve", *few) == {OWN: "cannot be told"}
    assert decided("solve", *of_tasks(PAPERS_TASKS, ALL, heuristic_accuracy=0.98)) == {OWN: "does not hold"}


def test_what_is_uncertain_of_an_older_table_is_not_invented() -> None:
    parts = [part.drop("n_test_rows", "n_effective_rows") for part in of_tasks(PAPERS_TASKS, ALL)]
    assert decided("solve", *parts) == {OWN: "cannot be told"}
    assert decided("selection", directions(after=[0.9] * 3)) == {OWN: "cannot be told"}, (
        "untrained models are not there"
    )


def test_sizes_are_decided_apart() -> None:
    found = decided("solve", *of_tasks(PAPERS_TASKS, [0.5] * 4), *of_tasks(TOYS, ALL, scale="quick", d_model=512))
    assert found == {OWN: "does not hold", SMALLER: "holds"}
    assert decided("solve", *of_tasks(TOYS, ALL, scale="quick")) == {OWN: "cannot be told", SMALLER: "holds"}
    thin = of_tasks(PAPERS_TASKS, ALL, d_model=512)
    assert decided("solve", *thin) == {OWN: "cannot be told", SMALLER: "holds"}


def test_other_models_and_variants_of_tasks_do_not_count() -> None:
    good = of_tasks(PAPERS_TASKS, ALL)
    for other in (
        {"size": "narrow"},
        {"body": "lstm"},
        {"trainable": "all"},
        {"task": "DecimalAddition(n_digits=10, score_first_digit=True)"},
        {"task": "ParenthesisBalancing(max_pairs=30, short_strings='trained on')"},
    ):
        assert decided("solve", *good, rows(test_accuracy=0.0, **other))[OWN] == "holds"
        toys = {**other, "task": re.sub(r"=\d+", "=2", other.get("task", TOYS[0]))}
        found = decided("solve", rows(test_accuracy=0.0, **toys), *of_tasks(TOYS, ALL, scale="quick"))
        assert found[SMALLER] == "holds"


def test_narrow_models_and_fewer_embeddings_have_to_fail() -> None:
    narrow = {"size": "narrow", "d_model": 16}
    assert decided("narrow", *of_tasks(PAPERS_TASKS, [0.1, 0.2, 0.3, 0.8], **narrow)) == {OWN: "holds"}
    assert decided("narrow", *of_tasks(PAPERS_TASKS, [0.1, 0.2, 0.3, 0.99], **narrow)) == {OWN: "does not hold"}
    subsets = [
        *of_tasks(PAPERS_TASKS, [0.1] * 4, trainable="unembedding"),
        rows(trainable="input_embeddings", test_accuracy=0.0),
        # Of which the paper says nothing.
        rows(trainable="input_embeddings", task=PAPERS_TASKS[1], test_accuracy=1.0),
    ]
    last = {"trainable": "token_embedding+unembedding", "task": PAPERS_TASKS[2]}
    assert decided("subsets", *subsets, rows(**last, test_accuracy=0.5)) == {OWN: "holds"}
    assert decided("subsets", *subsets, rows(**last, test_accuracy=1.0)) == {OWN: "does not hold"}
    assert decided("subsets", *subsets) == {OWN: "cannot be told"}


def heads(marker: list[float], retrieval: list[float], before: list[float]) -> pl.DataFrame:
    scores = {("marker", "trained"): marker, ("retrieval", "trained"): retrieval}
    scores |= {(role, "initial"): before for role in ("marker", "retrieval")}
    return pl.concat(
        rows(task=PAPERS_TASKS[1], role=role, state=state, score=values) for (role, state), values in scores.items()
    )


def test_heads_have_to_look_where_they_should_and_more_than_before() -> None:
    good, low = [0.8, 0.85, 0.9], [0.1] * 3
    assert decided("heads", heads(good, good, low)) == {OWN: "holds"}
    assert decided("heads", heads(good, [0.2] * 3, low)) == {OWN: "does not hold"}
    assert decided("heads", heads(good, [0.3, 0.5, 0.9], low)) == {OWN: "cannot be told"}
    assert decided("heads", heads(good, good, [0.95] * 3)) == {OWN: "does not hold"}
    assert decided("heads", heads(good, good, [0.1, 0.1, 0.82])) == {OWN: "cannot be told"}


def test_circles_and_clocks_are_decided_by_every_seed() -> None:
    def circles(best: list[float]) -> pl.DataFrame:
        return pl.concat([rows(r_squared=best), rows(r_squared=0.01)])

    assert decided("circles", circles([0.6, 0.7, 0.8])) == {OWN: "holds"}
    assert decided("circles", circles([0.4, 0.7, 0.8])) == {OWN: "cannot be told"}
    assert decided("circles", circles([0.4, 0.3, 0.2])) == {OWN: "does not hold"}
    clock = {"gradient_symmetricity": [0.3, 0.2, 0.4], "distance_irrelevance": 0.9}
    assert decided("clock", rows(**clock)) == {OWN: "holds"}
    assert decided("clock", rows(**clock | {"gradient_symmetricity": 0.88})) == {OWN: "does not hold"}
    assert decided("clock", rows(**clock | {"distance_irrelevance": [0.9, 0.9, 0.2]})) == {OWN: "cannot be told"}


def directions(after: list[float], before: list[float] | None = None, **columns: object) -> pl.DataFrame:
    """Rows of all layers, of which the last counts."""
    shares = {"share_principal_components": after, "test_accuracy": 1.0, "layer": 1}
    shares |= {} if before is None else {"share_principal_components_untrained": before}
    return pl.concat(
        rows(task=task, **{**shares, **columns, **site})
        for task in PAPERS_TASKS
        for site in ({}, {"layer": 0, "share_principal_components": 0.123})
    )


def test_few_directions_and_selection_are_decided_of_the_last_layer_of_models_that_have_learnt() -> None:
    assert decided("few directions", directions([0.6, 0.7, 0.9])) == {OWN: "holds"}
    assert decided("few directions", directions([0.4, 0.7, 0.9])) == {OWN: "cannot be told"}
    assert decided("few directions", directions([0.3] * 3)) == {OWN: "does not hold"}
    assert decided("few directions", directions([0.6] * 3, test_accuracy=0.1)) == {OWN: "cannot be told"}
    assert decided("selection", directions([0.3] * 3, [0.2, 0.1, 0.2])) == {OWN: "holds"}
    assert decided("selection", directions([0.9] * 3, [0.95, 0.1, 0.2])) == {OWN: "cannot be told"}
    assert decided("selection", directions([0.9] * 3, [0.95, 0.9, 0.99])) == {OWN: "does not hold"}


#: Claim, the columns of its rows at the paper's size, and what random and normal models have where it holds.
ORDERS = [
    ("bits", {"task": "Memorization(n_keys=512)", "d_model": 128, "learning_rate": 5e-3, "weight_decay": 1e-4},
     "bits_per_parameter", [0.4, 0.5, 0.6], [2.0, 2.5, 3.0]),
    ("memory is concentrated", {"task": "Memorization(n_keys=512)", "d_model": 128, "layer": 1},
     "share_principal_components", [0.8, 0.9, 0.9], [0.5, 0.6, 0.7]),
    ("language is concentrated",
     {"task": "LanguageModelling(corpus=0, d_vocab=10000, context_length=512)", "d_model": 512, "layer": 1},
     "share_principal_components", [0.8, 0.9, 0.9], [0.5, 0.6, 0.7]),
    ("language", {"task": "LanguageModelling(corpus=0, d_vocab=10000, context_length=512)", "d_model": 512},
     "test_loss", [2.8, 2.9, 2.9], [1.5, 1.6, 1.7]),
]  # fmt: skip


@pytest.mark.parametrize(("key", "columns", "column", "random", "normal"), ORDERS, ids=[key for key, *_ in ORDERS])
def test_random_models_are_compared_with_fully_trained_ones(key, columns, column, random, normal) -> None:
    def verdict(random: list[float], normal: list[float]) -> str:
        kinds = (rows(len(of), trainable=t, **columns, **{column: of}) for t, of in
                 (("embeddings", random), ("all", normal)))  # fmt: skip
        return decided(key, *kinds)[OWN]

    assert verdict(random, normal) == "holds"
    assert verdict(normal, random) == "does not hold"
    assert verdict([*random[:2], normal[0]], [*normal[:2], random[0]]) == "cannot be told"
    assert verdict(random[:2], normal) == "cannot be told"


def test_several_times_fewer_bits_are_three_times() -> None:
    def verdict(random: float) -> str:
        columns = ORDERS[0][1]
        kinds = (rows(trainable=t, bits_per_parameter=bits, **columns) for t, bits in
                 (("embeddings", random), ("all", 3.0)))  # fmt: skip
        return decided("bits", *kinds)[OWN]

    assert (verdict(0.99), verdict(1.01)) == ("holds", "does not hold")


def test_wide_targets_have_to_be_imitated_worse() -> None:
    def verdict(narrow: float, wide: float, normal_wide: float) -> str:
        divergences = {("embeddings", 4): narrow, ("embeddings", 128): wide, ("all", 4): 0.0, ("all", 128): normal_wide}
        task = "CircuitImitation(target_d_model={}, target_n_layers=3, target_seed=0, n_tokens=40, d_vocab=512)"
        parts = (
            rows(task=task.format(width), d_model=512, trainable=kind, target_d_model=width, test_kl=kl)
            for (kind, width), kl in divergences.items()
        )
        return decided("imitation", *parts)[OWN]

    assert verdict(0.01, 0.5, 0.1) == "holds"
    assert verdict(0.5, 0.01, 0.001) == "does not hold"
    assert verdict(0.01, 0.5, 0.6) == "does not hold"


def found_in(name: str, table: pl.DataFrame) -> list[Finding]:
    return list(findings(CLAIMS, {name: table}))


def test_every_claim_is_on_a_figure_and_its_rule_is_told() -> None:
    tables = {claim.figure: shipped_table(claim.figure) for claim in CLAIMS}
    found = list(findings(CLAIMS, tables))
    assert {claim.figure for claim in CLAIMS} <= set(FIGURES)
    assert len({claim.published for claim in CLAIMS}) == len(CLAIMS)
    for one in found:
        assert not one.rows["quantity"].is_duplicated().any(), "each number is of one thing"
        assert one.rows["ours_median"].is_not_nan().all()
        assert one.claim.rule.endswith("there are at least 3 seeds")
        if one.rows.is_empty():
            assert (one.size, one.verdict_in_words, one.sentence()) == (OWN, "cannot be told: no rows bear on it", "")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.published[:40])
def test_every_number_comes_from_the_rows(claim: Claim) -> None:
    """With every value halved, every median is."""
    table = shipped_table(claim.figure)
    columns = {item.column for item in claim.evidence(table)}
    if not columns & set(table.columns):
        pytest.skip("the shipped table is older than the column")
    halved = table.with_columns(pl.col(name) / 2 for name in columns)
    medians = [
        [value for one in findings([claim], {claim.figure: of}) for value in one.rows["ours_median"]]
        for of in (table, halved)
    ]
    assert medians[1] == pytest.approx([value / 2 for value in medians[0]])
    assert medians[0]


def test_the_sentence_tells_each_median_and_where_it_is_from() -> None:
    table = shipped_table("table3_memorization").with_columns(
        bits_per_parameter=pl.when(trainable="all").then(3.0).otherwise(0.5) + 0.25 * (pl.col("seed") - 1)
    )
    *_, one = found_in("table3_memorization", table)
    numbers = "random transformer 0.50, fully trained 3.00"
    assert (
        one.sentence()
        == f"Bits per trainable parameter: {numbers} (quick scale, width 16, medians of 3 seeds, shipped)."
    )
    *_, one = found_in("table3_memorization", table.filter(pl.col("seed") == 2).with_columns(scale=pl.lit("paper")))
    assert one.sentence("<b>{}</b>").endswith("fully trained <b>3.25</b> (paper scale, width 16, 1 seed, shipped).")


def test_a_verdict_tells_of_what_it_is_another() -> None:
    parts: verdicts.Parts = {"a": "holds", "b": "cannot be told", "c": "holds"}
    assert verdicts.in_words(parts) == "cannot be told (holds: a, c; cannot be told: b)"
    assert (
        verdicts.in_words({**parts, "a": "does not hold"})
        == "does not hold (does not hold: a; holds: c; cannot be told: b)"
    )
    assert verdicts.in_words({"a": "holds", "b": "holds"}) == "holds"
    assert verdicts.together({}) == "cannot be told"


def test_the_table_of_claims_has_a_row_for_each_size_and_the_list_one_for_each_claim() -> None:
    parts = [*of_tasks(PAPERS_TASKS, [*ALL[:3], 0.5]), *of_tasks(TOYS, ALL, scale="quick", d_model=512)]
    claim = BY_KEY["solve"]
    table = claims_table(findings([claim], {claim.figure: pl.concat(parts)}))
    assert table.select("size", "verdict", "scale", "n_seeds", "d_model").rows() == [
        (OWN, "does not hold", "short", "3", "1024"), (SMALLER, "holds", "quick", "3", "512"),
    ]  # fmt: skip
    assert set(table["rule"]) == {claim.rule}
    *_, line = claims.as_markdown(table).splitlines()
    own, smaller = (
        "does not hold (does not hold: parenthesis balancing; holds: modular addition, needle in a haystack, decimal "
        "addition); short scale, width 1024, seeds: 3",
        "holds; quick scale, width 512, seeds: 3",
    )
    assert line == f"| {claim.published} | {own} | {smaller} | {claim.rule} |"


def test_the_list_of_shipped_claims_is_the_table_that_is_committed() -> None:
    repository = Path(__file__).parents[2]
    path = table_path(claims.NAME, repository / "figures" / "random_transformers")
    committed = pl.read_csv(path, infer_schema_length=None)
    assert claims.as_markdown(committed) in (repository / "figures" / "README.md").read_text(encoding="utf-8")


def test_what_no_table_bears_on_is_left_out() -> None:
    assert not list(findings(CLAIMS, {}))
    assert not found_in("table3_memorization", shipped_table("table3_memorization").clear())
