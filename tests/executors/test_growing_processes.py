"""Processes that take much memory for good reasons go on."""

from __future__ import annotations

import os
import threading
import time
import warnings

from rtinterp.executors.pools import in_processes


def grow(megabytes: str) -> str:
    """Keep so much more memory, for as long as loky waits from one look at it to the next, in two calls."""
    # Not in a variable of this module, which each call is sent anew.
    vars(threading.main_thread()).setdefault("kept", []).append(b"x" * (int(megabytes) * 2**20))
    time.sleep(0.6)
    return str(os.getpid())


def test_a_process_that_grows_is_not_taken_for_a_leaking_one() -> None:
    """Else loky ends it, and warns in a thread that dies of it where warnings are errors: the pool hangs."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        answers = dict(in_processes(grow, ["1", "1", *["200"] * 4, *["1"] * 6], 2))
    assert len(answers) == 12
    assert len(set(answers.values())) == 2
    assert not [one for one in told if "worker stopped" in str(one.message)]
