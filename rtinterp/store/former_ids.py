"""Runs that stand under an id of the former rule, which hashed how often a run is evaluated too."""

from __future__ import annotations

from collections.abc import Callable, Collection

from rtinterp.store.errors import StoreError
from rtinterp.training.spec import RunSpec


def stored_id(spec: RunSpec, run_ids: Collection[str], read_spec: Callable[[str], RunSpec]) -> str | None:
    """The id under which a spec stands among others: its own or, if that is not there, one of the former rule.

    Args:
        read_spec: the spec that stands under an id; a StoreError of it counts as another spec.
    """
    if spec.run_id in run_ids:
        return spec.run_id
    # A run that was stopped has a longer id, and is no run of the spec.
    length = len(spec.run_id)
    alike = sorted(run_id for run_id in run_ids if run_id.startswith(spec.id_beginning) and len(run_id) == length)
    return next((run_id for run_id in alike if _reads_as(spec, run_id, read_spec)), None)


def _reads_as(spec: RunSpec, run_id: str, read_spec: Callable[[str], RunSpec]) -> bool:
    try:
        return read_spec(run_id) == spec
    except StoreError:
        return False
