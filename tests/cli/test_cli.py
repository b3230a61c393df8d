"""The command line: what works, and what a user types wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtinterp.cli import main
from rtinterp.store import RunStore

SMALL = ["--d-model", "16", "--n-steps", "2", "--batch-size", "4"]


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
        (["train", "modular_addition", "--device", "tpu", *SMALL], 1, "'cpu' or 'cuda'"),
        (["figures", "--only", "figure3"], 1, "did you mean 'figure3_embeddings'"),
        (["figures", "--scale", "qick"], 1, "did you mean 'quick'"),
        (["figures", "--seeds", "0"], 1, "at least 1"),
        (["figures", "--seedz", "1"], 2, "--seeds"),
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
    assert "Traceback" not in captured.err
    assert not list(tmp_path.iterdir()), "nothing was trained or written"


def test_an_interrupt_ends_with_the_shell_convention(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunStore, "train_missing", interrupt)
    assert main(["train", "modular_addition", "--p", "13", *SMALL, "--runs", str(runs)]) == 130
    assert "finished runs are stored" in capsys.readouterr().err


def test_help_imports_neither_torch_nor_transformer_lens() -> None:
    code = (
        "import sys; from rtinterp.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformer_lens', 'polars', 'tyro'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_script_is_the_figures_command() -> None:
    script = Path(__file__).parents[2] / "analyses" / "make_figures.py"
    shown = subprocess.run([sys.executable, str(script), "--help"], check=True, capture_output=True, text=True).stdout
    for option in ("--scale", "--only", "--seeds", "--runs", "--out", "--device"):
        assert option in shown


def test_divergence_ends_in_a_line_with_the_step(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--d-model", "16", "--n-steps", "50", "--batch-size", "8", "--n-warmup-steps", "0"]
    status = main(["train", "modular_addition", "--p", "13", *options, "--learning-rate", "1e38", "--runs", str(runs)])
    assert status == 1
    assert "at step" in capsys.readouterr().err
    assert not runs.exists()
