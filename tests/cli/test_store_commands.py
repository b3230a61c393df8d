"""``rtinterp list``, ``show``, ``verify``, ``export``, ``import`` and ``train spec``."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from corpus_references import made_up_corpus, write_corpus

from rtinterp.cli import main
from rtinterp.cli.curve import HEIGHT, text_curve
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store import RunStore
from rtinterp.store.failures import Failure
from rtinterp.store.training import train
from rtinterp.tasks import Memorization, ModularAddition
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, TrainSpec

TRAINING = TrainSpec(n_steps=4, batch_size=4, n_warmup_steps=0, steps_per_evaluation=2)
SPECS = [
    RunSpec(ModularAddition(5), ModelSpec(8), TRAINING),
    RunSpec(ModularAddition(5), ModelSpec(16), TRAINING, "all", seed=1),
    RunSpec(Memorization(4), ModelSpec(8, attention="prefix_sum"), TRAINING),
    RunSpec(Memorization(4), RecurrentSpec(8), TRAINING),
]


@pytest.fixture(scope="module")
def trained() -> list[Run]:
    return train(SPECS, device="cpu", progress=False)


@pytest.fixture
def runs(tmp_path: Path, trained: list[Run]) -> Path:
    store = RunStore(tmp_path / "runs")
    for run in trained:
        store.save(run)
    return store.path


@pytest.fixture
def call(runs: Path, capsys: pytest.CaptureFixture[str]):
    """A command on the store: status, stdout, stderr."""

    def command(name: str, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([name, *map(str, arguments), *([] if name == "verify" else ["--runs", str(runs)])])
        except SystemExit as exit_:
            status = exit_.code
        return status, *capsys.readouterr()

    return command


def damage(runs: Path, spec: RunSpec) -> Path:
    file = runs / spec.run_id / "history.csv"
    file.write_bytes(file.read_bytes()[:-3])
    return file


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [0, 1, 2, 3]),
        (("--task", "memorization"), [2, 3]),
        (("--width", "8"), [0, 2, 3]),
        (("--width", "8", "16"), [0, 1, 2, 3]),
        (("--trainable", "all"), [1]),
        (("--seed", "1", "2"), [1]),
        (("--body", "lstm"), [3]),
        (("--body", "linearised transformer"), [2]),
        (("--task", "modular_addition", "--width", "8"), [0]),
        (("--where", "n_keys=4"), [2, 3]),
        (("--where", "p=5", "p=7", "--width", "8"), [0]),
        (("--where", "n-keys=4", "attention=softmax"), []),
        (("--where", "attention=prefix_sum"), [2]),
        (("--where", "p=1000"), []),
        (("--min-accuracy", "0"), [0, 1, 2, 3]),
        (("--max-accuracy", "-1"), []),
    ],
)
def test_filters(call, options: tuple[str, ...], expected: list[int]) -> None:
    status, out, err = call("list", *options)
    assert (status, err) == (0, "")
    assert {index for index, spec in enumerate(SPECS) if spec.run_id in out} == set(expected)


def test_a_body_of_ones_own_can_be_asked_for(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelSpec, "label", property(lambda body: f"loud values of width {body.d_model}"))
    status, out, err = call("list", "--body", "loud values of width 8")
    assert (status, err) == (0, "")
    assert [spec.run_id in out for spec in SPECS] == [True, False, True, False]


def test_filters_by_accuracy_agree_with_the_runs(call, trained: list[Run]) -> None:
    middle = sorted(run.test_accuracy for run in trained)[2]
    for option, kept in (("--min-accuracy", lambda a: a >= middle), ("--max-accuracy", lambda a: a <= middle)):
        _, out, _ = call("list", option, str(middle))
        assert {run.spec.run_id for run in trained if run.spec.run_id in out} == {
            run.spec.run_id for run in trained if kept(run.test_accuracy)
        }


@pytest.mark.parametrize("column", ["width", "seed", "loss", "accuracy", "duration_seconds", "run_id", "body"])
@pytest.mark.parametrize("descending", [False, True])
def test_sorts(call, runs: Path, column: str, descending: bool) -> None:
    _, out, _ = call("list", "--sort", column, *["--descending"] * descending)
    shown = re.findall(r"\S+-seed\d-[0-9a-f]{12}", out)
    name = {"width": "d_model", "loss": "test_loss", "accuracy": "test_accuracy"}.get(column, column)
    values = dict(RunStore(runs).table().select("run_id", pl.col(name).alias("value")).iter_rows())
    assert [values[run_id] for run_id in shown] == sorted(values.values(), reverse=descending)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--task", "modular_adition"), "unknown task 'modular_adition'; did you mean 'modular_addition'?"),
        (("--sort", "acuracy"), "unknown column 'acuracy'; did you mean 'accuracy'?"),
        (("--trainable", "embedding"), "no component group 'embedding'; did you mean 'embeddings'?"),
        (("--body", "ltsm"), "unknown body 'ltsm'; did you mean 'lstm'?"),
        (("--out", "table.xlsx"), "must end in .csv or .parquet"),
    ],
)
def test_unknown_names_suggest_the_nearest(call, options: tuple[str, ...], said: str) -> None:
    status, out, err = call("list", *options)
    assert (status, out) == (1, "")
    assert said in err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_table_is_exported_whole(call, runs: Path, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"table.{ending}"
    assert call("list", "--out", file)[0] == 0
    read = pl.read_csv if ending == "csv" else pl.read_parquet
    table = RunStore(runs).table()
    # A column without values, as that of stopped runs here, has no type in CSV.
    written = read(file).select(table.columns).cast(dict(table.schema))
    assert written.sort("run_id").equals(table.sort("run_id"))
    assert call("list", "--out", file)[0] == 0, "an equal file stays"
    status, _, err = call("list", "--out", file, "--width", "16")
    assert (status, "is already there" in err) == (1, True)
    assert call("list", "--out", file, "--width", "16", "--force")[0] == 0
    assert len(read(file)) == 1


def test_a_failed_run_is_listed_with_its_reason(call, runs: Path, trained: list[Run], tmp_path: Path) -> None:
    failed = RunSpec(ModularAddition(5), ModelSpec(8), TRAINING, seed=7)
    RunStore(runs).failures.record(Failure(failed, 3, "the loss became nan", trained[0].environment))
    _, out, err = call("list")
    assert f"failed at step 3: {failed.run_id}: the loss became nan" in out
    assert err == ""
    assert f"{failed.run_id} failed: the loss became nan" in call("show", failed.run_id)[2]
    assert failed.run_id not in call("list", "--width", "16")[1]
    assert failed.run_id not in call("list", "--min-accuracy", "0")[1]
    call("list", "--out", tmp_path / "table.csv")
    row = pl.read_csv(tmp_path / "table.csv").filter(pl.col("failure").is_not_null()).row(0, named=True)
    assert (row["run_id"], row["failed_at_step"], row["test_accuracy"]) == (failed.run_id, 3, None)


@pytest.mark.filterwarnings("default::rtinterp.store.table.DamagedRunWarning")
def test_a_damaged_run_takes_no_other_down(call, runs: Path) -> None:
    file = damage(runs, SPECS[0])
    status, out, err = call("list")
    assert status == 0
    assert all(spec.run_id in out for spec in SPECS[1:])
    assert err.splitlines() == [
        f"rtinterp: left out a damaged run: {file}: truncated or edited since it was saved (its sha256 is not the one "
        "in run.json)"
    ]
    for command in (["show"], ["export"]):
        status, out, err = call(*command, SPECS[0].run_id, *["x"] * (command == ["export"]))
        assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert call("show", SPECS[1].run_id)[0] == 0


def test_verify_tells_each_fault_and_counts(call, runs: Path) -> None:
    assert call("verify", runs) == (0, f"4 runs checked in {runs}: 4 sound, 0 damaged, 0 faults\n", "")
    file = damage(runs, SPECS[0])
    (runs / SPECS[0].run_id / "extra").touch()
    status, out, err = call("verify", runs)
    first, second, summary = out.splitlines()
    assert (status, err) == (1, "")
    assert first.startswith(f"{file}: truncated or edited")
    assert second == f"{runs / SPECS[0].run_id}: holds what is no part of a run: extra"
    assert summary == f"4 runs checked in {runs}: 3 sound, 1 damaged, 2 faults"


def test_export_and_import(call, runs: Path, tmp_path: Path) -> None:
    run_id, file = SPECS[1].run_id, tmp_path / "run.safetensors"
    assert call("export", run_id[:24], file)[0] == 0
    assert main(["import", str(file), "--runs", str(tmp_path / "other")]) == 0
    for path in (runs / run_id).iterdir():
        assert path.read_bytes() == (tmp_path / "other" / run_id / path.name).read_bytes()
    status, _, err = call("export", SPECS[0].run_id, file)
    assert (status, "pass --force" in err) == (1, True)
    assert call("export", SPECS[0].run_id, file, "--force")[0] == 0
    assert "nothing.safetensors: cannot be read: No such file or directory" in call("import", "nothing.safetensors")[2]
    assert "name at least one file" in call("import")[2]


def test_export_for_hugging_face(call, tmp_path: Path) -> None:
    assert call("export", SPECS[0].run_id, tmp_path / "gpt2", "--format", "huggingface")[0] == 0
    assert (tmp_path / "gpt2" / "config.json").is_file()
    status, _, err = call("export", SPECS[3].run_id, tmp_path / "lstm", "--format", "huggingface")
    assert (status, "GPT-2 can express transformers with softmax attention alone" in err) == (1, True)


def test_show_takes_a_beginning_and_suggests_the_nearest(call) -> None:
    status, out, err = call("show", SPECS[1].run_id[:24])
    assert (status, err) == (0, "")
    for said in (
        SPECS[1].run_id,
        '"p": 5',
        "verified",
        "peak_memory_bytes",
        "git_commit",
        "test accuracy",
        "test loss",
    ):
        assert said in out
    assert max(map(len, out.splitlines())) < 400
    assert "2 runs begin with 'memorization'; which of memorization-d8-" in call("show", "memorization")[2]
    assert "4 runs begin with 'm'; which of " in call("show", "m")[2]
    assert f"did you mean {SPECS[1].run_id}?" in call("show", SPECS[1].run_id.replace("-all", "-al"))[2]


def test_the_command_that_show_prints_remakes_the_run(call, runs: Path) -> None:
    for spec in (SPECS[0], SPECS[3]):
        line = next(line for line in call("show", spec.run_id)[1].splitlines() if line.startswith("to remake it"))
        threads, program, *arguments = shlex.split(line.removeprefix("to remake it"))
        assert (threads.split("=")[0], program) == ("OMP_NUM_THREADS", "rtinterp")
        assert main(arguments) == 0
        remade = runs.with_name("runs-remade") / spec.run_id
        for name in ("spec.json", "trained.safetensors", "history.csv"):
            assert (remade / name).read_bytes() == (runs / spec.run_id / name).read_bytes(), name


def test_runs_of_one_stack_are_remade_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "my runs"
    sizes = ["--d-model", "8", "--n-steps", "4", "--batch-size", "4", "--n-warmup-steps", "0"]
    where = ["--runs", str(runs), "--device", "cpu"]
    assert main(["train", "modular_addition", "--p", "5", *sizes, "--seed", "0", "3", *where]) == 0
    one, other = RunStore(runs).run_ids()
    assert main(["show", other, *where[:2]]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("to remake it"))
    arguments = shlex.split(line.removeprefix("to remake it"))[4:]
    assert [Path(argument).parent.name for argument in arguments if argument.endswith("spec.json")] == [one, other]
    assert main(["train", "spec", *arguments]) == 0
    for name in ("trained.safetensors", "history.csv"):
        assert (tmp_path / "my runs-remade" / other / name).read_bytes() == (runs / other / name).read_bytes()


def test_a_language_model_is_remade_with_its_text_alone(call, runs: Path, tmp_path: Path) -> None:
    text, other = (str(write_corpus(tmp_path / str(seed), made_up_corpus(seed=seed))) for seed in (5, 6))
    sizes = [
        "--d-vocab",
        "300",
        "--context-length",
        "8",
        "--d-model",
        "8",
        "--n-steps",
        "2",
        "--batch-size",
        "2",
        "--n-warmup-steps",
        "0",
    ]
    assert call("train", "language_modelling", "--corpus", text, *sizes, "--device", "cpu")[0] == 0
    run_id = call("list", "--task", "language_modelling")[1].split()[-1]
    assert "--corpus PATH" in call("show", run_id)[1]
    (runs / run_id).rename(tmp_path / "spec folder")
    assert "pass --corpus PATH" in call("train", "spec", tmp_path / "spec folder")[2]
    assert "is the text" in call("train", "spec", tmp_path / "spec folder", "--corpus", other)[2]
    assert call("train", "spec", tmp_path / "spec folder", "--corpus", text, "--device", "cpu")[0] == 0
    again = (runs / run_id / "trained.safetensors").read_bytes()
    assert again == (tmp_path / "spec folder" / "trained.safetensors").read_bytes()


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 60_000, "\0", '{"seed": NaN}'])
def test_a_spec_file_that_is_none_is_told_in_a_line(call, tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.json").write_text(text)
    status, out, err = call("train", "spec", tmp_path / "spec.json")
    assert (status, out) == (1, "")
    assert err.startswith(f"rtinterp train: {tmp_path}/spec.json: not a run spec")
    assert len(err.splitlines()) == 1


def test_commands_print_nothing_but_what_matters(runs: Path) -> None:
    """In a process of its own, where libraries warn and log as they please."""
    commands = [["list"], ["show", SPECS[0].run_id], ["show", SPECS[3].run_id], ["verify"]]
    commands.append(["export", SPECS[0].run_id, "gpt2", "--format", "huggingface"])
    code = f"from rtinterp.cli import main\nfor command in {commands!r}: assert main(command) == 0"
    done = subprocess.run([sys.executable, "-c", code], cwd=runs.parent, check=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_a_curve_is_drawn_from_its_first_to_its_last_value() -> None:
    label, *rows, _, ends = text_curve([100, 200, 300], [0.0, 0.5, 1.0], 0.0, 1.0, "accuracy")
    assert (label, len(rows)) == ("accuracy", HEIGHT)
    assert re.fullmatch(r" *1 \| *\*", rows[0])
    assert rows[-1].lstrip() == "0 |*"
    assert sum(row.count("*") for row in rows) == 3
    assert ends.split() == ["100", "300"]
    assert text_curve([4], [0.5], 0.0, 1.0, "one")[0] == "one"
