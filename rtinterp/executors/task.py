"""What goes to a worker and what comes back, as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Literal

from pydantic import TypeAdapter

from rtinterp.strict import strict


@strict
class StackTask:
    """One stack to train.

    Attributes:
        name: of the stack, for people.
        specs: the run specs, each as its canonical JSON.
        store: path of the run store.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        life_sign: file that is there, and touched, as long as the sweep wants the stack.
        corpus: what ``open_corpus`` reads for tasks on language.
        deadline: when to stop, in seconds since the epoch.
        seconds: how long the job that trains it may take, from its start.
        n_threads: of the training process; None leaves that to the worker's environment.
        n_gpus: GPUs of the worker's machine, of which it takes the one with its own number; 0 leaves them as they are.
        worker: number of the worker; None where the worker knows it.
        retry_failed: train again what failed before.
        command: the arguments of the sweep's process, which are recorded with the runs.
        modules: to import first; they define tasks and bodies that are not rtinterp's own.
    """

    name: str
    specs: tuple[str, ...]
    store: str
    device: str
    life_sign: str
    corpus: str | None = None
    deadline: float | None = None
    seconds: float | None = None
    n_threads: int | None = None
    n_gpus: int = 0
    worker: int | None = None
    retry_failed: bool = False
    command: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


@strict
class Outcome:
    """How the training of a stack ended.

    Attributes:
        ended: ``"finished"``; ``"unfinished"``, since the deadline came or another process is training it; ``"paused"``
            at the end of its job's time; ``"error"``; ``"killed"``, every time it was tried; ``"stopped"``, as the
            sweep was.
        message: of the error, or how it was killed.
        warnings: what the user should hear of.
    """

    ended: Literal["finished", "unfinished", "paused", "error", "killed", "stopped"]
    message: str = ""
    warnings: tuple[str, ...] = ()


def to_json(contents: StackTask | Outcome) -> str:
    """The contents as JSON, in one line."""
    return json.dumps(dataclasses.asdict(contents))


def task_from_json(text: str) -> StackTask:
    return TypeAdapter(StackTask).validate_json(text, strict=True)


def outcome_from_json(text: str) -> Outcome:
    return TypeAdapter(Outcome).validate_json(text, strict=True)
