"""The command that makes a stored run again."""

from __future__ import annotations

import shlex

from rtinterp.store.errors import StoreError
from rtinterp.store.record import SPEC_FILE, StoredRun
from rtinterp.store.run_store import RunStore
from rtinterp.tasks import LanguageModelling
from rtinterp.training.run import Run

#: Beside the store, which never trains again what it holds.
REMADE = "remade"


def remake_command(run: Run, store: RunStore) -> str:
    """A line for a POSIX shell.

    Runs of one stack are remade together, for the same bits. Where a text lies is left open, since no run knows it.
    """
    stack = _stack(run, store)
    specs = [str(store.path / run_id / SPEC_FILE) for run_id in stack]
    remade = store.path.with_name(f"{store.path.name}-{REMADE}") if store.path.name else REMADE
    options = ["--runs", str(remade), "--device", run.environment.device_type]
    corpus = " --corpus PATH" if isinstance(run.spec.task, LanguageModelling) else ""
    alone = run.environment.n_stacked - len(stack)
    notes = [f"{alone} run(s) of its stack are not in this store: the last bits may differ"] if alone else []
    if run.stopped_at_step is not None:
        notes.insert(0, f"trains to the end; the run was stopped at step {run.stopped_at_step}")
    note = f"  # {'; '.join(notes)}" if notes else ""
    command = shlex.join(["rtinterp", "train", "spec", *specs, *options])
    return f"OMP_NUM_THREADS={run.environment.n_threads} {command}{corpus}{note}"


def _stack(run: Run, store: RunStore) -> list[str]:
    """Ids of the runs that were trained in one stack with a run, itself included, by seed; it alone if unknown."""
    own = (store.id_of(run.spec) if run.stopped_at_step is None else None) or run.run_id
    if run.environment.n_stacked == 1:
        return [own]
    before_seed = own.rsplit("-seed", 1)[0]
    mates = {}
    for run_id in store.run_ids():
        if run_id.startswith(f"{before_seed}-seed"):
            stored = StoredRun(store.path / run_id)
            try:
                if stored.spec.with_seed(0) == run.spec.with_seed(0) and stored.environment == run.environment:
                    mates[stored.spec.seed] = run_id
            except StoreError:
                continue
    return [mates[seed] for seed in sorted(mates)] if len(mates) == run.environment.n_stacked else [own]
