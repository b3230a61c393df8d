"""Each figure computes what it says from its runs, and plots its whole table."""

from __future__ import annotations

import dataclasses
import math

import polars as pl
import pytest
import torch
from sklearn.decomposition import PCA

from rtinterp.analysis import correct_logits, distance_irrelevance, gradient_symmetricity
from rtinterp.figures.figure import run_columns
from rtinterp.models.build import build_model
from rtinterp.models.parameters import TOKEN_EMBEDDING
from rtinterp.papers.random_transformers import FIGURES, figure2_attention, figure3_embeddings
from rtinterp.tasks import NeedleInAHaystack
from rtinterp.training.run import Run

#: Figures that count what needs no run have no seeds and no budget either.
OF_RUNS = [name for name, figure in FIGURES.items() if figure.experiment is not None]


@pytest.mark.parametrize("name", OF_RUNS)
def test_every_row_names_its_run(name: str, runs_of) -> None:
    runs = runs_of(name)
    table = FIGURES[name].compute(runs)
    columns = list(run_columns(runs[0]))
    assert table.columns[: len(columns)] == columns
    assert set(table.select(columns).unique().iter_rows()) == {tuple(run_columns(run).values()) for run in runs}
    # The paper does not report everything, an embedding is after no layer, and sums alone have twins.
    ours = table.select(pl.exclude("^paper_.*$", "layer", "^.*_without_twin$"))
    assert ours.null_count().sum_horizontal().item() == 0


@pytest.mark.parametrize("name", OF_RUNS)
def test_a_plot_reads_its_table_alone_and_says_how_it_was_made(name: str, runs_of) -> None:
    table = FIGURES[name].compute(runs_of(name))
    plotted = FIGURES[name].plot(pl.read_csv(table.write_csv().encode()))
    text = plotted.layout.title.text
    assert "3 steps × 16" in text
    assert "2 seeds" in text
    assert "width" in text
    assert plotted.data


def planted_circle(run: Run, frequency: int) -> Run:
    """The run with its residues on one circle, in a random plane, far above some noise."""
    p, d_model = run.spec.task.p, run.spec.model.d_model
    generator = torch.Generator().manual_seed(3)
    plane = torch.linalg.qr(torch.randn(d_model, 2, generator=generator)).Q
    angles = 2 * math.pi * frequency * torch.arange(p) / p
    circle = torch.stack([angles.cos(), angles.sin()], dim=1) @ plane.T
    noise = 0.02 * torch.randn(p, d_model, generator=generator)
    return dataclasses.replace(run, trained={**run.trained, TOKEN_EMBEDDING: circle + noise})


def test_figure_3_finds_a_planted_circle(runs_of) -> None:
    table = figure3_embeddings.compute([planted_circle(runs_of("figure3_embeddings")[0], frequency=5)])
    first = table.filter(pl.col("circle") == 1)
    assert set(first["frequency"]) == {5}
    assert (first["component_x"][0], first["component_y"][0]) == (1, 2)
    assert first["r_squared"][0] > 0.95
    assert first["dominant_share"][0] > 0.9
    assert first["residue"].to_list() == list(range(13))


def test_figure_3_coordinates_are_principal_components(runs_of) -> None:
    run = runs_of("figure3_embeddings")[0]
    table = figure3_embeddings.compute([run])
    expected = PCA(10).fit_transform(run.trained[TOKEN_EMBEDDING].numpy())
    for circle in (1, 2, 3):
        panel = table.filter(pl.col("circle") == circle)
        for axis in ("x", "y"):
            column = expected[:, panel[f"component_{axis}"][0] - 1]
            assert abs(panel[axis].to_numpy()) == pytest.approx(abs(column), abs=1e-5)


def test_figure_3_measures_the_circuit_of_each_run_and_says_what_it_is_like(runs_of) -> None:
    runs = runs_of("figure3_embeddings")
    table = figure3_embeddings.compute(runs)
    for run, of_run in zip(runs, table.partition_by("seed", maintain_order=True), strict=True):
        (row,) = of_run.select("^gradient_.*$", "^distance_.*$", "n_triples", "n_distances").unique().to_dicts()
        irrelevance = distance_irrelevance(correct_logits(run.model, run.spec.task))
        assert row["distance_irrelevance"] == pytest.approx(irrelevance, abs=1e-6), "13 distances are all of them"
        assert row["n_distances"] == 13
        assert row["n_triples"] == figure3_embeddings.N_TRIPLES
        few = gradient_symmetricity(run.model, run.spec.task, torch.Generator().manual_seed(8), 300)
        assert row["gradient_symmetricity"] == pytest.approx(few, abs=0.1)
        for name in ("gradient_symmetricity", "distance_irrelevance"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


@pytest.mark.parametrize(("measures", "like"), [((0.3, 0.9), "clock"), ((0.95, 0.3), "pizza")])
def test_figure_3_compares_with_the_reference_and_does_without_intervals(runs_of, measures, like) -> None:
    """Tables of earlier drawings have no intervals, or have them in some of their rows."""
    names = ("gradient_symmetricity", "distance_irrelevance")
    table = figure3_embeddings.compute(runs_of("figure3_embeddings")).with_columns(
        **{name: pl.lit(value) for name, value in zip(names, measures, strict=True)}
    )
    of_second = pl.when(pl.col("seed") == 1)
    some = table.with_columns(of_second.then(pl.col("^.*_(low|high)$")).name.keep())
    for older in (table.drop("^.*_(low|high)$"), some):
        title = figure3_embeddings.plot(older).layout.title.text
        assert f"2 of 2 {like}-like" in title
        assert "a clock 0.33 and 0.85, a pizza 0.99 and 0.17; the paper prints 0.88 and 0.88" in title
        assert f"gradient symmetricity {measures[0]:.2f}, {measures[0]:.2f}" in title


def head_scores(task: NeedleInAHaystack, model, n_sequences: int) -> dict[str, list[float]]:
    """Mean weights of each head, counted one by one: of values on their markers, and of the query on its value."""
    tokens = task.test_set().tokens[:n_sequences]
    _, cache = model.run_with_cache(tokens)
    scores = {}
    for layer, role in enumerate(("marker", "retrieval")):
        weights = [[] for _ in range(model.cfg.n_heads)]
        for sequence, row in enumerate(tokens.tolist()):
            query = next(pos for pos, token in enumerate(row) if token >= task.query_token(0))
            value_of = {row[pos]: pos + 1 for pos in range(0, query, 2)}
            pairs = [(pos, pos - 1) for pos in value_of.values()]
            if role == "retrieval":
                pairs = [(query, value_of[row[query] - task.max_pairs])]
            for head in range(model.cfg.n_heads):
                pattern = cache["pattern", layer][sequence, head]
                weights[head] += [pattern[q, k].item() for q, k in pairs]
        scores[role] = [sum(of_head) / len(of_head) for of_head in weights]
    return scores


def test_figure_2_tells_what_goes_to_other_values(runs_of) -> None:
    """Counted one by one: all values of the sequence but the one that attends, or the one that is asked for."""
    run = runs_of("figure2_attention")[0]
    task = run.spec.task
    tokens = task.test_set().tokens[: figure2_attention.N_SCORED_SEQUENCES]
    _, cache = run.model.run_with_cache(tokens)
    table = figure2_attention.compute([run])
    for layer, role in enumerate(("marker", "retrieval")):
        rows = table.filter(pl.col("role") == role, pl.col("state") == "trained")
        weights = []
        for sequence, row in enumerate(tokens.tolist()):
            query = next(pos for pos, token in enumerate(row) if token >= task.query_token(0))
            values = range(1, query, 2)
            asked_for = next(pos for pos in values if row[pos - 1] == row[query] - task.max_pairs)
            pattern = cache["pattern", layer][sequence, rows["head"][0]]
            attending = [(pos, pos) for pos in values] if role == "marker" else [(query, asked_for)]
            weights += [sum(pattern[at, v].item() for v in values if v != own) for at, own in attending]
        assert rows["weight_on_other_values"][0] == pytest.approx(sum(weights) / len(weights), abs=1e-5)
    older = figure2_attention.plot(table.drop("weight_on_other_values"))
    assert "other values" not in older.layout.annotations[0].text
    assert "other values" in figure2_attention.plot(table).layout.annotations[0].text


def test_figure_2_shows_the_heads_with_the_highest_scores_after_training_in_both_states(runs_of) -> None:
    """The models before and after training are two with other bodies, of which other heads score highest."""
    run = dataclasses.replace(runs_of("figure2_attention")[0])
    task = run.spec.task
    for name, seed in (("model", 3), ("initial_model", 7)):
        model = build_model(task, run.spec.model, seed)
        # Nearly uniform attention would make every pattern look alike.
        model.W_E.data *= 50
        run.__dict__[name] = model
    scores = {
        state: head_scores(task, model, figure2_attention.N_SCORED_SEQUENCES)
        for state, model in (("trained", run.model), ("initial", run.initial_model))
    }
    best = {role: of_heads.index(max(of_heads)) for role, of_heads in scores["trained"].items()}
    for role, of_heads in scores["initial"].items():
        assert of_heads.index(max(of_heads)) != best[role], "the test needs other models"
    example = task.sequence(**figure2_attention.EXAMPLE)[:9]
    table = figure2_attention.compute([run])
    for state, model in (("trained", run.model), ("initial", run.initial_model)):
        _, cache = model.run_with_cache(example[None])
        for layer, (role, head) in enumerate(best.items()):
            rows = table.filter(pl.col("role") == role, pl.col("state") == state)
            assert (set(rows["layer"]), set(rows["head"])) == ({layer}, {head})
            assert rows["score"][0] == pytest.approx(scores[state][role][head], abs=1e-5)
            weights = cache["pattern", layer][0, head]
            assert rows["weight"].to_list() == pytest.approx(weights.flatten().tolist(), abs=1e-6)
