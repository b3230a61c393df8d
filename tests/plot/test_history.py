"""Curves hold the runs' own values, whatever the runs measure."""

from __future__ import annotations

import pytest

from rtinterp import plot
from rtinterp.tasks import DecimalAddition

WITH_ACCURACY = {"step": [10, 20], "train_loss": [3.0, 2.0], "test_loss": [3.5, 2.5], "test_accuracy": [0.25, 0.75]}
WITHOUT = {"step": [10, 20], "train_loss": [3.0, 2.0], "test_loss": [1.5, 0.5]}


def curves(figure) -> list[tuple[str, list, list]]:
    return [(trace.name, list(trace.x), list(trace.y)) for trace in figure.data]


def test_one_run_is_one_line_of_its_metric(make_run) -> None:
    figure = plot.history(make_run(WITH_ACCURACY))
    assert curves(figure) == [("modular_addition", [10, 20], [0.25, 0.75])]
    assert figure.layout.yaxis.title.text == "test accuracy"
    assert figure.layout.width <= 700
    assert not figure.layout.showlegend


def test_a_task_without_accuracy_shows_its_loss(make_run) -> None:
    figure = plot.history(make_run(WITHOUT))
    assert curves(figure)[0][1:] == ([10, 20], [1.5, 0.5])
    assert figure.layout.yaxis.title.text == "test loss"
    assert figure.layout.yaxis.range is None


def test_runs_of_which_some_have_no_accuracy_are_compared_by_what_all_have(make_run) -> None:
    figure = plot.history([make_run(WITH_ACCURACY), make_run(WITHOUT, task=DecimalAddition(2))])
    assert [values for *_, values in curves(figure)] == [[3.5, 2.5], [1.5, 0.5]]


def test_any_column_can_be_asked_for(make_run) -> None:
    assert curves(plot.history(make_run(WITH_ACCURACY), "train_loss"))[0][2] == [3.0, 2.0]
    for measure in ("test_acuracy", "step"):
        with pytest.raises(ValueError, match=f"measure '{measure}'; all have train_loss, test_loss, test_accuracy"):
            plot.history(make_run(WITH_ACCURACY), measure)


def test_a_metric_of_a_users_own_is_shown(make_run) -> None:
    figure = plot.history(make_run({**WITHOUT, "test_sharpness": [5.0, 7.0]}))
    assert curves(figure)[0][2] == [5.0, 7.0]
    assert figure.layout.yaxis.title.text == "test sharpness"


def test_runs_are_named_by_what_differs_and_seeds_share_name_and_colour(make_run) -> None:
    runs = [make_run(WITH_ACCURACY, d_model=d_model, seed=seed) for d_model in (16, 32) for seed in (0, 1)]
    figure = plot.history(runs)
    assert [trace.name for trace in figure.data] == ["d_model 16", "d_model 16", "d_model 32", "d_model 32"]
    first, again, other, _ = (trace.line.color for trace in figure.data)
    assert first == again != other
    assert [trace.showlegend for trace in figure.data] == [True, False, True, False]
    assert ["seed 0" in trace.hovertemplate for trace in figure.data] == [True, False, True, False]


def test_training_and_tasks_tell_runs_apart_too(make_run) -> None:
    runs = [make_run(WITHOUT, learning_rate=rate) for rate in (1e-3, 5e-3)]
    assert [trace.name for trace in plot.history(runs).data] == ["learning_rate 0.001", "learning_rate 0.005"]
    tasks = [make_run(WITHOUT), make_run(WITHOUT, task=DecimalAddition(2), d_model=32, seed=3)]
    assert [trace.name for trace in plot.history(tasks).data] == ["modular_addition", "decimal_addition"]
    both = [make_run(WITHOUT, task=DecimalAddition(n), d_model=d) for n, d in ((2, 16), (3, 16), (2, 32))]
    assert [trace.name for trace in plot.history(both).data] == [
        "n_digits 2, d_model 16",
        "n_digits 3, d_model 16",
        "n_digits 2, d_model 32",
    ]


def test_one_evaluation_is_a_point(make_run) -> None:
    assert plot.history(make_run({name: column[-1:] for name, column in WITHOUT.items()})).data[0].mode == "markers"


def test_no_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="no runs were given"):
        plot.history([])
