"""Which run a user means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rtinterp.store.errors import StoreError, one_line

#: difflib takes time in the square of it; no run id is longer.
MAX_ID_CHARACTERS = 255
#: Of runs that a message lists.
MOST_LISTED = 20
#: What may follow a digit where an id is cut off, if it goes on with one: the rest of its hash.
_REST_OF_HASH = re.compile(r"[0-9a-f]{1,11}(-stopped-at-\d+)?")
_WHOLE_ID = re.compile(r"-seed\d+-[0-9a-f]{12}")


def runs_called(name: str, run_ids: Iterable[str]) -> list[str]:
    """The run of that id, or else those whose id begins like that.

    A beginning may end anywhere but within a number, unless that is the hash, or before a further group that trains: so
    that seed5 is not seed50, nor qk qk-and-mlp. A whole id is no beginning: it does not name the run that was stopped,
    which is another one.
    """
    run_ids = list(run_ids)
    if name in run_ids:
        return [name]
    if not name or _WHOLE_ID.search(name):
        return []
    return [run_id for run_id in run_ids if run_id.startswith(name) and _may_end(name, run_id[len(name) :])]


def _may_end(name: str, rest: str) -> bool:
    cuts_a_number = name[-1].isdigit() and rest[0].isdigit()
    return not (cuts_a_number or rest.startswith("-and-")) or _REST_OF_HASH.fullmatch(rest) is not None


def find_run(name: str, run_ids: Sequence[str], store: Path) -> str:
    """The run of that id, or the only one whose id begins like that; see ``runs_called``.

    Nothing but an id that is in the list comes back, so no name leads out of a store.

    Args:
        store: the folder of the store, for the message.

    Raises:
        StoreError: there is no such run, or several begin like that.
    """
    begins = runs_called(name, run_ids)
    if len(begins) == 1:
        return begins[0]
    if begins:
        raise StoreError(f"{one_line(store)}: {len(begins)} runs begin with {name!r}; which of {_listed(begins)}?")
    if not store.is_dir():
        raise StoreError(f"{one_line(store)}: there is no such folder, and no run {one_line(repr(name))} in it")
    near = [run_id for run_id in run_ids if name and run_id.startswith(name)]
    near = near or difflib.get_close_matches(name[:MAX_ID_CHARACTERS], run_ids, n=1, cutoff=0.3)
    hint = f"; did you mean {'one of ' * (len(near) > 1)}{_listed(near)}?" if near else ""
    raise StoreError(f"{one_line(store)}: no run {one_line(repr(name))} among {len(run_ids)}{hint}")


def _listed(run_ids: Sequence[str]) -> str:
    more = f" and {len(run_ids) - MOST_LISTED} more" if len(run_ids) > MOST_LISTED else ""
    return ", ".join(map(one_line, run_ids[:MOST_LISTED])) + more
