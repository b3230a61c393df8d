"""``rtinterp train TASK`` and ``rtinterp train spec FILE``."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from rtinterp.cli import listing, unknown
from rtinterp.cli.options import run_command
from rtinterp.models.bodies import BODIES
from rtinterp.models.body import Body
from rtinterp.models.parameters import GROUPS
from rtinterp.models.recurrent.architecture import Cell
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.regimes import TRAINABLE, Trainable, canonical
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store import RunStore
from rtinterp.store.record import read_spec
from rtinterp.store.training import train
from rtinterp.tasks import TASKS, LanguageModelling, Task, open_corpus
from rtinterp.training.spec import RunSpec, TrainSpec

PROGRAM = "rtinterp train"
#: Takes a task's place.
FROM_SPEC = "spec"
NAME_WIDTH = 22
#: What --body calls a recurrent body.
CELLS = get_args(Cell)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Train one model, or several seeds of it, and store the runs.",
        epilog="tasks:\n"
        + listing({name: _summary(task) for name, task in TASKS.items()}, NAME_WIDTH)
        + "\n\nor, instead of a task:\n"
        + listing({FROM_SPEC: _summary(train_specs)}, NAME_WIDTH),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", metavar="TASK", help="one of the tasks below; TASK --help tells its options")
    parser.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.task not in (*TASKS, FROM_SPEC):
        parser.error(unknown("task", parsed.task, (*TASKS, FROM_SPEC)))
    program = f"{PROGRAM} {parsed.task}"
    if parsed.task == FROM_SPEC:
        run_command(train_specs, parsed.options, program)
        return
    body, options = _chosen_body(parsed.options, program)
    run_command(_command(TASKS[parsed.task], body), options, program, prefixes=False)


def _chosen_body(options: Sequence[str], program: str) -> tuple[str, list[str]]:
    """What ``--body`` names, which decides what other options there are, and the other options."""
    parser = argparse.ArgumentParser(prog=program, add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    parser.add_argument("--body", default=ModelSpec.name)
    chosen, others = parser.parse_known_args(options)
    if chosen.body not in (names := _body_names()):
        parser.error(unknown("body", chosen.body, names))
    return chosen.body, ["--cell", chosen.body, *others] if chosen.body in CELLS else others


def _body_names() -> list[str]:
    """What ``--body`` takes: the names of all bodies, but for a recurrent one those of its cells."""
    return [name for body in BODIES for name in (CELLS if body == RecurrentSpec.name else (body,))]


def _regime(body_type: type[Body]) -> Any:
    """What tyro reads ``--trainable`` as: any set of component groups that the body may have."""
    own_groups = body_type.own_groups
    groups = ", ".join((*GROUPS, *sorted(own_groups)))
    return Annotated[
        Trainable,
        PrimitiveConstructorSpec(
            1, "SET", lambda names: canonical(names[0], own_groups), lambda it: isinstance(it, str), lambda it: [it]
        ),
        tyro.conf.arg(
            help=f"which parameters train: {', '.join(TRAINABLE)}, or any of {groups} joined by +; embeddings makes a "
            "random model, all a fully trained one.",
        ),
    ]


def _summary(command: Callable[..., object]) -> str:
    return (inspect.getdoc(command) or "").partition("\n")[0]


def _language_modelling(
    corpus: Annotated[str, tyro.conf.arg(metavar="PATH")],
    d_vocab: int = LanguageModelling.d_vocab,
    context_length: int = LanguageModelling.context_length,
) -> LanguageModelling:
    """The task of a text.

    Args:
        corpus: a .txt, .jsonl or .parquet file, a folder of two (train, valid), or a data set on the Hugging Face hub.
        d_vocab: number of tokens of the BPE, 10,000 in the paper.
        context_length: tokens per window, 512 in the paper.
    """
    return LanguageModelling.from_corpus(corpus, d_vocab, context_length)


def _command(task_type: type[Task], body_name: str) -> Callable[..., None]:
    def train_one(
        task: Task,
        model: Body,
        training: TrainSpec,
        body: str = body_name,
        trainable: Trainable = "embeddings",
        seed: tuple[int, ...] = (0,),
        runs: Path = Path("runs"),
        device: str | None = None,
        retry_failed: bool = False,
    ) -> None:
        """Train a model, or several seeds of it in one stack, and store the runs.

        Args:
            seed: one or several.
            runs: the run store; runs that are in it are not trained again.
            device: cpu or cuda; cuda where there is one if not given.
            retry_failed: train again what failed before.
        """
        if not seed:
            raise ValueError("--seed: name at least one seed, such as --seed 0 1 2")
        specs = [RunSpec(task, model, training, trainable, s) for s in seed]
        _train(specs, RunStore(runs), device, retry_failed)

    body_type = RecurrentSpec if body_name in CELLS else BODIES[body_name]
    body_help = f"what lies between the embeddings: {', '.join(_body_names())}; each has other model options."
    # tyro resolves annotations by name, and the options differ from task to task and from body to body.
    train_one.__annotations__ |= {
        "task": _options(task_type),
        "model": body_type,
        "body": Annotated[str, tyro.conf.arg(metavar="BODY", help=body_help)],
        "trainable": _regime(body_type),
    }
    return train_one


def train_specs(
    specs: tyro.conf.Positional[tuple[Path, ...]],
    /,
    *,
    corpus: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None,
    runs: Path = Path("runs"),
    device: str | None = None,
    retry_failed: bool = False,
) -> None:
    """Train the runs that spec files describe, such as the spec.json of a stored run.

    Args:
        specs: spec files, or folders of stored runs.
        corpus: text for language: a .txt, .jsonl or .parquet file, a folder of two (train, valid), or a hub name.
        runs: the run store; runs that are in it are not trained again.
        device: cpu or cuda; cuda where there is one if not given.
        retry_failed: train again what failed before.
    """
    if not specs:
        raise ValueError("name at least one spec file")
    described = [read_spec(path) for path in specs]
    hashes = {spec.task.corpus_sha256 for spec in described if isinstance(spec.task, LanguageModelling)}
    if hashes:
        _open_text(corpus, hashes)
    _train(described, RunStore(runs), device, retry_failed)


def _open_text(corpus: str | None, hashes: set[str]) -> None:
    if corpus is None:
        raise ValueError("a run is about language, and its spec names the text by its hash alone: pass --corpus PATH")
    opened = open_corpus(corpus).sha256
    if hashes != {opened}:
        raise ValueError(f"--corpus {corpus}: is the text {opened[:12]}, not {sorted(hashes - {opened})[0][:12]}")


def _train(specs: Sequence[RunSpec], store: RunStore, device: str | None, retry_failed: bool) -> None:
    for run in train(specs, store=store, device=device, retry_failed=retry_failed):
        accuracy = run.test_accuracy
        tested = f"loss {run.test_loss:.4g}" if accuracy is None else f"{accuracy:.4f}"
        print(f"{tested}  {store.path / (store.id_of(run.spec) or run.run_id)}")


def _options(task_type: type[Task]) -> Any:
    """What tyro reads a task's options from: its fields, but a text where the task holds the hash of one."""
    if task_type is LanguageModelling:
        return Annotated[LanguageModelling, tyro.conf.arg(constructor=_language_modelling)]
    return task_type
