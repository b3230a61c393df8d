"""What a claim on runs says, and whether its owner still lives; see ``locks``."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from rtinterp.store.owner import Owner, is_dead
from rtinterp.store.progress import Progress
from rtinterp.strict import STRICT

#: A claim from another machine that has not changed for so long is stale.
STALE_SECONDS = 120.0
#: Of the time between two looks, at most so much counts.
LONGEST_LOOK = 15.0


@dataclass(frozen=True, config=STRICT)
class ClaimFacts:
    """Contents of a claim; ``beat`` differs every time it is renewed."""

    format_version: Literal[1]
    owner: Owner
    run_ids: tuple[str, ...]
    beat: int
    step: int
    n_steps: int
    train_loss: float | None


@dataclasses.dataclass
class _Look:
    """What was last seen of a claim from elsewhere, and for how long it has been the same."""

    contents: bytes
    at: float
    unchanged_seconds: float = 0.0


_looks: dict[Path, _Look] = {}


def is_stale(path: Path) -> bool:
    """Whether the owner of a claim is dead, or has not renewed it for long enough."""
    try:
        contents = path.read_bytes()
    except OSError:
        return False
    facts = _parse(contents)
    dead = None if facts is None else is_dead(facts.owner)
    if dead is not None:
        return dead
    now, look = time.monotonic(), _looks.get(path)
    if look is None or look.contents != contents:
        _looks[path] = _Look(contents, now)
        return False
    look.unchanged_seconds += min(now - look.at, LONGEST_LOOK)
    look.at = now
    return look.unchanged_seconds >= STALE_SECONDS


def read_claim(path: Path) -> ClaimFacts | None:
    """What a claim says; None if it is gone or cannot be read."""
    try:
        return _parse(path.read_bytes())
    except OSError:
        return None


def _parse(contents: bytes) -> ClaimFacts | None:
    try:
        return TypeAdapter(ClaimFacts).validate_json(contents, strict=True)
    except ValueError:
        return None


def progress_of(facts: ClaimFacts) -> Progress:
    """What others are told of it."""
    owner = facts.owner
    return Progress(facts.run_ids, owner.host, owner.pid, facts.step, facts.n_steps, facts.train_loss)


def forget(path: Path) -> None:
    """The claim has been removed."""
    _looks.pop(path, None)
