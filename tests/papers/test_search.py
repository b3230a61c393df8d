"""The search of budgets: who gets which trials, and what stands in the table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pytest
import torch

from rtinterp.papers.random_transformers import search as search_module
from rtinterp.papers.random_transformers.scales import QUICK, SCALES
from rtinterp.papers.random_transformers.search import GRID, search, trials
from rtinterp.store import RunStore
from rtinterp.tasks import ModularAddition, ParenthesisBalancing
from rtinterp.training.spec import TrainSpec

TRAINING = TrainSpec(n_steps=2, batch_size=8, n_warmup_steps=0)
CPU = torch.device("cpu")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch):
    """Two tasks of two widths, and two trials a model."""
    monkeypatch.setattr(search_module, "GRID", ({"learning_rate": 1e-3}, {"learning_rate": 3e-2}))
    return dataclasses.replace(
        QUICK,
        algorithmic=tuple(
            dataclasses.replace(
                QUICK.budget_of(type(task)), task=task, widths=(8, 16), random=TRAINING, normal=TRAINING, lstm=TRAINING
            )
            for task in (ModularAddition(p=13), ParenthesisBalancing(5))
        ),
    )


@pytest.mark.parametrize("name", ["quick", "short"])
def test_every_kind_of_model_has_the_same_trials(name: str) -> None:
    specs = trials(SCALES[name], n_seeds=2)
    kinds: dict[tuple[str, str, str], list[tuple[float, float, int]]] = {}
    for spec in specs:
        tried = (spec.training.learning_rate, spec.training.adam_beta2, spec.seed)
        kinds.setdefault((spec.task.name, spec.model.label, spec.trainable), []).append(tried)
    expected = [(g["learning_rate"], g["adam_beta2"], seed) for g in GRID for seed in (100, 101)]
    assert len(kinds) == 4 * 3
    assert all(of_kind == expected for of_kind in kinds.values())
    assert {getattr(spec.task, "test_rows", None) for spec in specs} == {"validation"}
    assert min(spec.seed for spec in specs) > max(SCALES[name].seeds(50))


def test_a_search_is_written_goes_on_and_names_the_best(tiny, tmp_path: Path, capsys) -> None:
    store, specs = RunStore(tmp_path / "runs"), trials(tiny)
    some = search("tiny", specs[:3], store, tmp_path, CPU)
    assert some["n_trials"].to_list() == [1] * 3
    before = {run_id: (store.path / run_id).stat().st_mtime_ns for run_id in store.run_ids()}
    table = search("tiny", specs, store, tmp_path, CPU)
    assert {run_id: (store.path / run_id).stat().st_mtime_ns for run_id in before} == before, "trained once"
    assert len(table) == len(specs) == 2 * 3 * 2
    assert set(table["n_trials"]) == {2}
    for of_model in table.partition_by("task", "body", "trainable"):
        assert of_model["rank"].to_list() == [1, 2]
        assert of_model["validation_accuracy"][0] == of_model["validation_accuracy"].max()
    accuracies = {store.load(spec).test_accuracy for spec in specs}
    assert accuracies == set(table["validation_accuracy"])
    assert len(pl.read_csv(tmp_path / "data" / "search_tiny.csv")) == len(specs)
    assert capsys.readouterr().err.count("best of 2") == 6


def test_of_equal_accuracies_the_lower_loss_is_the_best(tiny, tmp_path: Path) -> None:
    table = search("tiny", trials(tiny, ["modular_addition"]), RunStore(tmp_path / "runs"), tmp_path, CPU)
    equal = table.filter(pl.len().over("task", "body", "trainable", "validation_accuracy") > 1)
    for of_model in equal.partition_by("task", "body", "trainable", "validation_accuracy"):
        assert of_model["validation_loss"].is_sorted()


def test_what_cannot_be_searched_is_told(tiny, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no task chess at this scale; tasks: modular_addition, parenthesis_balancing"):
        trials(tiny, ["chess"])
    with pytest.raises(ValueError, match="no trial of 6 is finished"):
        search("tiny", trials(tiny, ["modular_addition"]), RunStore(tmp_path / "runs"), tmp_path, CPU, minutes=0)
