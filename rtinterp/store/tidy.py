"""Removing what processes left in a store that died between the last save and the end."""

from __future__ import annotations

import contextlib
import shutil

from rtinterp.store.checkpoints import StackCheckpoints, unfinished_stacks
from rtinterp.store.errors import StoreError
from rtinterp.store.locks import Claim
from rtinterp.store.owner import is_dead, owner_of_name
from rtinterp.store.run_store import RunStore


def tidy(store: RunStore, *, retry_failed: bool) -> None:
    """Remove what dead processes left behind, and the stacks that are done, as far as they can be removed."""
    with contextlib.suppress(OSError, StoreError):
        for folder in (store.path, store.unfinished_folder, store.failures.folder, store.locks.claims_folder):
            for path in folder.iterdir() if folder.is_dir() else ():
                owner = owner_of_name(path.name) if path.name.startswith(".") else None
                if owner is not None and is_dead(owner):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        if store.locks.claims_folder.is_dir():
            store.locks.remove_stale()
        for stack in unfinished_stacks(store.unfinished_folder):
            if store.missing(stack, retry_failed=retry_failed):
                continue
            claim = store.locks.claim([spec.run_id for spec in stack], stack[0].training.n_steps)
            if isinstance(claim, Claim):
                with claim:
                    StackCheckpoints(store.unfinished_folder, stack).remove()
