"""What is left of a store and its figures, without what may differ: times, durations, memory."""

from __future__ import annotations

import json
from pathlib import Path

IN_TRAINING = ("claims", "locks", "unfinished")


def contents(runs: Path) -> dict[str, bytes]:
    """The bytes of every file of every run, and of the tables drawn from them."""
    found = {}
    for folder in sorted(path for path in runs.iterdir() if not path.name.startswith(".")):
        for file in sorted(folder.iterdir()):
            found[f"{folder.name}/{file.name}"] = file.read_bytes()
        found.pop(f"{folder.name}/environment.json")
        record = json.loads(found[f"{folder.name}/run.json"])
        record["sha256"].pop("environment.json")
        found[f"{folder.name}/run.json"] = json.dumps(record).encode()
    for table in sorted(runs.with_name(f"{runs.name}-figures").glob("*/data/*.csv")):
        found[table.name] = table.read_bytes()
    return found


def n_differing_bytes(left: dict[str, bytes], right: dict[str, bytes]) -> int:
    """Bytes of files that are not the same, or not in both."""
    names = left.keys() | right.keys()
    return sum(
        sum(a != b for a, b in zip(left.get(name, b""), right.get(name, b""), strict=False))
        + abs(len(left.get(name, b"")) - len(right.get(name, b"")))
        for name in names
    )


def leftovers(runs: Path) -> list[str]:
    """Whatever is neither a run nor an empty folder."""
    hidden = [path.name for path in runs.iterdir() if path.name.startswith(".") and path.name != ".training"]
    for name in IN_TRAINING:
        hidden += [f"{name}/{path.name}" for path in (runs / ".training" / name).iterdir()]
    return hidden
