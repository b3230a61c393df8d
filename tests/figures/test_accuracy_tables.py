"""Tables 1, 2 and 9 and figure 7: every model in its own cell, the paper's numbers apart, counts by brute force."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
import torch
from torch import Tensor

from rtinterp.analysis import accuracy, bootstrap_median, wilson
from rtinterp.figures import style
from rtinterp.figures.figure import run_columns
from rtinterp.papers.random_transformers import FIGURES, figure7_width, published, table1_accuracy
from rtinterp.tasks import DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.run import Run


def with_accuracy(run: Run, share: float, seed: int | None = None) -> Run:
    """The run as if it had ended with that accuracy."""
    spec = run.spec if seed is None else run.spec.with_seed(seed)
    history = run.history.with_columns(test_accuracy=pl.lit(share))
    return dataclasses.replace(run, spec=spec, history=history)


def planted(runs: list[Run], name: str) -> tuple[list[Run], dict[Run, float], list[list[str]], list[str]]:
    """Runs of distinct accuracies, these by run, and the rows and the header of the plotted table."""
    shares = {id(run): (index + 1) / (len(runs) + 1) for index, run in enumerate(runs)}
    changed = [with_accuracy(run, shares[id(run)]) for run in runs]
    table = FIGURES[name].compute(changed)
    plotted = FIGURES[name].plot(pl.read_csv(table.write_csv().encode())).data[0]
    rows = [list(row) for row in zip(*plotted.cells.values, strict=True)]
    header = [re.sub("</?b>", "", text).replace("<br>", " ") for text in plotted.header["values"]]
    return changed, rows, header


def cell_of(runs: list[Run], task: object, **where: object) -> str:
    """Median, mark, interval and range of the runs of one kind, computed afresh."""
    shares = [
        run.test_accuracy
        for run in runs
        if run.spec.task == task and where.items() <= {**run_columns(run), "task": task}.items()
    ]
    if not shares and getattr(task, "score_first_digit", False):
        return ""
    assert len(shares) == 2
    least, most = sorted(shares)
    n = n_effective(task)
    low, high, _ = bootstrap_median(shares, [n, n], torch.Generator().manual_seed(0))
    floors = task.floors()
    guess = floors.get("chance", min(floors.values()))
    mark = " †" if low <= guess else " ‡" if low <= max(floors.values()) else ""
    interval = style.small(f"[{low * 100:.1f}, {high * 100:.1f}]")
    return f"{(least + most) * 50:.1f}{mark}{interval}" + style.small(f"{least * 100:.1f} to {most * 100:.1f}")


def n_effective(task: object) -> float:
    counts = Counter(map(tuple, task.test_set().tokens.tolist()))
    return counts.total() ** 2 / sum(n * n for n in counts.values())


TABLE_1 = {
    "random wide": {"body": "transformer", "d_model": 24, "trainable": "embeddings"},
    "normal wide": {"body": "transformer", "d_model": 24, "trainable": "all"},
    "random narrow": {"body": "transformer", "d_model": 16, "trainable": "embeddings"},
    "normal narrow": {"body": "transformer", "d_model": 16, "trainable": "all"},
    "LSTM trained": {"body": "lstm", "trainable": "all"},
    "LSTM random": {"body": "lstm", "trainable": "embeddings"},
}
TABLE_2 = {
    "unembedding": {"trainable": "unembedding"},
    "input embeddings (token, position)": {"trainable": "input_embeddings"},
    "token embedding, unembedding": {"trainable": "token_embedding+unembedding"},
    "all embeddings": {"trainable": "embeddings"},
}
TABLE_9 = {
    "linearised (prefix sums)": {"body": "linearised transformer"},
    "softmax attention": {"body": "transformer"},
}


@pytest.mark.parametrize(
    ("name", "columns"),
    [("table1_accuracy", TABLE_1), ("table2_subsets", TABLE_2), ("table9_linearised", TABLE_9)],
)
def test_every_kind_of_model_stands_in_its_own_cell(name: str, columns: dict, runs_of) -> None:
    runs, rows, header = planted(runs_of(name), name)
    assert header[1:-1] == list(columns)
    rows = [row for row in rows if "exact match" not in row[0] and "twins apart" not in row[0]]
    tasks = list(dict.fromkeys(run.spec.task for run in runs))
    assert [style.task_title(repr(task)) for task in tasks] == [row[0].split("<br>")[0] for row in rows]
    n_shown = 0
    for task, row in zip(tasks, rows, strict=True):
        for text, where in zip(row[1:-1], columns.values(), strict=True):
            assert text == cell_of(runs, task, **where)
            n_shown += 2 * bool(text)
        for floor in shown_floors(task):
            assert f"{floor * 100:.1f}" in row[-1]
    assert n_shown == len(runs), "every run is in a cell"


def test_where_models_have_unequal_numbers_of_seeds_every_cell_tells_its_own(runs_of) -> None:
    table = FIGURES["table1_accuracy"].compute(runs_of("table1_accuracy"))
    is_one = (pl.col("body") == "lstm") & (pl.col("trainable") == "all") & (pl.col("seed") == table["seed"].max())
    first = table["task"][0]
    columns = FIGURES["table1_accuracy"].plot(table.filter(~is_one | (pl.col("task") != first))).data[0].cells.values
    uneven, *others = [row for row in zip(*columns, strict=True) if "seeds" in row[0]]
    assert "1 to 2 seeds" in uneven[0]
    told = [[f"{n} seed" in cell for cell in uneven[1:-1]] for n in (1, 2)]
    assert told == [[False] * 4 + [True, False], [True] * 4 + [False, True]]
    assert others
    assert not any("seed" in cell for row in others for cell in row[1:])


#: Task, then the paper's numbers by column of table 1 where one may be printed.
PAPER_1 = {
    ModularAddition(): {"random wide": "100", "random narrow": "1.3", "normal narrow": "97.2"},
    NeedleInAHaystack(): {"random wide": "100", "LSTM trained": "99.5"},
    DecimalAddition(): {"random wide": "100", "normal narrow": "67.5", "LSTM trained": "53"},
    DecimalAddition(score_first_digit=True): {},
    ParenthesisBalancing(): {"random wide": "100", "random narrow": "87.3", "normal wide": "92.3"},
}
PAPER_2 = {
    ModularAddition(): dict.fromkeys(["unembedding", "input embeddings (token, position)"], "fails"),
    NeedleInAHaystack(): {"unembedding": "fails"},
    DecimalAddition(): dict.fromkeys(["unembedding", "token embedding, unembedding"], "fails"),
    ParenthesisBalancing(): {"unembedding": "fails"},
}
TABLES = {
    "table1_accuracy": (PAPER_1, TABLE_1),
    "table2_subsets": ({task: {**said, "all embeddings": "solves"} for task, said in PAPER_2.items()}, TABLE_2),
    "table9_linearised": ({task: {} for task in PAPER_2}, TABLE_9),
}


def planted_rows(columns: dict, tasks: Iterable[object], widths: dict[int, int], **more: object) -> pl.DataFrame:
    """A row for each task and kind of model, wide and narrow ones as wide as told, as tables of accuracy have it."""
    kinds = [{"body": "transformer", "trainable": "embeddings", "d_model": 24, **kind} for kind in columns.values()]
    rows = [
        {
            "scale": "planted", "source": "shipped", "task": repr(task), **kind, "d_model": widths[kind["d_model"]],
            "seed": seed, "n_layers": 2, "n_steps": 9, "batch_size": 9, "device": "cpu",
            "size": "narrow" if kind["d_model"] == 16 else "wide", "test_accuracy": 0.9, "exact_match": 0.8,
            "n_scored": 1, "floor": "chance", "floor_accuracy": 0.1, "heuristic": "copy", "heuristic_accuracy": 0.5,
            **more,
        }
        for task in tasks for kind in kinds for seed in (0, 1)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def cells_of(figure: go.Figure) -> list[dict[str, str]]:
    """The rows of a drawn table, by column."""
    header = [re.sub("</?b>", "", text).replace("<br>", " ") for text in figure.data[0].header["values"]]
    return [dict(zip(header, row, strict=True)) for row in zip(*figure.data[0].cells.values, strict=True)]


def quotes(figure: go.Figure) -> list[dict[str, str]]:
    """What each row says of the paper, by column."""
    found = ({column: re.search(r"paper: ([\w.]+)", text) for column, text in row.items()} for row in cells_of(figure))
    return [{column: match.group(1) for column, match in row.items() if match} for row in found]


@pytest.mark.parametrize("name", TABLES)
def test_the_paper_is_quoted_at_its_own_sizes_where_it_is_known(name: str) -> None:
    known, columns = TABLES[name]
    figure = FIGURES[name].plot(planted_rows(columns, known, {24: 1024, 16: 16}))
    assert quotes(figure) == list(known.values())


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    ("widths", "tasks"),
    [
        ({24: 512, 16: 32}, [ModularAddition(), NeedleInAHaystack()]),
        ({24: 1024, 16: 16}, [ModularAddition(p=79), NeedleInAHaystack(4, 16), DecimalAddition(2)]),
    ],
    ids=["other widths", "other tasks"],
)
def test_models_of_other_sizes_have_no_word_of_the_paper_beside_them(name: str, widths: dict, tasks: list) -> None:
    # As tables had it that were drawn when the paper stood beside all of ours.
    table = planted_rows(TABLES[name][1], tasks, widths, paper_accuracy=1.0, paper_statement="solves")
    figure = FIGURES[name].plot(table)
    assert quotes(figure) == [{}] * len(tasks)
    assert ("its numbers do not stand here" in figure.layout.title.text) == (name != "table9_linearised")


def test_what_the_paper_says_is_not_among_our_numbers(runs_of) -> None:
    for name in ("table1_accuracy", "table2_subsets"):
        table = FIGURES[name].compute(runs_of(name)[:1])
        assert not [column for column in table.columns if column.startswith("paper_")]
    assert all(number.printable for number in (*published.ACCURACY.values(), *published.STATEMENTS.values()))
    assert not published.Published(0.5, "somewhere", "unconfirmed").printable


#: Accuracy, rows, and the mark that it has between guessing at .1 and a heuristic at .5.
MARKS = [(0.1, 10**6, "†"), (0.12, 30, "†"), (0.12, 10**6, "‡"), (0.55, 30, "‡"), (0.55, 10**6, ""), (1.0, 3, "‡")]


@pytest.mark.parametrize(("share", "n_rows", "mark"), MARKS)
def test_models_that_are_not_surely_above_a_floor_are_marked(share: float, n_rows: int, mark: str) -> None:
    counted = {"n_test_rows": n_rows, "n_effective_rows": float(n_rows), "test_accuracy": share}
    table = planted_rows({"all": {}}, [ModularAddition(p=79)], {24: 24}, **counted)
    (row,) = cells_of(FIGURES["table2_subsets"].plot(table))
    assert row["all embeddings"].split("<br>")[0] == f"{share * 100:.1f} {mark}".rstrip()
    assert f"{n_rows:,} test rows" in row["task"]


def test_one_seed_has_the_interval_of_its_rows_and_says_so() -> None:
    table = planted_rows({"all": {}}, [ModularAddition(p=79)], {24: 24}, n_test_rows=100, n_effective_rows=40.0)
    (row,) = cells_of(FIGURES["table2_subsets"].plot(table.filter(seed=0)))
    low, high = (round(end * 100, 1) for end in wilson(36, 40)[:2])
    assert f"[{low}, {high}] rows" in row["all embeddings"]
    assert "100 test rows that count as 40" in row["task"]


@pytest.mark.parametrize("is_lacking", [True, False], ids=["no column", "some rows"])
def test_rows_that_were_drawn_before_test_rows_were_counted_have_no_interval_and_say_so(is_lacking: bool) -> None:
    older = planted_rows({"all": {}}, [ModularAddition(p=79)], {24: 24})
    if not is_lacking:
        counted = {"n_test_rows": 100, "n_effective_rows": 100.0}
        newer = planted_rows({"all": {}}, [ModularAddition(p=83)], {24: 24}, **counted)
        older = pl.concat([older, newer], how="diagonal_relaxed")
    for name in ("table1_accuracy", "table2_subsets", "table9_linearised", "figure7_width"):
        figure = FIGURES[name].plot(older)
        assert "drawn before test rows were counted" in figure.layout.title.text
        if name != "figure7_width":
            row, *newer = cells_of(figure)
            cells = [text for text in row.values() if "90.0" in text]
            assert cells
            assert "[" not in "".join(cells)
            assert "test rows not counted" in row["task"]
            assert all("[" in "".join(one.values()) for one in newer)


def sums_but_for(run: Run, is_wrong: Callable[[list[int], int], bool]) -> Run:
    """The run with a model that adds, and errs where told, by the sequence and the position."""
    tokens = run.spec.task.test_set().tokens
    n_pos = tokens.shape[1] - 1
    full = {tuple(row[:n_pos]): row for row in tokens.tolist()}

    def model(read: Tensor) -> Tensor:
        answers = []
        for row in read.tolist():
            whole = full[tuple(row)]
            answers.append([0 if is_wrong(whole, pos) else whole[pos + 1] for pos in range(n_pos)])
        return torch.nn.functional.one_hot(torch.tensor(answers), run.spec.task.d_vocab).float()

    changed = dataclasses.replace(run)
    changed.__dict__["model"] = model
    return changed


def test_exact_match_in_table_1_equals_a_count_by_hand(runs_of) -> None:
    runs = runs_of("table1_accuracy")
    run = next(run for run in runs if isinstance(run.spec.task, DecimalAddition))
    task = run.spec.task
    first, last = task.equals_position + 1, task.sequence_length - 2
    # The prediction at "=" is not scored, so an error there does not count.
    run = sums_but_for(
        run, lambda row, pos: pos == task.equals_position or (pos, row[0]) == (last, 7) or (pos, row[1]) == (first, 3)
    )
    rows = task.test_set().tokens.tolist()
    n_right = sum(row[0] != 7 and row[1] != 3 for row in rows)
    assert 0 < n_right < len(rows)
    table = table1_accuracy.compute([run])
    assert table["exact_match"].item() == pytest.approx(n_right / len(rows))
    assert table["n_scored"].item() == last - first + 1 == 3
    row = next(row for row in zip(*table1_accuracy.plot(table).data[0].cells.values, strict=True) if "exact" in row[0])
    assert "all 3 scored predictions" in row[0]
    low, high, _ = wilson(n_right / len(rows) * n_effective(task), n_effective(task))
    cell = f"{n_right / len(rows):.1%}".rstrip("%") + style.small(f"[{low * 100:.1f}, {high * 100:.1f}] rows")
    assert cell in row


def test_pairs_without_a_trained_twin_have_a_row_of_their_own(runs_of) -> None:
    """A model that knows commuted training pairs and nothing else is right on all pairs but these."""
    run, task = runs_of("table1_accuracy")[0], ModularAddition(p=79)
    run = dataclasses.replace(run, spec=dataclasses.replace(run.spec, task=task))
    rows = task.test_set().tokens.tolist()
    tested = {(a, b) for a, b, _ in rows}
    alone = [(a, b) for a, b in tested if (b, a) in tested]
    assert 0 < len(alone) < len(rows)

    def model(read: Tensor) -> Tensor:
        answers = [[0, -1 if (b, a) in tested else (a + b) % task.p] for a, b in read[:, :2].tolist()]
        return torch.nn.functional.one_hot(torch.tensor(answers) % task.p, task.p).float()

    changed = dataclasses.replace(run)
    changed.__dict__["model"] = model
    expected = sum((a + b) % task.p == task.p - 1 for a, b in alone) / len(alone)
    table = table1_accuracy.compute([changed])
    assert table.select("n_rows_without_twin", "accuracy_without_twin").row(0) == (len(alone), pytest.approx(expected))
    (row,) = (row for row in cells_of(table1_accuracy.plot(table)) if "twins apart" in row["task"])
    assert f"(b, a) not trained on: {len(alone)} rows" in row["task"]
    low, high, _ = wilson(expected * len(alone), len(alone))
    cell = f"{expected * 100:.1f} †" + style.small(f"[{low * 100:.1f}, {high * 100:.1f}] rows")
    assert cell in row.values()


def test_tasks_without_twins_have_no_such_row(runs_of) -> None:
    run = next(run for run in runs_of("table1_accuracy") if isinstance(run.spec.task, NeedleInAHaystack))
    (row,) = cells_of(table1_accuracy.plot(table1_accuracy.compute([run])))
    assert "twins" not in row["task"]


def test_exact_match_is_accuracy_where_a_sequence_scores_once(runs_of) -> None:
    runs = [run for run in runs_of("table1_accuracy") if not isinstance(run.spec.task, DecimalAddition)]
    table = table1_accuracy.compute(runs)
    assert table["exact_match"].to_list() == table["test_accuracy"].to_list()


@pytest.mark.parametrize("name", ["table1_accuracy", "table2_subsets", "table9_linearised"])
def test_the_model_of_a_run_is_the_one_that_was_tested(name: str, runs_of) -> None:
    """Whatever its body: the engine measured accuracy with the stacked forward pass, this one has hook points."""
    for run in runs_of(name):
        if isinstance(run.spec.task, NeedleInAHaystack) and run.spec.seed == 0:
            test_set = run.spec.task.test_set()
            assert accuracy(run.model, test_set) == pytest.approx(run.test_accuracy, abs=2 / len(test_set))


def shown_floors(task: Task) -> set[float]:
    """What guessing earns, and the best heuristic."""
    floors = task.floors()
    return {floors.get("chance", min(floors.values())), max(floors.values())}


def points(figure: go.Figure) -> list[tuple[float, float]]:
    markers = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers"]
    return [(x, y) for trace in markers for x, y in zip(trace.customdata, trace.y, strict=True)]


def test_figure_7_plots_every_run_of_few_seeds(runs_of) -> None:
    runs = runs_of("figure7_width")
    figure = FIGURES["figure7_width"].plot(FIGURES["figure7_width"].compute(runs))
    assert sorted(points(figure)) == sorted((run.spec.model.d_model, run.test_accuracy) for run in runs)
    assert not [trace for trace in figure.data if trace.type == "box"]
    floors = shown_floors(runs[0].spec.task)
    assert {line.y0 for line in figure.layout.shapes} >= floors, "plotly draws no line in an empty panel"
    assert len(figure.layout.shapes) == sum(len(shown_floors(task)) for task in {run.spec.task for run in runs})


def test_figure_7_draws_boxes_of_many_seeds(runs_of) -> None:
    """Seven seeds at width 16, four at 24."""
    runs = [run for run in runs_of("figure7_width") if run.spec.seed == 0]
    runs = [run for run in runs if (run.spec.task.name, run.spec.trainable) == ("modular_addition", "all")]
    shares = {16: [0.1, 0.15, 0.2, 0.4, 0.45, 0.8, 0.9], 24: [0.6, 0.7, 0.95, 1.0]}
    runs = [
        with_accuracy(run, share, seed) for run in runs for seed, share in enumerate(shares[run.spec.model.d_model])
    ]
    figure = figure7_width.plot(figure7_width.accuracies(runs))
    (box,) = (trace for trace in figure.data if trace.type == "box")
    found = [box[field][0] for field in ("lowerfence", "q1", "median", "q3", "upperfence")]
    assert found == pytest.approx(np.quantile(shares[16], [0.1, 0.25, 0.5, 0.75, 0.9]))
    assert len(box.x) == 1
    assert 2 ** box.x[0] == pytest.approx(16, rel=0.11)
    assert points(figure) == [(24, share) for share in shares[24]]
    medians = [np.median(shares[16]), np.median(shares[24])]
    line, bars = (trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines" and len(trace.x))
    for trace in (line, bars):
        assert list(trace.y) == pytest.approx(medians)
        assert trace.x[0] == box.x[0]
    n = n_effective(runs[0].spec.task)
    ends = [bootstrap_median(of, [n] * len(of), torch.Generator().manual_seed(0)) for of in shares.values()]
    assert np.add(medians, bars.error_y.array) == pytest.approx([high for _, high, _ in ends])
    assert np.subtract(medians, bars.error_y.arrayminus) == pytest.approx([low for low, _, _ in ends])


def test_budgets_are_told_model_by_model(runs_of) -> None:
    def steps(run: Run) -> int:
        return 7 if run.spec.model.label == "lstm" else 5 if run.spec.trainable == "all" else 3

    runs = [
        dataclasses.replace(
            run,
            spec=dataclasses.replace(run.spec, training=dataclasses.replace(run.spec.training, n_steps=steps(run))),
            stopped_at_step=run.last_step,
        )
        for run in runs_of("table1_accuracy")
        if run.spec.task.name == "modular_addition"
    ]
    text = style.subtitle(table1_accuracy.compute(runs))
    assert "random 3 steps × 16; normal 5 steps × 16; normal LSTM, random LSTM 7 steps × 16" in text
