"""Which run a user means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from rtinterp.store.errors import StoreError, one_line

#: difflib takes time in the square of it; no run id is longer.
MAX_ID_CHARACTERS = 255


def find_run(name: str, run_ids: Sequence[str], where: object) -> str:
    """The run of that id, or the only one whose id begins like that.

    Nothing but an id that is in the list comes back, so no name leads out of a store.

    Args:
        where: the store, for the message.

    Raises:
        StoreError: there is no such run, or several begin like that.
    """
    if name in run_ids:
        return name
    begins = [run_id for run_id in run_ids if name and run_id.startswith(name)]
    if len(begins) == 1:
        return begins[0]
    if begins:
        more = f" and {len(begins) - 3} more" if len(begins) > 3 else ""
        raise StoreError(
            f"{one_line(where)}: {len(begins)} runs begin with {name!r}: {one_line(', '.join(begins[:3]))}{more}"
        )
    raise no_run(name, run_ids, where)


def no_run(name: str, run_ids: Sequence[str], where: object) -> StoreError:
    """Says that there is none, and which one is nearest."""
    near = difflib.get_close_matches(name[:MAX_ID_CHARACTERS], run_ids, n=1, cutoff=0.3)
    hint = f"; did you mean {one_line(near[0])}?" if near else ""
    return StoreError(f"{one_line(where)}: no run {one_line(repr(name))} among {len(run_ids)}{hint}")
