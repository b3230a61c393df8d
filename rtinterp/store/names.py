"""Which run a user means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rtinterp.store.errors import StoreError, one_line

#: difflib takes time in the square of it; no run id is longer.
MAX_ID_CHARACTERS = 255
#: What may follow where an id is cut off: whole parts of it, or the rest of its hash, so that seed5 is not seed50.
_REST = re.compile(r"-(?!and-).*|[0-9a-f]{1,11}(-stopped-at-\d+)?")
_WHOLE_ID = re.compile(r"-seed\d+-[0-9a-f]{12}")


def runs_called(name: str, run_ids: Iterable[str]) -> list[str]:
    """The run of that id, or else those whose id begins like that.

    A beginning ends where a part of the id does, or within its hash. A whole id is no beginning: it does not name the
    run that was stopped, which is another one.
    """
    run_ids = list(run_ids)
    if name in run_ids:
        return [name]
    if not name or _WHOLE_ID.search(name):
        return []
    return [run_id for run_id in run_ids if run_id.startswith(name) and _REST.fullmatch(run_id, len(name))]


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
        more = f" and {len(begins) - 3} more" if len(begins) > 3 else ""
        raise StoreError(
            f"{one_line(store)}: {len(begins)} runs begin with {name!r}: {one_line(', '.join(begins[:3]))}{more}"
        )
    if not store.is_dir():
        raise StoreError(f"{one_line(store)}: there is no such folder, and no run {one_line(repr(name))} in it")
    near = [run_id for run_id in run_ids if name and run_id.startswith(name)]
    near = near or difflib.get_close_matches(name[:MAX_ID_CHARACTERS], run_ids, n=1, cutoff=0.3)
    hint = f"; did you mean {one_line(near[0])}?" if near else ""
    raise StoreError(f"{one_line(store)}: no run {one_line(repr(name))} among {len(run_ids)}{hint}")
