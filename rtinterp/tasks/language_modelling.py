"""Language modelling: stories, of which every next token is predicted."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from jaxtyping import Int64, Integer
from pydantic import Field
from tokenizers import Tokenizer
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws, floors
from rtinterp.tasks.base import N_TEST_SEQUENCES, Task, check_sample_size
from rtinterp.tasks.batch import Batch
from rtinterp.tasks.bpe import MIN_D_VOCAB, train_bpe
from rtinterp.tasks.corpus import Corpus, find_corpus, open_corpus, remember
from rtinterp.tasks.ngrams import Ngrams, count_ngrams
from rtinterp.tasks.token_stream import check_one_window, token_stream, windows

CPU = torch.device("cpu")


@strict(repr=False)
class LanguageModelling(Task):
    """Packed windows of a corpus such as TinyStories; every token but a window's first is predicted (paper section 3).

    The documents of a split are encoded by a byte-level BPE learned from the training split, joined with
    <|endoftext|> after each, and cut at multiples of context_length, so a window may begin and end within a
    story. The task is the corpus by content: an instance can be made, compared and stored without the text, and all
    that needs the text needs the corpus open (open_corpus).

    Args:
        corpus_sha256: content hash of the corpus, 64 hex digits; from_corpus fills it in.
        d_vocab: number of tokens of the BPE, 10,000 in the paper.
        context_length: tokens per window, 512 in the paper.

    Raises:
        ValueError: the hash is not 64 lower-case hex digits, d_vocab is less than 257 (256 bytes and
            the end of a text), or context_length is less than 2.
    """

    name: ClassVar[str] = "language_modelling"

    corpus_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    # A field does what the property of a task does: it is read.
    d_vocab: Annotated[int, Field(ge=MIN_D_VOCAB)] = 10_000  # pyright: ignore[reportIncompatibleMethodOverride]
    context_length: Annotated[int, Field(ge=2)] = 512

    @classmethod
    def from_corpus(
        cls, corpus: Corpus | str | Path, d_vocab: int = d_vocab, context_length: int = context_length
    ) -> LanguageModelling:
        """The task of a corpus, which is opened and checked at once: it learns the BPE, which takes seconds per 10 MB.

        Args:
            corpus: an open corpus, or what ``open_corpus`` takes.

        Raises:
            ValueError: there is no corpus, or it is too small for ``d_vocab`` tokens or for one window of each split.
            ImportError: ``corpus`` names a data set on the hub and the package ``datasets`` is missing.
        """
        corpus = remember(corpus) if isinstance(corpus, Corpus) else open_corpus(corpus)
        task = cls(corpus.sha256, d_vocab, context_length)
        for split in ("train", "validation"):
            check_one_window(corpus, split, d_vocab, context_length)
        return task

    def __repr__(self) -> str:
        """Short enough for a table: the hash is cut to 8 digits, which equality and run ids never do."""
        return (
            f"{type(self).__name__}(corpus={self.corpus_sha256[:8]}, d_vocab={self.d_vocab}, "
            f"context_length={self.context_length})"
        )

    @property
    def sequence_length(self) -> int:
        return self.context_length

    @property
    def n_ctx(self) -> int:
        """Twice as many as are in use: the official code trains GPT-2's default of 1024 at a context of 512."""
        return 2 * self.context_length

    @property
    def corpus(self) -> Corpus:
        """The text.

        Raises:
            ValueError: the corpus is not open in this process.
        """
        return find_corpus(self.corpus_sha256)

    @property
    def tokenizer(self) -> Tokenizer:
        """The BPE of the training split; shared, do not modify.

        Raises:
            ValueError: the corpus is not open in this process, or too small for ``d_vocab`` tokens.
        """
        return train_bpe(self.corpus, self.d_vocab)

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """Draw ``n`` windows of the training split, uniformly and with replacement, on the generator's device.

        The official code goes through all windows once in every epoch instead.

        Raises:
            ValueError: if ``n`` is less than 1, the corpus is not open, or its training split has no full window.
        """
        check_sample_size(n)
        train = windows(self.corpus, "train", self.d_vocab, self.context_length, generator.device)
        return _batch(train[draws.uniform(0, len(train) - 1, (n,), generator)])

    def test_set(self) -> Batch:
        """The first 4000 windows of the validation split, or all if there are fewer, each once, on the CPU.

        The batch is cached and shared between callers: do not modify its tensors.

        Raises:
            ValueError: if the corpus is not open or its validation split has no full window.
        """
        return _test_set(self)

    def encode(self, text: str) -> Int64[Tensor, " pos"]:
        """The tokens of a text, of any length; ``<|endoftext|>`` within it is one token."""
        return torch.tensor(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=torch.int64)

    def decode(self, tokens: Int64[Tensor, " pos"]) -> str:
        """The text of one sequence, ``<|endoftext|>`` included: the inverse of ``encode``.

        Bytes that are no UTF-8, as where a sequence begins or ends within a character, become U+FFFD.

        Raises:
            ValueError: if ``tokens`` is not one-dimensional or holds an id outside the vocabulary.
        """
        super().decode(tokens)  # refuses what is no sequence of this vocabulary
        return self.tokenizer.decode(tokens.tolist(), skip_special_tokens=False)

    def _label(self, token: int) -> str:
        """The token as byte-level BPE writes it: ``Ġ`` is a space, ``Ċ`` a new line."""
        text = self.tokenizer.id_to_token(token)
        assert text is not None  # the token is in the vocabulary
        return text

    def floors(self) -> dict[str, float]:
        """Always the most frequent token of the training split, and the one that most often follows the current."""
        current, answer = self._scored_pairs()
        ngrams = _ngrams(self.corpus, self.d_vocab)
        most_frequent = ngrams.unigram_counts.argmax().expand_as(answer)
        return {
            "most frequent token": floors.accuracy(most_frequent, answer),
            "most frequent next token": floors.accuracy(ngrams.most_frequent_next()[current], answer),
        }

    def unigram_entropy(self) -> float:
        """Cross-entropy of the test set's scored tokens under their training frequencies plus one, in nats/token."""
        _, answer = self._scored_pairs()
        return -_ngrams(self.corpus, self.d_vocab).unigram_probabilities()[answer].log().mean().item()

    def bigram_entropy(self) -> float:
        """The same under a smoothed bigram model of the training split, which sees the current token and no other."""
        ngrams = _ngrams(self.corpus, self.d_vocab)
        return -ngrams.bigram_probabilities(*self._scored_pairs()).log().mean().item()

    def _scored_pairs(self) -> tuple[Int64[Tensor, " answers"], Int64[Tensor, " answers"]]:
        """The current and the next token of every scored prediction of the test set."""
        batch = self.test_set()
        return batch.tokens[batch.scored], batch.scored_targets


def _batch(tokens: Integer[Tensor, "batch pos"]) -> Batch:
    scored = torch.arange(tokens.shape[1], device=tokens.device) < tokens.shape[1] - 1
    return Batch(tokens.long(), scored.repeat(len(tokens), 1))


@functools.cache
def _test_set(task: LanguageModelling) -> Batch:
    return _batch(windows(task.corpus, "validation", task.d_vocab, task.context_length, CPU)[:N_TEST_SEQUENCES])


@functools.cache
def _ngrams(corpus: Corpus, d_vocab: int) -> Ngrams:
    return count_ngrams(token_stream(corpus, "train", d_vocab, CPU), d_vocab)
