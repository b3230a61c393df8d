"""A corpus is its text: wherever and however it is stored, its content decides the hash."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import re
import sys
import types
from pathlib import Path

import polars as pl
import pytest
from corpus_references import as_file, as_text, made_up_corpus, write, write_corpus

from rtinterp.tasks import Corpus, corpus, find_corpus, open_corpus

CORPUS = made_up_corpus()


def table(**columns: list) -> bytes:
    """A Parquet file."""
    pl.DataFrame(columns).write_parquet(buffer := io.BytesIO())
    return buffer.getvalue()


@pytest.fixture
def nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not opened a corpus yet."""
    monkeypatch.setattr(corpus, "_OPEN", {})


ENDINGS = [
    ".txt",
    ".txt.xz",
    ".xz",
    ".txt.gz",
    ".txt.bz2",
    ".jsonl",
    ".jsonl.gz",
    ".jsonl.bz2",
    ".jsonl.xz",
    ".parquet",
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_folder_gives_back_both_splits(tmp_path: Path, ending: str, nothing_open: None) -> None:
    folder = write_corpus(tmp_path / "stories", CORPUS, ending)
    write(folder / "README.md", "about train and valid")
    write(folder / "train.csv", "no corpus")
    opened = open_corpus(folder)
    assert opened is not CORPUS
    assert (opened.train, opened.validation) == (CORPUS.train, CORPUS.validation)
    assert opened.sha256 == open_corpus(str(folder)).sha256 == CORPUS.sha256


def test_shards_of_a_split_are_one_file_of_it(tmp_path: Path) -> None:
    """As the hub has the parquet files of a data set."""
    for number, documents in enumerate((("a",), ("b", "c"), ("d",))):
        (tmp_path / f"train-{number:05}-of-00003.parquet").write_bytes(table(text=list(documents)))
    (tmp_path / "validation-00000-of-00001.parquet").write_bytes(table(text=["e"]))
    opened = open_corpus(tmp_path)
    assert (opened.train, opened.validation) == (("a", "b", "c", "d"), ("e",))
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(ValueError, match=r"or all its shards, found .*train-00000.*train-00002"):
        open_corpus(tmp_path)


def test_every_twentieth_document_of_a_single_file_is_validation(tmp_path: Path) -> None:
    documents = tuple(f"story {i}" for i in range(1, 101))
    for ending in ENDINGS:
        (tmp_path / f"stories{ending}").write_bytes(as_file(documents, ending))
        opened = open_corpus(tmp_path / f"stories{ending}")
        assert opened.validation == ("story 20", "story 40", "story 60", "story 80", "story 100")
        assert opened.train == tuple(document for document in documents if document not in opened.validation)


@pytest.mark.parametrize(
    "text",
    [
        "one\nmore line\n<|endoftext|>\ntwo\n<|endoftext|>\n",
        "one\nmore line\n<|endoftext|>\ntwo",
        "one\r\nmore line\r\n<|endoftext|>\r\ntwo\r\n<|endoftext|>\r\n",
        "\n\none\nmore line<|endoftext|>two<|endoftext|><|endoftext|>\n<|endoftext|>",
        "\ufeffone\nmore line\n<|endoftext|>\ntwo",
    ],
    ids=["as in the sample", "last one open", "Windows", "inline and empty", "byte order mark"],
)
@pytest.mark.parametrize("ending", [".txt", ".txt.xz", ".txt.gz", ".txt.bz2"])
def test_documents_are_what_stands_between_separators(tmp_path: Path, text: str, ending: str) -> None:
    write(tmp_path / f"train{ending}", text)
    write(tmp_path / f"valid{ending}", "three")
    assert open_corpus(tmp_path) == Corpus(("one\nmore line", "two"), ("three",))


def test_the_hash_is_of_the_content_and_of_all_of_it() -> None:
    base = Corpus(("ab", "c"), ("d",))
    assert base == Corpus(("ab", "c"), ("d",))
    assert hash(base) == hash(Corpus(("ab", "c"), ("d",)))
    others = [
        Corpus(("a", "bc"), ("d",)),
        Corpus(("abc",), ("d",)),
        Corpus(("c", "ab"), ("d",)),
        Corpus(("ab",), ("c", "d")),
        Corpus(("ab", "c"), ("D",)),
        Corpus(("d",), ("ab", "c")),
    ]
    assert len({base.sha256, *(other.sha256 for other in others)}) == 7
    assert all(base != other for other in others)
    assert base != "ab"


def test_the_hash_stays_what_it_was() -> None:
    """Stored runs name their corpus by it."""
    pinned = "0b1ca4681ce7ca0cd3f1ca3fee08c0b3a1f968f2abd53d82d154def90c0515d6"
    assert Corpus(("Once upon a time", "Zoë"), ("The end",)).sha256 == pinned


def test_a_corpus_is_a_value(tmp_path: Path) -> None:
    assert repr(CORPUS) == f"Corpus({CORPUS.sha256[:8]}, 300 + 40 documents)"
    assert pickle.loads(pickle.dumps(CORPUS)) == CORPUS
    with pytest.raises(ValueError, match="at least 1"):
        Corpus((), ("a",))
    with pytest.raises(ValueError, match="valid tuple"):
        Corpus(["a"], ("a",))


def test_what_was_opened_is_found_by_its_hash(tmp_path: Path, nothing_open: None) -> None:
    with pytest.raises(
        ValueError, match=rf"{CORPUS.sha256} is not open here: call open_corpus\(path\) or pass --corpus"
    ):
        find_corpus(CORPUS.sha256)
    opened = open_corpus(write_corpus(tmp_path, CORPUS))
    assert find_corpus(CORPUS.sha256) is opened
    assert open_corpus(tmp_path) is opened, "the text is held once"


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ({}, "nowhere.txt", "no corpus at .*nowhere.txt: download .* --corpus"),
        ({}, "", "exactly one .*'train' .* found \\[\\] among \\[\\]"),
        ({"train.txt": "a"}, "", "exactly one .*'valid' .*found \\[\\] among \\['train.txt'\\]"),
        ({"a-train.txt": "a", "b-train.txt": "b", "valid.txt": "c"}, "", "found \\['a-train.txt', 'b-train.txt'\\]"),
        ({"train-and-valid.txt": "a"}, "", "'train' and without 'valid'"),
        ({"train.txt": "\n<|endoftext|>\n", "valid.txt": "c"}, "", "train.txt holds no text"),
        ({"stories.md": "a"}, "stories.md", r"not a corpus: pass a file that ends in \.txt, \.jsonl .* or \.parquet"),
        ({"stories.tar.gz": "a"}, "stories.tar.gz", "not a corpus"),
        ({"stories.txt.gz": b"plain text"}, "stories.txt.gz", "not a complete gz file"),
        ({"stories.txt.gz": gzip.compress(b"a" * 9)[:-8]}, "stories.txt.gz", "not a complete gz file"),
        ({"stories.txt.bz2": b"plain text"}, "stories.txt.bz2", "not a complete bz2 file"),
        ({"stories.txt.bz2": bz2.compress(b"a" * 9)[:-8]}, "stories.txt.bz2", "not a complete bz2 file"),
        ({"stories.jsonl": '{"text": "a"}\n{"text": '}, "stories.jsonl", "stories.jsonl, line 2, is not JSON"),
        ({"stories.jsonl": '{"story": "a"}'}, "stories.jsonl", 'line 1, must be an object with a string under "text"'),
        ({"stories.jsonl": '["text"]'}, "stories.jsonl", "line 1, must be an object"),
        ({"stories.parquet": b"plain text"}, "stories.parquet", "not a complete parquet file"),
        (
            {"stories.parquet": table(story=["a"])},
            "stories.parquet",
            r'column "text" of strings; it has story \(String',
        ),
        ({"stories.parquet": table(text=[3])}, "stories.parquet", r'a column "text" of strings; it has text \(Int64'),
        ({"stories.txt": as_text(("a",) * 19)}, "stories.txt", "holds 19 documents and needs at least 20"),
        ({"stories.txt": ""}, "stories.txt", "holds no text"),
        ({"stories.txt": b"caf\xe9"}, "stories.txt", "not UTF-8 text .*: convert"),
        ({"stories.txt.xz": b"plain text"}, "stories.txt.xz", "not a complete xz file"),
        ({"stories.txt.xz": lzma.compress(b"a" * 9)[:-8]}, "stories.txt.xz", "not a complete xz file"),
    ],
)
def test_what_is_no_corpus_is_refused(tmp_path: Path, files: dict, path: str, message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        open_corpus(tmp_path / path)
    assert "\n" not in str(caught.value)


def test_what_a_table_and_json_lines_leave_empty_is_no_document(tmp_path: Path) -> None:
    stories = [*(f"story {i}" for i in range(20)), "", "end"]
    (tmp_path / "stories.parquet").write_bytes(table(text=[None, *stories]))
    (tmp_path / "stories.jsonl").write_text("\n".join(json.dumps({"text": story}) + "\n" for story in stories))
    (tmp_path / "stories.txt").write_text(as_text(tuple(stories)))
    first, *others = (open_corpus(tmp_path / f"stories{ending}").sha256 for ending in (".parquet", ".jsonl", ".txt"))
    assert others == [first, first]


def stub_datasets(monkeypatch: pytest.MonkeyPatch, load_dataset) -> None:
    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_a_hub_name_loads_the_same_corpus_as_its_files(monkeypatch: pytest.MonkeyPatch, nothing_open: None) -> None:
    def load_dataset(name: str) -> dict:
        assert name == "someone/Stories-2.0"
        splits = {"train": CORPUS.train, "validation": CORPUS.validation}
        # White space around stories and empty stories, as data sets have them.
        return {split: {"text": ["", *(f"\n{document} " for document in splits[split])]} for split in splits}

    stub_datasets(monkeypatch, load_dataset)
    assert open_corpus("someone/Stories-2.0").sha256 == CORPUS.sha256


def test_a_path_comes_before_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_datasets(monkeypatch, lambda name: pytest.fail("went online"))
    write_corpus(tmp_path / "someone" / "stories", CORPUS)
    monkeypatch.chdir(tmp_path)
    assert open_corpus("someone/stories") == CORPUS


@pytest.mark.parametrize(
    "name", ["stories", "a/b/c", "./a", "../a", "/a/b", "a/b.txt", "a/b.txt.xz", "a/", "a b/c", ".a/b", "~/stories"]
)
def test_what_looks_like_a_path_never_goes_online(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_open: None
) -> None:
    stub_datasets(monkeypatch, lambda name: pytest.fail("went online"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match=f"no corpus at {re.escape(name)}: download"):
        open_corpus(name)


def test_without_the_package_one_line_tells_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'rtinterp\[datasets\]', or download .* --corpus") as caught:
        open_corpus("someone/stories")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "failure",
    [ConnectionError("no\nnetwork"), FileNotFoundError("no such data set"), ValueError("odd"), KeyError("text")],
)
def test_a_hub_that_does_not_answer_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def load_dataset(name: str) -> None:
        raise failure

    stub_datasets(monkeypatch, load_dataset)
    reason = "no network" if isinstance(failure, ConnectionError) else str(failure)
    with pytest.raises(ValueError, match=f"could not be loaded .*{re.escape(reason)}.*: download") as caught:
        open_corpus("someone/stories")
    assert "\n" not in str(caught.value)
