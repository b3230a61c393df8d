"""Tables 1, 2 and 9 and figure 7: every model in its own cell, the paper's numbers apart, counts by brute force."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
import torch
from torch import Tensor

from rtinterp.analysis import accuracy
from rtinterp.figures import style
from rtinterp.figures.figure import run_columns
from rtinterp.papers.random_transformers import FIGURES, figure7_width, published, table1_accuracy
from rtinterp.tasks import DecimalAddition, NeedleInAHaystack
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
    """Median and range of the runs of one kind, computed afresh."""
    shares = [
        100 * run.test_accuracy
        for run in runs
        if run.spec.task == task and where.items() <= {**run_columns(run), "task": task}.items()
    ]
    if not shares and getattr(task, "score_first_digit", False):
        return ""
    assert len(shares) == 2
    least, most = sorted(shares)
    return f"{(least + most) / 2:.1f}" + style.small(f"{least:.1f} to {most:.1f}")


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
    rows = [row for row in rows if "exact match" not in row[0]]
    tasks = list(dict.fromkeys(run.spec.task for run in runs))
    assert [style.task_title(repr(task)) for task in tasks] == [row[0].split("<br>")[0] for row in rows]
    n_shown = 0
    for task, row in zip(tasks, rows, strict=True):
        for text, where in zip(row[1:-1], columns.values(), strict=True):
            assert text.split("<br><span style='font-size:11px;color:#555'>paper")[0] == cell_of(runs, task, **where)
            n_shown += 2 * bool(text)
        for floor in (min, max):
            assert f"{floor(task.floors().values()) * 100:.1f}" in row[-1]
    assert n_shown == len(runs), "every run is in a cell"


#: Task, then the paper's numbers by column of table 1 where one may be printed.
PAPER_1 = {
    "Modular addition": {"random wide": "100", "random narrow": "1.3", "normal narrow": "97.2"},
    "Needle in a haystack": {"random wide": "100", "LSTM trained": "99.5"},
    "Decimal addition": {"random wide": "100", "normal narrow": "67.5", "LSTM trained": "53"},
    "Parenthesis balancing": {"random wide": "100", "random narrow": "87.3", "normal wide": "92.3"},
}
PAPER_2 = {
    "Modular addition": dict.fromkeys(["unembedding", "input embeddings (token, position)"], "fails"),
    "Needle in a haystack": {"unembedding": "fails"},
    "Decimal addition": dict.fromkeys(["unembedding", "token embedding, unembedding"], "fails"),
    "Parenthesis balancing": {"unembedding": "fails"},
}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("table1_accuracy", PAPER_1),
        ("table2_subsets", {task: {**said, "all embeddings": "solves"} for task, said in PAPER_2.items()}),
        ("table9_linearised", {}),
    ],
)
def test_the_paper_is_quoted_where_it_is_known_and_nowhere_else(name: str, known: dict, runs_of) -> None:
    _, rows, header = planted([run for run in runs_of(name) if run.spec.seed == 0], name)
    for row in rows:
        said = {
            column: match.group(1)
            for column, text in zip(header, row, strict=True)
            if (match := re.search(r"paper: ([\w.]+)", text))
        }
        other_than_the_paper = "exact match" in row[0] or "score first digit" in row[0]
        assert said == ({} if other_than_the_paper else known.get(row[0].split("<br>")[0], {}))


def test_what_the_paper_says_is_not_among_our_numbers(runs_of) -> None:
    runs = [run for run in runs_of("table1_accuracy") if isinstance(run.spec.task, NeedleInAHaystack)]
    table = table1_accuracy.compute(runs)
    columns = [column for column in table.columns if column.startswith("paper_")]
    assert columns == ["paper_accuracy"]
    assert table["paper_accuracy"].null_count() > 0
    assert all(number.printable for number in (*published.ACCURACY.values(), *published.STATEMENTS.values()))
    assert not published.Published(0.5, "somewhere", "unconfirmed").printable


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
    assert f"{n_right / len(rows):.1%}".rstrip("%") in row


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


def points(figure: go.Figure) -> list[tuple[float, float]]:
    markers = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers"]
    return [(x, y) for trace in markers for x, y in zip(trace.customdata, trace.y, strict=True)]


def test_figure_7_plots_every_run_of_few_seeds(runs_of) -> None:
    runs = runs_of("figure7_width")
    figure = FIGURES["figure7_width"].plot(FIGURES["figure7_width"].compute(runs))
    assert sorted(points(figure)) == sorted((run.spec.model.d_model, run.test_accuracy) for run in runs)
    assert not [trace for trace in figure.data if trace.type == "box"]
    floors = [height for run in runs[:1] for height in run.spec.task.floors().values()]
    assert {line.y0 for line in figure.layout.shapes} >= set(floors), "plotly draws no line in an empty panel"
    tasks = {run.spec.task for run in runs}
    assert len(figure.layout.shapes) == sum(
        len({min(f.values()), max(f.values())}) for f in (t.floors() for t in tasks)
    )


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
    (line,) = (trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines" and len(trace.x))
    assert list(line.y) == pytest.approx([np.median(shares[16]), np.median(shares[24])])
    assert line.x[0] == box.x[0]


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
