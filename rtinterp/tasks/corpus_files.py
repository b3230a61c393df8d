"""The documents of a text file: plain, JSON lines or Parquet, as it is or compressed."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import polars as pl

#: Ends every document: a line of its own in a text file, the one special token in a vocabulary.
END_OF_TEXT = "<|endoftext|>"

#: What holds a document in JSON lines, in a table and in a data set on the Hugging Face hub.
TEXT_COLUMN = "text"

COMPRESSED = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
JSON_LINES, PARQUET = ".jsonl", ".parquet"
ENDINGS = (".xz", PARQUET, *(kind + how for kind in (".txt", JSON_LINES) for how in ("", *COMPRESSED)))
KNOWN = ".txt, .jsonl (either also as .gz, .bz2 or .xz) or .parquet"


def read_documents(path: Path) -> Iterator[str]:
    """The documents of one file, whose name has one of ``ENDINGS``.

    Raises:
        ValueError: it is not what its name says, or holds no text.
    """
    n_documents = 0
    try:
        for document in split_documents(_pieces(path)):
            n_documents += 1
            yield document
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason}): convert it to UTF-8") from error
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is not a complete {path.suffix[1:]} file: {error}") from error
    except OSError as error:
        # bz2 has no error of its own for data that are not of its format.
        if error.errno is None:
            raise ValueError(f"{path} is not a complete {path.suffix[1:]} file: {error}") from error
        raise
    if not n_documents:
        raise ValueError(f"{path} holds no text")


def split_documents(pieces: Iterable[str]) -> Iterator[str]:
    """Cut text at every ``<|endoftext|>``; surrounding white space goes, and so do empty documents.

    Args:
        pieces: the text, cut anywhere but within the separator.
    """
    document: list[str] = []
    for piece in pieces:
        *ends, rest = piece.split(END_OF_TEXT)
        for end in ends:
            yield from _stripped([*document, end])
            document = []
        document.append(rest)
    yield from _stripped(document)


def ended(documents: Iterable[str]) -> Iterator[str]:
    """Documents as pieces of one text, so that all kinds of files are cut alike and the same stories are the same."""
    return itertools.chain.from_iterable((document, END_OF_TEXT) for document in documents)


def _stripped(pieces: list[str]) -> list[str]:
    text = "".join(pieces).strip()
    return [text] if text else []


def _pieces(path: Path) -> Iterator[str]:
    if path.suffix == PARQUET:
        yield from ended(_rows(path))
        return
    # A byte order mark, which some editors put in front, is no text.
    with COMPRESSED.get(path.suffix, open)(path, "rt", encoding="utf-8-sig") as lines:
        yield from ended(_json_lines(path, lines)) if JSON_LINES in path.suffixes[-2:] else lines


def _json_lines(path: Path, lines: TextIO) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, is not JSON: {error}") from error
        text = fields.get(TEXT_COLUMN) if isinstance(fields, dict) else None
        if not isinstance(text, str):
            raise ValueError(f'{path}, line {number}, must be an object with a string under "{TEXT_COLUMN}"')
        yield text


def _rows(path: Path) -> Iterator[str]:
    try:
        schema = pl.read_parquet_schema(path)
        if schema.get(TEXT_COLUMN) != pl.String:
            columns = ", ".join(f"{name} ({kind})" for name, kind in schema.items())
            raise ValueError(f'{path} needs a column "{TEXT_COLUMN}" of strings; it has {columns or "no columns"}')
        documents = pl.read_parquet(path, columns=[TEXT_COLUMN])[TEXT_COLUMN]
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} is not a complete parquet file: {error}") from error
    return iter(documents.drop_nulls())
