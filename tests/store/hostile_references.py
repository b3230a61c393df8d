"""Hypothesis strategies for what a stranger, a bad disk or an editor can make of a stored run's bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from rtinterp.training.spec import spec_from_json

Change = Callable[[bytes], bytes]

SENTINEL = "@sentinel@"

#: As they would stand in a JSON file.
HOSTILE_JSON = (
    *("null", "true", "false", "[]", "{}", '""', "-1", "0", "1.5", "-0.0", "1e999", "NaN", "-Infinity", "1e-320"),
    *("7", "1000", "1000000000", "9223372036854775807", "9223372036854775808", "9" * 400, "9" * 10_000),
    *("[" * 60_000, '{"a":' * 10_000, "[[[]]]", '"' + "x" * 60_000 + '"', '"\\ud800"', '"\\u0000"', '"\\u001b[2J"'),
    *('"../../outside"', '"/etc/passwd"', '"C:\\\\x"', '"a\\nb"', '"softmax"', '"all"', '"F64"', '"BF16"', '"F4"'),
    *('"__class__"', '{"name": "transformer"}', '"\\u202e"', "'single'", "// comment", '"' + "0" * 64 + '"'),
)
HOSTILE_CELLS = (
    "",
    "NaN",
    "inf",
    "-1",
    "1e999",
    "9" * 40,
    "x" * 70_000,
    '"a\nb"',
    "1;2",
    "0x10",
    "1_0",
    " 1",
    "\0",
    "√",
)


@st.composite
def byte_changes(draw: st.DrawFn) -> Change:
    """Flips, cuts, insertions, repetitions and replacements at any place."""
    kind = draw(st.sampled_from(["flip", "cut", "insert", "remove", "repeat", "replace", "overwrite"]))
    place = draw(st.floats(0, 1))
    size = draw(st.integers(1, 64))
    bit = draw(st.integers(0, 7))
    noise = draw(st.binary(min_size=1, max_size=200))

    def change(data: bytes) -> bytes:
        at = min(int(place * len(data)), max(len(data) - 1, 0))
        return {
            "flip": data[:at] + bytes([(data[at] if data else 0) ^ (1 << bit)]) + data[at + 1 :],
            "cut": data[:at],
            "insert": data[:at] + noise + data[at:],
            "remove": data[:at] + data[at + size :],
            "repeat": data[: at + size] + data[at:],
            "replace": noise,
            "overwrite": data[:at] + noise + data[at + len(noise) :],
        }[kind]

    return change


@st.composite
def json_changes(draw: st.DrawFn) -> Change:
    """A value replaced, a key taken away, doubled or added, at any depth."""
    kind = draw(st.sampled_from(["value", "value", "value", "missing", "twice", "unknown"]))
    raw = draw(st.one_of(st.sampled_from(HOSTILE_JSON), _any_json()))
    which = draw(st.integers(0, 10_000))
    key = draw(st.one_of(st.text(max_size=20), st.sampled_from(["name", "../x", "self", "__init__", "sha256"])))

    def change(data: bytes) -> bytes:
        fields = json.loads(data)
        places = [(part, name) for part in _objects(fields) for name in part]
        part, name = places[which % len(places)]
        if kind == "missing":
            del part[name]
        elif kind == "value":
            part[name] = SENTINEL
        else:
            part[SENTINEL if kind == "twice" else key] = SENTINEL if kind == "unknown" else part[name]
        text = json.dumps(fields).replace(f'"{SENTINEL}":', f"{json.dumps(name)}:")
        return text.replace(f'"{SENTINEL}"', raw).encode("utf-8", "surrogatepass")

    return change


@st.composite
def history_changes(draw: st.DrawFn) -> Change:
    """A cell replaced, a row or a column taken away, doubled or moved."""
    kind = draw(st.sampled_from(["cell", "cell", "row missing", "row twice", "column missing", "column twice", "CRLF"]))
    cell = draw(st.one_of(st.sampled_from(HOSTILE_CELLS), st.text(max_size=30)))
    row, column = draw(st.integers(0, 50)), draw(st.integers(0, 50))

    def change(data: bytes) -> bytes:
        rows = [line.split(",") for line in data.decode().splitlines()]
        at, over = row % len(rows), column % len(rows[0])
        if kind == "cell":
            rows[at][over] = cell
        elif kind.startswith("row"):
            rows[at : at + 1] = [] if kind == "row missing" else [rows[at], rows[at]]
        elif kind.startswith("column"):
            for cells in rows:
                cells[over : over + 1] = [] if kind == "column missing" else [cells[over], cells[over]]
        end = "\r\n" if kind == "CRLF" else "\n"
        return "".join(",".join(cells) + end for cells in rows).encode("utf-8", "surrogatepass")

    return change


@st.composite
def safetensors_changes(draw: st.DrawFn) -> Change:
    """A header that claims another length, other types, shapes, places or names; values that are no numbers."""
    kind = draw(st.sampled_from(["length", "header", "header", "values", "values", "bytes missing"]))
    length = draw(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 4096)))
    header_change = draw(json_changes())
    values = draw(st.sampled_from([b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\xff\xff"]))
    at = draw(st.integers(0, 8))

    def change(data: bytes) -> bytes:
        end = 8 + int.from_bytes(data[:8], "little")
        if kind == "length":
            return length.to_bytes(8, "little") + data[8:]
        if kind == "values":
            return data[: end + 4 * at] + values + data[end + 4 * at + 4 :]
        if kind == "bytes missing":
            return data[: -at - 1]
        header = header_change(data[8:end])
        return len(header).to_bytes(8, "little") + header + data[end:]

    return change


def changes(name: str) -> st.SearchStrategy[Change]:
    """What can become of the file of that name."""
    tensors = safetensors_changes()
    others = {"history.csv": history_changes(), "trained.safetensors": tensors, "kept.safetensors": tensors}
    own = others.get(name, json_changes())
    return st.one_of(own, own, byte_changes())


def reseal(files: dict[str, bytes]) -> tuple[str | None, dict[str, bytes]]:
    """What a forger would do: hashes that fit, and the run id that the spec now has, if it has one."""
    record = json.loads(files["run.json"])
    record["sha256"] = {name: hashlib.sha256(files[name]).hexdigest() for name in files if name != "run.json"}
    try:
        run_id = spec_from_json(files["spec.json"].decode()).run_id
    except (ValueError, TypeError, RecursionError, AttributeError):
        run_id = None
    return run_id, {**files, "run.json": json.dumps(record).encode()}


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def _objects(fields: object) -> list[dict]:
    if not isinstance(fields, dict):
        return []
    return ([fields] if fields else []) + [part for value in fields.values() for part in _objects(value)]


def _any_json() -> st.SearchStrategy[str]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    values = st.recursive(leaves, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part))
    return values.map(json.dumps)
