"""A run of real-valued sequences, which has no accuracy: trained, saved, listed, shown and opened like any other."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from store_references import resealed, same, tiny_spec
from user_tasks import RunningMean

from rtinterp import RecurrentSpec, train
from rtinterp.cli import main
from rtinterp.store import RunStore, StoreError
from rtinterp.store.portable import export_run, import_run
from rtinterp.training.run import Run

SPEC = dataclasses.replace(tiny_spec("all"), task=RunningMean())


@pytest.fixture(scope="module")
def run() -> Run:
    return train(SPEC, device="cpu", progress=False)


@pytest.fixture
def folder(store: RunStore, run: Run) -> Path:
    """Among runs that have an accuracy."""
    return store.save(run)


def test_an_accuracy_that_does_not_exist_is_absent(run: Run) -> None:
    assert run.test_accuracy is None
    with pytest.raises(ValueError, match="has no metric 'accuracy'; metrics: none"):
        run.test_metric("accuracy")
    assert run.history.columns == ["step", "train_loss", "test_loss"]
    batch = SPEC.task.test_set()
    with torch.no_grad():
        error = (run.model(batch.tokens) - batch.targets).square().mean().item()
    assert run.test_loss == pytest.approx(error, rel=1e-5)
    assert repr(run) == f"Run({SPEC.run_id}, test_loss={run.test_loss:.4g})"


def test_the_model_with_hooks_reads_values(run: Run) -> None:
    values = SPEC.task.test_set().tokens
    with torch.no_grad():
        outputs, cache = run.model.run_with_cache(values)
        doubled = run.model.run_with_hooks(values, fwd_hooks=[("hook_embed", lambda x, hook: 2 * x)])
        assert torch.allclose(cache["hook_embed"], values @ run.trained["embed.W_E"], atol=1e-6)
        assert torch.allclose(doubled, run.model(2 * values), atol=1e-5)
    assert outputs.shape == (40, 5, 2)


def test_it_comes_back_from_the_store_and_from_a_portable_file(folder: Path, run: Run, tmp_path: Path) -> None:
    assert same(RunStore(folder.parent).load(SPEC), run)
    export_run(run, tmp_path / "file")
    assert same(import_run(tmp_path / "file"), run)
    assert (folder / "history.csv").read_text().splitlines()[0] == "step,train_loss,test_loss"


def test_a_history_with_an_accuracy_is_not_its_history(folder: Path) -> None:
    def add_accuracy(of: Path) -> None:
        header, *rows = (of / "history.csv").read_text().splitlines()
        (of / "history.csv").write_text("\n".join([f"{header},test_accuracy", *(f"{row},0.5" for row in rows), ""]))

    resealed(add_accuracy)(folder)
    with pytest.raises(StoreError, match=r"under the columns step, train_loss, test_loss$"):
        RunStore(folder.parent).load(SPEC)


def test_it_is_opened_in_a_new_process(folder: Path, run: Run) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import user_tasks
from rtinterp import RunStore
run = RunStore({str(folder.parent)!r}).load({folder.name!r})
print(run.test_loss, run.test_accuracy, type(run.model).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(run.test_loss), "None", "HookedDecoder"], done.stderr


def test_the_commands_leave_its_accuracy_empty(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    runs = ["--runs", str(folder.parent)]

    def call(*arguments: str) -> str:
        assert main([*arguments, *runs]) == 0
        return capsys.readouterr().out

    table = RunStore(folder.parent).table().filter(pl.col("run_id") == folder.name)
    assert table["test_accuracy"].to_list() == [None]
    assert table["test_loss"][0] > 0
    (line,) = (line for line in call("list").splitlines() if folder.name in line)
    assert re.search(rf"4 +0\.01 +{table['test_loss'][0]:.4g} +{folder.name}", line)
    assert folder.name not in call("list", "--min-accuracy", "0")
    assert folder.name not in call("list", "--max-accuracy", "1")
    assert folder.name in call("list", "--task", "running_mean")
    for order in ([], ["--descending"]):
        assert folder.name in call("list", "--sort", "accuracy", *order).splitlines()[-1], "after all that have one"
    call("list", "--out", str(tmp_path / "table.csv"))
    assert pl.read_csv(tmp_path / "table.csv").filter(pl.col("run_id") == folder.name)["test_accuracy"][0] is None
    shown = call("show", folder.name)
    # The command that made the run is that of the tests, with what it was told to run.
    assert "accuracy" not in re.sub(r"(?m)^command .*$", "", shown)
    assert "    step  train loss  test loss\n" in shown
    assert main(["verify", str(folder.parent)]) == 0
    assert main(["export", folder.name, str(tmp_path / "gpt2"), "--format", "huggingface", *runs]) == 1
    assert "GPT-2 can express transformers with softmax attention alone" in capsys.readouterr().err


def test_the_command_line_trains_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = [
        "--d-model",
        "8",
        "--n-steps",
        "2",
        "--batch-size",
        "4",
        "--n-warmup-steps",
        "0",
        "--runs",
        str(tmp_path),
    ]
    assert main(["train", "running_mean", *options]) == 0
    assert re.match(rf"loss \d\.\d+  {tmp_path}/running_mean-d8-embeddings-seed0-", capsys.readouterr().out)


def test_a_recurrent_network_learns_it() -> None:
    """Predicting zero costs the mean of 1/t: .457; 300 steps get far below."""
    training = dataclasses.replace(SPEC.training, n_steps=300, batch_size=64, steps_per_evaluation=300)
    spec = dataclasses.replace(SPEC, model=RecurrentSpec(d_model=16), training=training)
    assert train(spec, device="cpu", progress=False).test_loss < 0.05
