"""Which runs are as a user describes them, by what their specs say."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from rtinterp.models.bodies import BODIES
from rtinterp.models.body import Body
from rtinterp.models.regimes import canonical
from rtinterp.registry import UnknownNameError
from rtinterp.tasks import TASKS, Task
from rtinterp.training.spec import RunSpec, TrainSpec

#: What bodies are called in tables beside their registered names.
BODY_LABELS = ("linearised transformer", "lstm", "rnn")
#: What is asked for by name, or by class, or as it is.
_PARTS = {"task": Task, "body": Body}


def matching(specs: Mapping[str, RunSpec], wanted: Mapping[str, object]) -> list[str]:
    """The ids of those specs that have all that is wanted, in their order; see ``RunStore.find``.

    Raises:
        ValueError: no run could have such a field, or nothing is called like that.
        TypeError: a value could not be that of any run.
    """
    known = {*_PARTS, "trainable", "seed", "parametrisation"}.union(
        *(_names(part) for part in (TrainSpec, *BODIES.values(), *TASKS.values()))
    )
    choices: dict[str, list[Any]] = {}
    for name, value in wanted.items():
        if name not in known:
            raise UnknownNameError("field of a run", name, known)
        choices[name] = list(value) if isinstance(value, Iterable) and not isinstance(value, str | type) else [value]
        for choice in choices[name]:
            _check(name, choice, specs.values())
        # A field may hold several values itself.
        if isinstance(value, tuple) and name not in _PARTS:
            choices[name].append(value)
    return [run_id for run_id, spec in specs.items() if all(_has(spec, *field) for field in choices.items())]


def _has(spec: RunSpec, name: str, choices: Collection[Any]) -> bool:
    if name == "task":
        return any(_is(spec.task, choice, {spec.task.name}) for choice in choices)
    if name == "body":
        return any(_is(spec.model, choice, {spec.model.name, spec.model.label}) for choice in choices)
    if name == "trainable":
        return any(spec.trainable in _forms(choice, [spec.model.own_groups]) for choice in choices)
    fields = _fields(spec)
    return name in fields and fields[name] in choices


def _is(part: object, wanted: object, names: Collection[str]) -> bool:
    """Whether a part of a spec is the wanted one, of the wanted class, or called like that."""
    return isinstance(part, wanted) if isinstance(wanted, type) else part == wanted or wanted in names


def _fields(spec: RunSpec) -> dict[str, object]:
    """All that a spec says, by name; the seed is the run's own, whatever else has one."""
    parts = (spec.task, spec.training, spec.model)
    fields = {name: getattr(part, name) for part in parts for name in _names(part)}
    return fields | {"seed": spec.seed, "parametrisation": spec.parametrisation}


def _names(part: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(part)]


def _forms(trainable: str | Iterable[str], of_bodies: Iterable[frozenset[str]]) -> set[str]:
    """The canonical forms of a set of component groups, of which some are a certain body's alone."""
    forms: set[str] = set()
    for own_groups in of_bodies:
        with contextlib.suppress(ValueError):
            forms.add(canonical(trainable, own_groups))
    return forms


def _check(name: str, choice: Any, specs: Iterable[RunSpec]) -> None:
    """Refuse a name that nothing has, and what is of another kind than the values of any run."""
    if name in _PARTS:
        if isinstance(choice, str):
            labels = {*BODY_LABELS, *(spec.model.label for spec in specs)}
            known = TASKS.keys() if name == "task" else BODIES.keys() | labels
            if choice not in known:
                raise UnknownNameError(name, choice, known)
        elif not isinstance(choice, (_PARTS[name], type)):
            raise TypeError(f"{name}={choice!r}: give a name, a class or a {_PARTS[name].__name__}")
    elif name == "trainable":
        if not _forms(choice, [body.own_groups for body in BODIES.values()]):
            canonical(choice)  # says what there is
    elif isinstance(choice, str):
        values = [fields[name] for spec in specs if name in (fields := _fields(spec))]
        if values and all(isinstance(value, int | float) for value in values):
            raise TypeError(f"{name}={choice!r}: is a text, and runs have a number there")
