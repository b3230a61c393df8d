"""What the processes of these tests do. A fork server imports this once, so that a process starts in milliseconds."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from corpus_references import made_up_corpus

from rtinterp.cli import main
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_transformers.scales import SCALES, ImitationBudget, LanguageBudget, Scale, TaskBudget
from rtinterp.store import RunStore, resumable
from rtinterp.store.locks import Claim, Locks
from rtinterp.store.training import train
from rtinterp.tasks import (
    CircuitImitation,
    DecimalAddition,
    LanguageModelling,
    Memorization,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
)
from rtinterp.training.spec import RunSpec, TrainSpec

torch.set_num_threads(1)
# What torch imports at the first use of an optimiser takes seconds.
_weight = torch.zeros(1, requires_grad=True)
_weight.grad = torch.zeros(1)
torch.optim.AdamW([_weight], fused=True).step()
FIELDS = {"batch_size": 8, "n_warmup_steps": 2, "learning_rate": 1e-2, "steps_per_evaluation": 4}
TRAINING = TrainSpec(n_steps=10, **FIELDS)
TINY = "tiny"


def every_kind() -> list[RunSpec]:
    """One stack of three, and a run of every other body, regime, task and precision that has a state of its own."""
    bfloat16 = TrainSpec(n_steps=10, precision="bfloat16", **FIELDS)
    imitation = CircuitImitation(target_d_model=4, target_n_layers=1, d_vocab=16, n_tokens=6)
    language = LanguageModelling.from_corpus(made_up_corpus(), 300, 16)
    return [
        *(RunSpec(ModularAddition(p=7), ModelSpec(16), TRAINING, "embeddings", seed) for seed in (0, 1, 2)),
        RunSpec(NeedleInAHaystack(4, 16), ModelSpec(8), TRAINING, "all"),
        RunSpec(DecimalAddition(2), ModelSpec(8, attention="prefix_sum"), TRAINING, "all"),
        RunSpec(ModularAddition(p=7), RecurrentSpec(8), TRAINING, "embeddings"),
        RunSpec(ParenthesisBalancing(4), RecurrentSpec(8, cell="rnn"), TRAINING, "all", 1),
        RunSpec(imitation, ModelSpec(8, n_layers=1), TRAINING, "unembedding"),
        RunSpec(language, ModelSpec(8), TRAINING, "embeddings"),
        RunSpec(Memorization(5), ModelSpec(8), bfloat16, "embeddings", 4),
    ]


def few_steps() -> list[RunSpec]:
    """Many runs of two steps, so that most of the time goes into saving."""
    training = TrainSpec(n_steps=2, **FIELDS)
    specs = [RunSpec(ModularAddition(p), ModelSpec(8), training, "embeddings", s) for p in (5, 7) for s in range(3)]
    return [*specs, RunSpec(ModularAddition(5), ModelSpec(8), training, "all")]


def tiny_scale() -> Scale:
    tasks = (ModularAddition(p=13), NeedleInAHaystack(4, 16), DecimalAddition(2), ParenthesisBalancing(5))
    training = TrainSpec(n_steps=4, **FIELDS)
    return Scale(
        algorithmic=tuple(TaskBudget(task, (8, 16), training, training, training) for task in tasks),
        memorization=TaskBudget(Memorization(n_keys=6), (8,), training, training, training),
        imitation=ImitationBudget((4,), 5, 16, ModelSpec(8, n_layers=3), training, training),
        language=LanguageBudget(300, 16, (8,), (2,), 4, training, training),
    )


def set_up(runs: Path, checkpoint_minutes: float) -> None:
    os.environ["RTINTERP_CHECKPOINT_MINUTES"] = str(checkpoint_minutes)
    os.environ["BROWSER_PATH"] = str(runs / "no browser")
    SCALES[TINY] = tiny_scale()
    log = os.open(runs.with_name(f"{runs.name}.err"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)


def train_every_kind(runs: Path, checkpoint_minutes: float = 0) -> None:
    set_up(runs, checkpoint_minutes)
    train(every_kind(), store=RunStore(runs), device="cpu", progress=False)


def train_few_steps(runs: Path, checkpoint_minutes: float = 0) -> None:
    set_up(runs, checkpoint_minutes)
    train(few_steps(), store=RunStore(runs), device="cpu", progress=False)


def sweep(runs: Path, checkpoint_minutes: float = 0) -> None:
    set_up(runs, checkpoint_minutes)
    sys.exit(main(["sweep", "table2", "--seeds", "2", "--scale", TINY, "--device", "cpu", "--runs", str(runs)]))


def draw(runs: Path, checkpoint_minutes: float = 0) -> None:
    set_up(runs, checkpoint_minutes)
    out = str(runs.with_name(f"{runs.name}-figures"))
    figures = ["--only", "figure3_embeddings", "figure7_width"]
    sys.exit(main(["figures", *figures, "--scale", TINY, "--device", "cpu", "--runs", str(runs), "--out", out]))


def train_logged(runs: Path, log: Path) -> None:
    """Like ``train_few_steps``; every run whose training begins is a line of the log."""
    set_up(runs, 5)
    train_stack_kept = resumable.train_stack_kept

    def logged(specs: list[RunSpec], *arguments: object, **keywords: object) -> object:
        with log.open("a") as file:
            file.writelines(f"{spec.run_id}\n" for spec in specs)
        return train_stack_kept(specs, *arguments, **keywords)

    resumable.train_stack_kept = logged
    train([*few_steps(), *every_kind()], store=RunStore(runs), device="cpu", progress=False)


def train_for_minutes(runs: Path) -> None:
    """Through the command line, two seeds; far longer than any test waits."""
    set_up(runs, 5)
    sys.exit(main([*LONG, "--runs", str(runs)]))


def die_at(n: int, runs: Path) -> None:
    """Train a stack and one run; this process kills itself before its ``n``-th change of the file system."""
    set_up(runs, 0)
    count = iter(range(1, n + 1))

    def counted(function):
        def call(*arguments: object, **keywords: object) -> object:
            if next(count, n) == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **keywords)

        return call

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))
    train(few_steps()[:4], store=RunStore(runs), device="cpu", progress=False)


def fight(folder: Path, seed: int) -> None:
    """Claim some of a few runs, again and again; the log says what was had, by whom, and from when to when."""
    rng, locks = random.Random(seed), Locks(folder / "store")
    while True:
        run_ids = rng.sample(FOUGHT_FOR, rng.randint(1, 4))
        claim = locks.claim(run_ids, 1)
        if isinstance(claim, Claim):
            with claim, (folder / "log").open("a", buffering=1) as log:
                log.write(f"{os.getpid()} from {time.monotonic()} {' '.join(run_ids)}\n")
                time.sleep(rng.random() * 0.003)
                claim.verify()
                log.write(f"{os.getpid()} until {time.monotonic()}\n")


FOUGHT_FOR = [f"run{n}" for n in range(8)]
CHANGES = ("rename", "replace", "mkdir", "rmdir", "unlink", "fsync")
LONG = ["train", "modular_addition", "--p", "7", "--d-model", "8", "--n-steps", "1000000", "--batch-size", "8",
        "--seed", "0", "1", "--steps-per-evaluation", "100000", "--device", "cpu"]  # fmt: skip
