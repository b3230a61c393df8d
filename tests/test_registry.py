"""Tasks that users add: known by a name of their own, or refused before anything is trained."""

from __future__ import annotations

import dataclasses
import enum
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import user_tasks
from user_tasks import CopyFirst

from rtinterp import ModelSpec, RunSpec, TrainSpec, register_task
from rtinterp.registry import Registry, UnknownNameError
from rtinterp.tasks import TASKS, ModularAddition, Task
from rtinterp.training.spec import spec_from_json, spec_to_json

TRAINING = TrainSpec(n_steps=1, batch_size=2, n_warmup_steps=0)


def run_of(task: Task) -> RunSpec:
    return RunSpec(task, ModelSpec(8), TRAINING)


def subclass(name: str | None = None, /, module: str = "somewhere", *, decorated: bool = True, **fields: Any) -> type:
    """A task that differs from CopyFirst in its name, if it has one, and its fields: type and default of each."""
    members = {"__annotations__": {}, "__module__": module}
    for field, (of_type, default) in fields.items():
        members["__annotations__"][field] = of_type
        members[field] = default
    if name is not None:
        members |= {"name": name, "__annotations__": {**members["__annotations__"], "name": ClassVar[str]}}
    cls = types.new_class("Mine", (CopyFirst,), exec_body=lambda namespace: namespace.update(members))
    return dataclasses.dataclass(frozen=True)(cls) if decorated else cls


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch):
    """What a test registers, no other one sees."""
    monkeypatch.setattr(TASKS, "_classes", dict(TASKS._classes))


def test_a_registered_task_comes_back_from_json():
    spec = run_of(CopyFirst(n_values=9))
    assert TASKS["copy_first"] is CopyFirst
    assert spec_from_json(spec_to_json(spec)) == spec


def test_the_paper_s_tasks_are_registered():
    assert TASKS["modular_addition"] is ModularAddition
    assert all(name == cls.name for name, cls in TASKS.items())


@pytest.mark.parametrize(
    ("cls", "error", "message"),
    [
        (subclass(), ValueError, "Mine has no name of its own"),
        (subclass("copy_first"), ValueError, "'copy_first' is taken by user_tasks.CopyFirst"),
        (subclass("Copy-First"), ValueError, "'Copy-First'; use lower-case letters"),
        (subclass("mine", decorated=False), TypeError, r"not a frozen dataclass; decorate it with @dataclass\(frozen"),
        (dataclasses.make_dataclass("Mine", [], frozen=True), TypeError, "Mine is not a subclass of Task"),
        (subclass(name=(str, "mine")), ValueError, r"annotate it as name: ClassVar\[str\]"),
        (CopyFirst(), TypeError, "is not a subclass"),
    ],
    ids=["no own name", "taken name", "no name of a folder", "not frozen", "no task", "name is a field", "instance"],
)
def test_what_cannot_be_registered_says_why(cls: type, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        register_task(cls)


def test_a_class_that_is_defined_again_takes_the_place_of_the_earlier_one():
    """As when a notebook cell runs twice; what was made of the earlier one has to be made again."""
    first, second = subclass("mine", "__main__"), subclass("mine", "__main__")
    register_task(first)
    earlier = first()
    register_task(second)
    register_task(second)
    assert TASKS["mine"] is second
    assert run_of(second()).task == second()
    with pytest.raises(ValueError, match="Mine was defined again since this task was made; make it again"):
        run_of(earlier)


@pytest.mark.parametrize("name", [None, "mine"])
def test_an_unregistered_task_is_refused_before_training(name: str | None):
    """One without a name of its own would have its parent's run id."""
    with pytest.raises(ValueError, match=r"Mine is not registered.*call rtinterp.register_task\(Mine\)"):
        run_of(subclass(name)())


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ((torch.Tensor, torch.zeros(2)), r"Mine.extra cannot be written as JSON: Object of type Tensor"),
        ((Colour, Colour.RED), r"Mine.extra cannot be written as JSON: Object of type Colour"),
        ((frozenset, frozenset({1})), r"Mine.extra cannot be written as JSON: Object of type frozenset"),
        ((float, float("nan")), r"Mine.extra cannot be written as JSON: Out of range"),
        ((list, dataclasses.field(default_factory=lambda: [1])), "Mine: unhashable type: 'list'; use a tuple"),
        ((int, dataclasses.field(default=3, init=False)), r"Mine cannot be made again from its fields.*extra"),
        ((ModularAddition, ModularAddition(5)), r"Mine.extra cannot be written as JSON: Object of type ModularAd"),
    ],
    ids=["tensor", "enum", "set", "nan", "list", "not an argument", "nested"],
)
def test_a_task_that_would_not_come_back_is_refused_before_training(field: tuple, message: str):
    cls = register_task(subclass("mine", extra=field))
    with pytest.raises(ValueError, match=message):
        run_of(cls())


def test_tuples_come_back_as_tuples():
    cls = register_task(subclass("mine", extra=(tuple, ((1, 2), ("a",)))))
    spec = run_of(cls())
    assert spec_from_json(spec_to_json(spec)).task.extra == ((1, 2), ("a",))


def test_an_unknown_name_tells_the_nearest_one():
    text = spec_to_json(run_of(CopyFirst())).replace("copy_first", "copy_frist")
    with pytest.raises(UnknownNameError, match="unknown task 'copy_frist'; did you mean 'copy_first'") as told:
        spec_from_json(text)
    assert (told.value.kind, told.value.name) == ("task", "copy_frist")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution that declares a task, and one that is broken, as pip would have installed it."""
    source = Path(user_tasks.__file__).read_text().replace("@register_task\n", "").replace("copy_first", "copy_it")
    (tmp_path / "copying.py").write_text(source)
    information = tmp_path / "copying-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: copying\nVersion: 1.0\n")
    declared = "[rtinterp.tasks]\nbroken = copying:Nothing\ncopy_it = copying:CopyFirst\n"
    (information / "entry_points.txt").write_text(declared)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_tasks_of_installed_packages_are_registered_when_one_is_looked_for(installed: Path):
    registry = Registry("task", Task, "rtinterp.tasks")
    with pytest.warns(UserWarning, match="left out the installed task copying:Nothing: .*'Nothing'"):
        cls = registry["copy_it"]
    assert (cls.__module__, list(registry)) == ("copying", ["copy_it"])
    with pytest.raises(KeyError):
        registry["copy_that"]


def test_the_command_line_trains_a_task_of_an_installed_package(installed: Path, tmp_path: Path, capsys):
    options = [
        "--d-model",
        "8",
        "--n-steps",
        "1",
        "--batch-size",
        "2",
        "--n-warmup-steps",
        "0",
        "--n-values",
        "5",
        "--runs",
        str(tmp_path / "r"),
    ]
    code = f"""
import sys; sys.path.insert(0, {str(installed)!r})
from rtinterp.cli import main
assert main(["train", "copy_it", *{options}]) == 0
sys.exit(main(["list", "--task", "copy_it", "--runs", {str(tmp_path / "r")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "n_values=5" in done.stdout
    assert "left out the installed task copying:Nothing" in done.stderr
