"""What a claim on runs says, and whether its owner still lives; see ``locks``."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from rtinterp.store.owner import Owner, is_dead
from rtinterp.store.progress import Progress
from rtinterp.strict import strict

#: A claim from another machine that has not changed for so long is stale.
STALE_SECONDS = 120.0
#: Of the time between two looks, at most so much counts.
LONGEST_LOOK = 15.0


@strict
class ClaimFacts:
    """Contents of a claim; ``beat`` differs every time it is renewed."""

    format_version: Literal[1]
    owner: Owner
    run_ids: tuple[str, ...]
    beat: int
    step: int
    n_steps: int
    train_loss: float | None


#: What is told of a claim that cannot be read, and may be of a live process.
UNREADABLE = Progress((), "another machine", 0, 0, 0, None)

_FACTS = TypeAdapter(ClaimFacts)


@dataclasses.dataclass
class _Look:
    """What was last seen of a claim from elsewhere, and for how long it has been the same."""

    contents: bytes
    at: float
    unchanged_seconds: float = 0.0


_looks: dict[Path, _Look] = {}


def look_at(path: Path) -> Progress | None:
    """What the owner of a claim does; None if the claim is gone, its owner dead, or it was not renewed for long."""
    try:
        contents = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return UNREADABLE
    try:
        facts = _FACTS.validate_json(contents, strict=True)
    except ValueError:
        return None if _is_unchanged(path, contents) else UNREADABLE
    owner, dead = facts.owner, is_dead(facts.owner)
    if dead or (dead is None and _is_unchanged(path, contents)):
        return None
    return Progress(facts.run_ids, owner.host, owner.pid, facts.step, facts.n_steps, facts.train_loss)


def _is_unchanged(path: Path, contents: bytes) -> bool:
    """Whether a claim has been the same for so long, by our own clock, that it is stale."""
    now, look = time.monotonic(), _looks.get(path)
    if look is None or look.contents != contents:
        _looks[path] = _Look(contents, now)
        return False
    look.unchanged_seconds += min(now - look.at, LONGEST_LOOK)
    look.at = now
    return look.unchanged_seconds >= STALE_SECONDS
