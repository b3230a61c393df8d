"""Small corpora that are made up on the spot, and files of them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
from pathlib import Path

import polars as pl

from rtinterp.tasks import Corpus

#: A digit that every document of a split holds, and no document of the other.
TRAIN_MARKER, VALIDATION_MARKER = "7", "9"

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "bird",
    "sat",
    "ran",
    "flew",
    "to",
    "home",
    "and",
    "saw",
    "big",
    "small",
    "red",
    "garden",
]


def made_up_corpus(seed: int = 0, n_train: int = 300, n_validation: int = 40) -> Corpus:
    """Documents of random words, frequent ones first in ``WORDS``, each with the marker of its split."""
    rng = random.Random(seed)
    return Corpus(
        train=tuple(_document(rng, TRAIN_MARKER) for _ in range(n_train)),
        validation=tuple(_document(rng, VALIDATION_MARKER) for _ in range(n_validation)),
    )


def _document(rng: random.Random, marker: str) -> str:
    words = rng.choices(WORDS, weights=[1 / (rank + 1) for rank in range(len(WORDS))], k=rng.randint(5, 40))
    words.insert(rng.randint(0, len(words)), marker)
    return " ".join(words) + "."


COMPRESS = {".xz": lzma.compress, ".gz": gzip.compress, ".bz2": bz2.compress}


def as_text(documents: tuple[str, ...]) -> str:
    return "".join(f"{document}\n<|endoftext|>\n" for document in documents)


def as_file(documents: tuple[str, ...], ending: str) -> bytes:
    """The documents in a file of that ending."""
    if ending == ".parquet":
        table = pl.DataFrame({"id": range(len(documents)), "text": documents})
        table.write_parquet(buffer := io.BytesIO())
        return buffer.getvalue()
    kind, _, compression = ending[1:].partition(".")
    lines = "".join(json.dumps({"id": 3, "text": document}) + "\n" for document in documents)
    data = (lines if kind == "jsonl" else as_text(documents)).encode()
    return COMPRESS[f".{compression}" if compression else ending](data) if compression or kind == "xz" else data


def write_corpus(folder: Path, corpus: Corpus, ending: str = ".txt") -> Path:
    """A folder with both splits."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"made-up-train{ending}").write_bytes(as_file(corpus.train, ending))
    (folder / f"made-up-valid{ending}").write_bytes(as_file(corpus.validation, ending))
    return folder


def write(path: Path, text: str) -> Path:
    """Write a text file, compressed if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(COMPRESS[path.suffix](text.encode()) if path.suffix in COMPRESS else text.encode())
    return path
