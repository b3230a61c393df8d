"""What the command line says of itself."""

from __future__ import annotations

import pytest

from rtinterp.cli import COMMANDS, main
from rtinterp.papers.ladder.bodies import BODIES
from rtinterp.tasks import TASKS

SUBCOMMANDS = [
    *([command] for command in sorted(set(COMMANDS) - {"train"})),
    *(["train", task, "--body", body] for task, body in [("modular_addition", "transformer"), ("memorization", "rnn")]),
    *(["train", task] for task in ("circuit_imitation", "language_modelling", "needle_in_a_haystack", "spec")),
    *(["train", task] for task in ("decimal_addition", "parenthesis_balancing")),
    ["train"],
]


def help_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        main([*words, "--help"])
    assert exit_.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", SUBCOMMANDS, ids=" ".join)
def test_help_is_written_for_readers(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(words, capsys)
    assert "``" not in text, "markup of docstrings"
    assert "{None}" not in text, "the types of Python"


def test_the_help_of_training_names_tasks_and_bodies(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(["train"], capsys)
    assert all(name in text for name in ("modular_addition", "memorization", "spec"))
    assert all(text.count(f"\n  {name} ") == 1 for name in list(TASKS))
    text = " ".join(help_of(["train", "modular_addition"], capsys).replace("│", " ").split())
    assert "--body BODY what lies between the embeddings: transformer, lstm, rnn" in text
    assert "--n-heads" in text
    assert "--cell" not in text


def test_the_help_of_the_ladder_names_all_bodies(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(["ladder"], capsys).replace("│", " ").split())
    assert f"what lies between the embeddings: {', '.join(BODIES)}." in text


def test_the_body_decides_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(["train", "modular_addition", "--body", "rnn"], capsys).replace("│", " ").split())
    assert "--cell" in text
    assert "--n-heads" not in text
    assert "norms, recurrence joined by +" in text


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr().err
    assert all(f"\n  {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", [[], ["train"]], ids=["rtinterp", "train"])
def test_lists_fit_the_terminal(
    words: list[str], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = help_of(words, capsys).splitlines()
    assert max(map(len, lines)) <= columns
    names = COMMANDS if not words else TASKS
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in names)
