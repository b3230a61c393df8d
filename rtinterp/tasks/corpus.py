"""A corpus: the text of a training and a validation split, from a file, a folder or the Hugging Face hub.

A task names its corpus by content hash, so that a run's spec is complete and still says nothing about where the text
lies. ``open_corpus`` reads the text and remembers it for the process; ``find_corpus`` gives it back by hash.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rtinterp.strict import strict
from rtinterp.tasks.corpus_files import END_OF_TEXT, ENDINGS, KNOWN, TEXT_COLUMN, ended, read_documents, split_documents

#: Of a single file, one document in this many is validation: the share that the sample corpus keeps.
VALIDATION_ODDS = 20

#: An owner and a name, as the Hugging Face hub writes them; not a path with a dot in front or an ending.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

#: A part of a file, as the hub names them, such as ``train-00000-of-00004.parquet``.
SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)(\.[.\w]+)")

HOW_TO_GET_ONE = "download the data set's train and valid .txt files and pass the folder that holds them with --corpus"


@strict(eq=False, repr=False)
class Corpus:
    """The documents (stories) of both splits, without separators; equal if the text is.

    Raises:
        ValueError: a split is empty, or not a tuple of strings.
    """

    train: Annotated[tuple[str, ...], Field(min_length=1)]
    validation: Annotated[tuple[str, ...], Field(min_length=1)]

    @functools.cached_property
    def sha256(self) -> str:
        """64 hex digits that identify the documents, their order and their split, and nothing else."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation):
            digest.update(_length(len(split)))
            for document in split:
                text = document.encode()
                # With its length in front, no two lists of documents are written alike.
                digest.update(_length(len(text)) + text)
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.sha256 == other.sha256 if isinstance(other, Corpus) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"Corpus({self.sha256[:8]}, {len(self.train):,} + {len(self.validation):,} documents)"


_OPEN: dict[str, Corpus] = {}


def open_corpus(path: str | Path) -> Corpus:
    """Read a corpus and remember it, so that tasks find it by its hash.

    Args:
        path: a .txt file whose documents end with a line ``<|endoftext|>``, or a .jsonl or .parquet file whose
            documents are its ``text``; text and JSON lines may be compressed (.gz, .bz2, .xz). Every 20th document is
            validation. Or a folder that holds one such file with "train" and one with "valid" in its name, or in the
            place of one all its shards, named like ``train-00000-of-00004.parquet``. Or, where no such path exists, a
            data set on the Hugging Face hub such as ``roneneldan/TinyStories``, whose documents are the ``text`` of
            the splits ``train`` and ``validation``.

    Raises:
        ValueError: there is no such path, it does not hold a corpus, or the hub cannot be reached.
        ImportError: ``path`` names a data set on the hub and the package ``datasets`` is missing.
    """
    found = Path(path).expanduser()
    if found.is_dir():
        train, validation = (
            tuple(document for file in _files_of_split(found, word) for document in read_documents(file))
            for word in ("train", "valid")
        )
    elif found.is_file():
        train, validation = _split_file(found)
    elif HUB_NAME.fullmatch(str(path)) and not str(path).endswith(ENDINGS):
        train, validation = _download(str(path))
    else:
        raise ValueError(f"no corpus at {path}: {HOW_TO_GET_ONE}")
    return remember(Corpus(train, validation))


def remember(corpus: Corpus) -> Corpus:
    """Make a corpus known to ``find_corpus`` in this process, and return the one object for that content."""
    return _OPEN.setdefault(corpus.sha256, corpus)


def find_corpus(sha256: str) -> Corpus:
    """The corpus with this content, if it was opened in this process.

    Raises:
        ValueError: it was not.
    """
    if sha256 not in _OPEN:
        raise ValueError(
            f"the corpus with sha256 {sha256} is not open here: call open_corpus(path) or pass --corpus PATH"
        )
    return _OPEN[sha256]


def _files_of_split(folder: Path, word: str) -> list[Path]:
    """The one file of a folder with that word in its name, or the shards of one."""
    # Names such as "train-and-valid.txt" belong to no split, or the validation text would be trained on.
    (other,) = {"train", "valid"} - {word}
    files = sorted(path for path in folder.iterdir() if path.name.endswith(ENDINGS) and path.is_file())
    of_split = [path for path in files if word in path.name.lower() and other not in path.name.lower()]
    if len(of_split) != 1 and not _are_all_shards([path.name for path in of_split]):
        raise ValueError(
            f"{folder} must hold exactly one file ({KNOWN}) with {word!r} and without {other!r} in its name, or all "
            f"its shards, found {[path.name for path in of_split]} among {[path.name for path in files]}"
        )
    return of_split


def _are_all_shards(names: Sequence[str]) -> bool:
    """Whether files in the order of their names are what one file was divided into."""
    if not names or (first := SHARD.fullmatch(names[0])) is None:
        return False
    stem, _, n_shards, ending = first.groups()
    return list(names) == [f"{stem}-{number:0{len(n_shards)}}-of-{n_shards}{ending}" for number in range(int(n_shards))]


def _split_file(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not path.name.endswith(ENDINGS):
        raise ValueError(f"{path} is not a corpus: pass a file that ends in {KNOWN}, or a folder with two")
    train = list(read_documents(path))
    if len(train) < VALIDATION_ODDS:
        raise ValueError(
            f"{path} holds {len(train)} documents and needs at least {VALIDATION_ODDS}, since every "
            f"{VALIDATION_ODDS}th is validation: end each with a line {END_OF_TEXT}, or pass a folder with two files"
        )
    every_twentieth = slice(VALIDATION_ODDS - 1, None, VALIDATION_ODDS)
    validation = train[every_twentieth]
    del train[every_twentieth]
    return tuple(train), tuple(validation)


def _download(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Both splits of a data set on the hub, through the package that caches it."""
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            f"{name} is no path, and to load it from the Hugging Face hub the package datasets is needed: "
            f"pip install 'rtinterp[datasets]', or {HOW_TO_GET_ONE}"
        ) from error
    try:
        # Offline, unknown to the hub, or damaged: all of these are OSError or ValueError.
        dataset = datasets.load_dataset(name)
        columns = [dataset[split][TEXT_COLUMN] for split in ("train", "validation")]
    except (OSError, ValueError, KeyError) as error:
        summary = " ".join(str(error).split())
        raise ValueError(
            f"{name} is no path and could not be loaded from the Hugging Face hub ({summary}): {HOW_TO_GET_ONE}"
        ) from error
    train, validation = (tuple(split_documents(ended(column))) for column in columns)
    return train, validation


def _length(n: int) -> bytes:
    return n.to_bytes(8, "little")
