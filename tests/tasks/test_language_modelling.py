"""Language modelling: the windows, what is scored in them, and the splits that never mix."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from corpus_references import TRAIN_MARKER, VALIDATION_MARKER, made_up_corpus, write_corpus
from task_references import excess, windows

from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Corpus, LanguageModelling, corpus, language_modelling, open_corpus
from rtinterp.training.spec import RunSpec, TrainSpec, spec_from_json, spec_to_json

CORPUS = made_up_corpus()
TASK = LanguageModelling.from_corpus(CORPUS, d_vocab=300, context_length=16)

SAMPLE = Path(__file__).parents[3] / "shared" / "corpus"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_stream(documents: tuple[str, ...]) -> list[int]:
    """Every document encoded for itself, token 0 after each."""
    return [token for document in documents for token in [*TASK.tokenizer.encode(document).ids, 0]]


# Windows.


def test_windows_tile_the_stream() -> None:
    train, validation = windows(TASK).values()
    assert set(map(tuple, TASK.sample(20 * len(train), generator()).tokens.tolist())) == set(train)
    assert list(map(tuple, TASK.test_set().tokens.tolist())) == validation
    stream = plain_stream(CORPUS.validation)
    assert TASK.test_set().tokens.flatten().tolist() == stream[: len(validation) * 16]
    assert 0 < len(stream) - len(validation) * 16 < 16, "only an incomplete window is dropped"


def test_every_window_is_equally_likely() -> None:
    train = windows(TASK)["train"]
    drawn = TASK.sample(50 * len(train), generator(3)).tokens.tolist()
    probabilities = {row: n / len(train) for row, n in Counter(train).items()}
    assert abs(excess(Counter(map(tuple, drawn)), probabilities)) < 5


def test_every_token_but_the_first_is_predicted_once() -> None:
    for batch in (TASK.sample(50, generator()), TASK.test_set()):
        for row, scored in zip(batch.tokens.tolist(), batch.scored.tolist(), strict=True):
            targets = [row[i + 1] for i in range(16) if scored[i]]
            assert targets == row[1:]
            assert not scored[15]


def test_training_and_validation_never_mix() -> None:
    train = "".join(map(TASK.decode, TASK.sample(3000, generator()).tokens))
    test = "".join(map(TASK.decode, TASK.test_set().tokens))
    assert TRAIN_MARKER in train
    assert VALIDATION_MARKER not in train
    assert VALIDATION_MARKER in test
    assert TRAIN_MARKER not in test


def test_documents_end_where_they_should() -> None:
    text = "".join(map(TASK.decode, TASK.test_set().tokens))
    for piece, document in zip(text.split("<|endoftext|>")[:-1], CORPUS.validation, strict=False):
        assert piece == document


def test_the_test_set_is_no_longer_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_modelling, "N_TEST_SEQUENCES", 5)
    task = LanguageModelling(CORPUS.sha256, 290, 16)
    assert len(task.test_set()) == 5


def test_sizes_at_the_paper_and_below() -> None:
    task = LanguageModelling("0" * 64)
    assert (task.d_vocab, task.sequence_length, task.n_ctx) == (10_000, 512, 1024)
    assert (TASK.d_vocab, TASK.sequence_length, TASK.n_ctx) == (300, 16, 32)


# The task as a value.


def test_a_task_needs_no_text_until_it_is_asked_for_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "_OPEN", {})
    task = LanguageModelling("0" * 64, d_vocab=400)
    assert pickle.loads(pickle.dumps(task)) == task
    assert hash(task) == hash(dataclasses.replace(task))
    assert task.name == "language_modelling"
    for use in (
        task.test_set,
        task.floors,
        task.unigram_entropy,
        lambda: task.sample(1, generator()),
        lambda: task.encode("a"),
        lambda: task.decode(torch.tensor([1])),
        lambda: task.token_label(1),
    ):
        with pytest.raises(ValueError, match=r"0000 is not open here: call open_corpus\(path\) or pass --corpus PATH"):
            use()


def test_a_run_is_read_back_where_the_corpus_is_not_open() -> None:
    spec = RunSpec(LanguageModelling("a" * 64), ModelSpec(16), TrainSpec(n_steps=1, batch_size=1))
    assert spec_from_json(spec_to_json(spec)) == spec
    assert spec.run_id.startswith("language_modelling-d16-")


def test_equality_is_by_every_digit_and_the_table_shows_eight() -> None:
    task, other = LanguageModelling("a" * 64), LanguageModelling("a" * 63 + "b")
    assert repr(task) == str(other) == "LanguageModelling(corpus=aaaaaaaa, d_vocab=10000, context_length=512)"
    assert task != other
    assert dataclasses.asdict(task) == {"corpus_sha256": "a" * 64, "d_vocab": 10_000, "context_length": 512}
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.d_vocab = 300


def test_from_corpus_takes_a_corpus_or_its_path(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, CORPUS, ".txt.xz")
    for given_corpus in (CORPUS, folder, str(folder)):
        assert LanguageModelling.from_corpus(given_corpus, d_vocab=300, context_length=16) == TASK
    assert TASK.corpus == CORPUS


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"corpus_sha256": "A" * 64}, "corpus_sha256=.*pattern"),
        ({"corpus_sha256": "a" * 63}, "corpus_sha256=.*pattern"),
        ({"corpus_sha256": "a" * 64 + "\n"}, "corpus_sha256=.*pattern"),
        ({}, "corpus_sha256 is missing"),
        ({"corpus_sha256": "a" * 64, "d_vocab": 256}, "d_vocab=.*greater than or equal to 257"),
        ({"corpus_sha256": "a" * 64, "d_vocab": 300.0}, "valid integer"),
        ({"corpus_sha256": "a" * 64, "context_length": 1}, "context_length=.*greater than or equal to 2"),
    ],
)
def test_nonsense_is_refused_with_what_is_allowed(parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageModelling(**parameters)


@pytest.mark.parametrize(
    ("of_corpus", "split", "n_tokens"),
    [
        (Corpus(("abc", "de"), ("abcdefgh",)), "train", 7),
        (Corpus(("abcdefgh",), ("abc", "de")), "validation", 7),
    ],
)
def test_a_corpus_of_less_than_a_window_is_refused_at_once(of_corpus: Corpus, split: str, n_tokens: int) -> None:
    message = f"the {split} split has {n_tokens} tokens, too few for one context of 8: choose context_length up to 7"
    with pytest.raises(ValueError, match=message):
        LanguageModelling.from_corpus(of_corpus, d_vocab=257, context_length=8)
    task = LanguageModelling(of_corpus.sha256, d_vocab=257, context_length=8)
    with pytest.raises(ValueError, match=message):
        task.test_set() if split == "validation" else task.sample(1, generator())
    enough = LanguageModelling.from_corpus(of_corpus, d_vocab=257, context_length=7)
    assert len(enough.test_set()) == 1
    assert len(enough.sample(3, generator())) == 3


def test_a_corpus_too_small_for_the_vocabulary_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="fewer than d_vocab=10000"):
        LanguageModelling.from_corpus(CORPUS, context_length=16)


DESCRIBE = """
import hashlib, json, sys, torch
from rtinterp.tasks import LanguageModelling
task = LanguageModelling.from_corpus(sys.argv[1], d_vocab=300, context_length=16)
rows = [task.sample(100, torch.Generator().manual_seed(5)).tokens, task.test_set().tokens]
parts = [task.tokenizer.to_str(), *(str(row.tolist()) for row in rows)]
print(json.dumps([task.corpus_sha256, *(hashlib.sha256(part.encode()).hexdigest() for part in parts)]))
"""


def test_every_process_makes_the_same_task(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, CORPUS)
    described = []
    for hash_seed, n_threads in (("1", "1"), ("2", "4")):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "RAYON_NUM_THREADS": n_threads}
        command = [sys.executable, "-c", DESCRIBE, str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        described.append(json.loads(done.stdout))
    assert described[0] == described[1]
    assert described[0][0] == CORPUS.sha256


# The sample of TinyStories.


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the sample of TinyStories in ../shared/corpus")
def test_the_sample_of_tiny_stories() -> None:
    stories = open_corpus(SAMPLE)
    assert (len(stories.train), len(stories.validation)) == (9756, 513)
    assert sum(len(story.encode()) + len("\n<|endoftext|>\n") for story in stories.validation) == 430_567
    task = LanguageModelling.from_corpus(stories, d_vocab=2000, context_length=128)
    text = "Once upon a time, there was a little girl named Lily."
    assert task.decode(task.encode(text)) == text
    assert len(task.encode(text)) <= 16, "frequent words are tokens"
    train = set(map(tuple, task.sample(2000, generator()).tokens.tolist()))
    assert not train & set(map(tuple, task.test_set().tokens.tolist()))
    assert 3 < task.bigram_entropy() < 4.5 < task.unigram_entropy() < 6.5 < math.log(2000)
