"""What is recorded of how a run was made, wherever it is made."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_references import small_run

from rtinterp.training import environment
from rtinterp.training.environment import command_line, describe_environment, git_state, peak_memory_bytes

CPU = torch.device("cpu")
SPECS = [small_run(seed=0), small_run(seed=1)]


@pytest.fixture(autouse=True)
def asked_anew():
    git_state.cache_clear()
    yield
    git_state.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that this module seems to lie in."""
    file = tmp_path / "rtinterp" / "training" / "environment.py"
    file.parent.mkdir(parents=True)
    file.write_text("one")
    try:
        git(tmp_path, "init", "--quiet")
    except OSError:
        pytest.skip("git is not installed")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    monkeypatch.setattr(environment, "__file__", str(file))
    return tmp_path


def test_the_commit_is_that_of_the_checkout_and_changes_make_it_dirty(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert git_state() == (head, False)
    (checkout / "untracked").write_text("a run store")
    git_state.cache_clear()
    assert git_state() == (head, False)
    (checkout / "rtinterp" / "training" / "environment.py").write_text("two")
    assert git_state() == (head, False), "asked once per process"
    git_state.cache_clear()
    assert git_state() == (head, True)


def test_an_installed_package_has_no_commit(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where it is installed within another checkout, as a virtual environment often is."""
    inside = checkout / ".venv" / "site-packages" / "rtinterp" / "training" / "environment.py"
    monkeypatch.setattr(environment, "__file__", str(inside))
    assert git_state() == (None, None)


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 1), PermissionError()])
def test_git_never_fails_a_run(checkout: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert describe_environment(CPU, SPECS[:1], 0.5).git_commit is None


def test_a_checkout_without_a_commit_has_none(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("nonsense")
    assert git_state() == (None, None)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/usr/bin/rtinterp", "train", "modular_addition"], "rtinterp train modular_addition"),
        (["a script.py", "--name", "it's"], "python 'a script.py' --name 'it'\"'\"'s'"),
        (["-c"], None),
        ([""], None),
        ([], None),
        (["/x/ipykernel_launcher.py", "-f", "kernel.json"], None),
        (["rtinterp", "a\nb\x1b\udcff"], "rtinterp 'a?b??'"),
    ],
)
def test_the_command_line_is_quoted_for_a_shell(
    argv: list[str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert command_line() == expected
    assert describe_environment(CPU, SPECS[:1], 0.5).command == expected
    if expected and expected.isprintable() and "?" not in expected:
        assert shlex.split(expected)[-len(argv) + 1 :] == argv[1:]


def test_peak_memory_grows_with_what_is_held() -> None:
    code = (
        "import torch; from rtinterp.training.environment import peak_memory_bytes as peak\n"
        "import json; before = peak(torch.device('cpu')); held = torch.ones(2**26)\n"
        "print(json.dumps([before, peak(torch.device('cpu'))]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, after = json.loads(done.stdout)
    assert 0.9 * 2**28 < after - before < 1.3 * 2**28
    assert peak_memory_bytes(CPU) > 2**26


def test_a_system_without_a_resource_module_records_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: "no such line")
    assert peak_memory_bytes(CPU) > 2**26
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory_bytes(CPU) is None


def test_everything_recorded_is_json_and_of_this_process() -> None:
    found = describe_environment(CPU, SPECS, 1.23456)
    assert (found.device_type, found.n_stacked, found.duration_seconds) == ("cpu", 2, 1.235)
    assert found.numpy == __import__("numpy").__version__
    assert None not in (found.tokenizers, found.transformer_lens, found.peak_memory_bytes)
