"""The command line: what works, and what a user types wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from corpus_references import made_up_corpus, write_corpus

from rtinterp import ModelSpec, RecurrentSpec, register_body
from rtinterp.cli import figures, main
from rtinterp.figures import Figure, Paper
from rtinterp.models.bodies import BODIES
from rtinterp.models.recurrent.spec import RECURRENCE
from rtinterp.models.regimes import parse
from rtinterp.papers import PAPERS
from rtinterp.store import RunStore
from rtinterp.strict import strict
from rtinterp.tasks import Corpus

SMALL = ["--d-model", "16", "--n-steps", "2", "--batch-size", "4", "--n-warmup-steps", "0"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_train_list_show(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["modular_addition", "--p", "13", *SMALL, "--seed", "0", "2", "--runs", str(runs), "--device", "cpu"]
    assert main(["train", *options]) == 0
    run_ids = RunStore(runs).run_ids()
    assert [run_id.split("-")[3] for run_id in run_ids] == ["seed0", "seed2"]
    capsys.readouterr()
    assert main(["list", "--runs", str(runs)]) == 0
    listed = capsys.readouterr().out
    assert all(run_id in listed for run_id in run_ids)
    assert main(["show", run_ids[0], "--runs", str(runs)]) == 0
    shown = capsys.readouterr().out
    assert '"p": 13' in shown
    assert "verified" in shown


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["trian"], 2, "did you mean 'train'"),
        (["train", "needle"], 2, "did you mean 'needle_in_a_haystack'"),
        (["train", "modular_addition", "--p", "1", *SMALL], 2, "greater than or equal to 2"),
        (["train", "modular_addition", "--d-model", "18", "--n-steps", "2", "--batch-size", "4"], 2, "16 and 20"),
        (["train", "modular_addition", "--trainable", "everything", *SMALL], 2, "embeddings"),
        (["train", "modular_addition", "--trainable", "qk+mpl", *SMALL], 2, "did you mean 'mlp'?"),
        (
            ["train", "modular_addition", "--body", "lstn", *SMALL],
            2,
            "did you mean 'lstm'? known: transformer, lstm",
        ),
        (
            ["train", "modular_addition", "--body", "rnn", "--n-heads", "2", *SMALL],
            2,
            "there is no option --n-heads\n",
        ),
        (["train", "modular_addition", "--trainable", "recurrence", *SMALL], 2, "'recurrence'"),
        (
            ["train", "modular_addition", "--seed", "0", "-1", *SMALL],
            1,
            "train: seed=-1: should be greater than",
        ),
        (["train", "modular_addition", "--device", "tpu", *SMALL], 1, "'cpu' or 'cuda'"),
        (["figures", "--only", "figure3"], 1, "did you mean 'figure3_embeddings'"),
        (["figures", "--scale", "qick"], 1, "did you mean 'quick'"),
        (["figures", "--scale", "quick", "--seeds", "0"], 1, "at least 1"),
        (["figures", "--seeds", "2"], 1, "needs a scale"),
        (["figures", "--scale", "quick", "--workers", "0"], 1, "--workers 0: at least 1"),
        (["figures", "--seedz", "1"], 2, "--seeds"),
        (["figures"], 1, "nothing to draw from: there is no folder runs with runs of your own, and none figures/runs"),
        (["figures", "--scale", "quick", "--only", "figure4_language_loss"], 1, "needs a text: pass --corpus PATH"),
        (
            ["figures", "--scale", "quick", "--only", "figure2_attention", "table5_language_variance"],
            1,
            "needs a text: pass --corpus PATH",
        ),
        (["figures", "--corpus", "nowhere"], 1, "no corpus at nowhere: download"),
        (["train", "language_modelling", *SMALL], 2, "--corpus PATH"),
        (["train", "language_modelling", "--corpus", "nowhere", *SMALL], 2, "no corpus at nowhere"),
        (["train", "modular_addition", "--corpus", "nowhere", *SMALL], 2, "there is no option --corpus\n"),
        (["train", "modular_addition", "--seed", "-1"], 2, ": --d-model INT is missing: width of the residual stream"),
        (["train", "modular_addition", *SMALL[2:], "--d-modle", "16"], 2, "--d-modle; did you mean --d-model?\n"),
        (["train", "modular_addition", *SMALL, "--d-model", "x"], 2, ": --d-model: 'x' is no whole number\n"),
        (["train", "modular_addition", *SMALL, "--seed", "0", "x"], 2, "--seed: '0', 'x': one of them is"),
        (["train", "modular_addition", *SMALL, "--init", "x"], 2, ": --init: 'x' is none of 'gpt2', 'paper_text'"),
        (["list", "--widht", "3"], 2, "there is no option --widht; did you mean --width?\n"),
        (["list", "--width"], 0, "no finished runs in runs, which does not exist"),
        (["list", "--where", "p"], 1, "--where p: write NAME=VALUE, such as p=79"),
        (["list", "--where", "max-pair=3"], 1, "unknown field of a run 'max_pair'; did you mean 'max_pairs'?"),
        (["list", "--width", "8", "--where", "d_model=8"], 1, "--where d_model=8: --width says it already"),
        (["list", "--min-accuracy"], 2, "--min-accuracy: there is no value after it\n"),
        (["list", "--min-accuracy", "x"], 2, "--min-accuracy: 'x' is no FLOAT\n"),
        (["show", "one", "two"], 2, "two: there is nothing that takes it\n"),
        ([""], 2, "unknown command ''; known"),
        (["train", "modular_addition", "--seed", *SMALL], 1, "--seed: name at least one seed"),
        (["sweep", "table1", "--minutes", "nan"], 1, "--minutes nan: must be more than 0"),
        (["export", "nothing", "run.pt"], 1, "run.pt: must end in .safetensors"),
        (["import", "."], 1, "rtinterp import: .: cannot be read: Is a directory"),
        (["figures", "--only", "table6_parameters", "--out", "/dev/null"], 1, "/dev/null/random_transformers"),
        (["show", "nothing"], 1, "no run 'nothing'"),
    ],
)
def test_what_is_typed_wrong_is_told_at_once(
    arguments: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        found = main(arguments)
    except SystemExit as exit_:
        found = exit_.code
    captured = capsys.readouterr()
    assert found == status
    assert said in captured.err + captured.out
    for of_a_library in ("Traceback", "http", "input_value", "validation error", "╭"):
        assert of_a_library not in captured.err
    assert not list(tmp_path.iterdir()), "nothing was trained or written"


def test_every_fault_of_a_command_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        main(["train", "modular_addition", "--seed", "-1", "--d-modle", "16"])
    program = "rtinterp train modular_addition"
    assert capsys.readouterr().err.splitlines() == [
        f"{program}: there is no option --d-modle; did you mean --d-model?",
        f"{program}: --n-steps INT is missing: optimiser steps",
        f"{program}: --batch-size INT is missing: sequences per step",
        f"{program} --help tells all options",
    ]
    assert os.environ["COLUMNS"] == "60"


def test_a_language_model_is_trained_on_a_given_text(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_corpus(tmp_path / "stories", made_up_corpus(seed=5))
    sizes = ["--corpus", str(folder), "--d-vocab", "300", "--context-length", "16"]
    assert main(["train", "language_modelling", *sizes, *SMALL, "--runs", str(runs), "--device", "cpu"]) == 0
    (run_id,) = RunStore(runs).run_ids()
    task = RunStore(runs).load(run_id).spec.task
    assert (task.corpus_sha256, task.d_vocab, task.context_length) == (made_up_corpus(seed=5).sha256, 300, 16)
    capsys.readouterr()
    assert main(["show", run_id, "--runs", str(runs)]) == 0
    assert main(["list", "--runs", str(runs)]) == 0
    assert str(folder) not in capsys.readouterr().out


def test_a_text_too_small_for_the_model_is_told_at_once(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_corpus(tmp_path / "stories", made_up_corpus()))
    with pytest.raises(SystemExit) as exit_:
        main(["train", "language_modelling", "--corpus", folder, *SMALL, "--runs", str(runs)])
    assert exit_.value.code == 2
    out = str(tmp_path / "figures")
    assert (
        main(["figures", "--scale", "quick", "--corpus", folder, "--runs", str(runs), "--out", out, "--device", "cpu"])
        == 1
    )
    error = capsys.readouterr().err
    assert "d_vocab=10000" in error
    assert "d_vocab=1024" in error
    assert not runs.exists()
    assert not Path(out).exists()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Figure], Corpus | None]]:
    """What is asked to be drawn."""
    calls: list[tuple[list[Figure], Corpus | None]] = []

    def draw(papers: list[Paper], store: RunStore, out: Path, *, corpus: Corpus | None, **_: object) -> None:
        calls.append(([figure for paper in papers for figure in paper.figures.values()], corpus))

    monkeypatch.setattr(figures, "draw", draw)
    return calls


def test_without_a_corpus_figures_on_language_are_left_out_with_a_note(
    drawn: list, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figures", "--scale", "quick"]) == 0
    ((chosen, corpus),) = drawn
    assert corpus is None
    assert [figure.name for figure in chosen] == [
        name for paper in PAPERS.values() for name, figure in paper.figures.items() if not paper.needs_corpus(figure)
    ]
    (note,) = capsys.readouterr().err.splitlines()
    for word in ("figure4_language_loss", "figure5_completions", "table5_language_variance", "--corpus PATH"):
        assert word in note


def test_a_paper_is_drawn_without_its_language(drawn: list, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "--scale", "quick", "--only", "random_transformers", "figure4_language_loss"]) == 0
    ((chosen, _),) = drawn
    names = {figure.name for figure in chosen}
    assert {"table1_accuracy", "figure4_language_loss"} <= names
    assert not {"figure5_completions", "table5_language_variance"} & names
    left_out = "figure5_completions, table5_language_variance"
    assert f"not drawn: {left_out}; language modelling needs a text" in capsys.readouterr().err


def test_with_a_corpus_everything_is_drawn(drawn: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_corpus(tmp_path, made_up_corpus())
    assert main(["figures", "--scale", "quick", "--corpus", str(folder)]) == 0
    assert (
        main(
            [
                "figures",
                "--scale",
                "quick",
                "--corpus",
                str(folder),
                "--only",
                "figure5_completions",
                "figure3_embeddings",
            ]
        )
        == 0
    )
    assert [[figure.name for figure in chosen] for chosen, _ in drawn] == [
        [name for paper in PAPERS.values() for name in paper.figures],
        ["figure3_embeddings", "figure5_completions"],
    ]
    assert all(corpus == made_up_corpus() for _, corpus in drawn)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("there", "only", "told"),
    [
        ([], "table6_parameters", []),
        (["figures/runs"], "table1_accuracy", ["typo"]),
        (["typo"], "table1_accuracy", ["figures/runs"]),
        (["figures/runs", "typo"], "table1_accuracy", []),
    ],
)
def test_a_folder_that_is_not_there_is_told(
    there: list[str],
    only: str,
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "redraw", lambda *_, **__: None)
    for folder in there:
        Path(folder).mkdir(parents=True)
    assert main(["figures", "--runs", "typo", "--only", only]) == 0
    lines = [f"there is no folder {folder}: drawn without it" for folder in told]
    assert capsys.readouterr().err.splitlines() == lines


def test_an_interrupt_ends_with_the_shell_convention(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rtinterp.cli.train.train", interrupt)
    assert main(["train", "modular_addition", "--p", "13", *SMALL, "--runs", str(runs)]) == 130
    assert "finished runs are stored" in capsys.readouterr().err


def test_an_interrupted_command_that_trains_nothing_promises_nothing(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rtinterp.cli.list.RunStore", interrupt)
    assert main(["list", "--runs", str(runs)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(("body", "trainable"), [("lstm", "embeddings+recurrence"), ("rnn", "all")])
def test_recurrent_bodies_are_trained(body: str, trainable: str, runs: Path) -> None:
    options = ["--p", "13", "--body", body, "--n-layers", "1", "--trainable", trainable, *SMALL, "--device", "cpu"]
    assert main(["train", "modular_addition", *options, "--runs", str(runs)]) == 0
    (run_id,) = RunStore(runs).run_ids()
    spec = RunStore(runs).load(run_id).spec
    assert spec.model == RecurrentSpec(d_model=16, n_layers=1, cell=body)
    assert RECURRENCE in parse(spec.trainable, {RECURRENCE})


def test_a_registered_body_is_trained(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BODIES, "_classes", dict(BODIES._classes))

    @register_body
    @strict
    class Deep(ModelSpec):
        """A transformer of three layers."""

        name: ClassVar[str] = "deep"
        n_layers: int = 3

    assert main(["train", "modular_addition", "--p", "13", "--body", "deep", *SMALL, "--runs", str(runs)]) == 0
    (run_id,) = RunStore(runs).run_ids()
    assert RunStore(runs).load(run_id).spec.model == Deep(16)


def test_help_imports_neither_torch_nor_transformer_lens() -> None:
    code = (
        "import sys; from rtinterp.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformer_lens', 'polars', 'tyro'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_users_figures_go_to_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []

    def draw(papers: list[Paper], store: RunStore, out: Path, *, shipped: Path, **_: object) -> None:
        folders.append((out, shipped))

    monkeypatch.setattr(figures, "draw", draw)
    monkeypatch.setattr(figures, "redraw", draw)
    for command in (["figures"], ["figures", "--scale", "quick"], ["figures", "--out", "figures"]):
        assert main(command) == 0
    assert folders == [(Path("results"), Path("figures"))] * 2 + [(Path("figures"), Path("figures"))]
    ignored = subprocess.run(
        ["git", "check-ignore", "results/index.html", "results/random_transformers/data/table1_accuracy.csv"],
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
    )
    assert ignored.returncode in (0, 128), "128: not a git repository"


def test_the_script_is_the_figures_command() -> None:
    script = Path(__file__).parents[2] / "analyses" / "make_figures.py"
    shown = subprocess.run([sys.executable, str(script), "--help"], check=True, capture_output=True, text=True).stdout
    for option in ("--scale", "--only", "--seeds", "--corpus", "--runs", "--out", "--device"):
        assert option in shown


def test_divergence_ends_in_a_line_with_the_step(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--d-model", "16", "--n-steps", "50", "--batch-size", "8", "--n-warmup-steps", "0"]
    status = main(["train", "modular_addition", "--p", "13", *options, "--learning-rate", "1e38", "--runs", str(runs)])
    assert status == 1
    assert "at step" in capsys.readouterr().err
    assert RunStore(runs).run_ids() == []
    assert "at step" in RunStore(runs).failed()[0].reason
