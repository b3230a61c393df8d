"""What a task is: a distribution of sequences of which some predictions are scored."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.cards import Token, card, facts, percent, sequences, text
from rtinterp.tasks.batch import MAX_POSITIONS, Batch
from rtinterp.tasks.numbers import as_numbers

N_TEST_SEQUENCES = 4000

#: Seed of every fixed choice: the official code calls ``random.seed(12345)`` before it builds a data set.
FIXED_SEED = 12345

#: Sequences on a card.
N_EXAMPLES = 3

Reads = Literal["tokens", "values"]
LossName = Literal["cross_entropy", "kl_divergence", "mean_squared_error"]

#: The metrics by which predictions can be judged that are made for a loss.
METRICS_OF: dict[LossName, tuple[str, ...]] = {
    "cross_entropy": ("accuracy",),
    "kl_divergence": ("accuracy",),
    "mean_squared_error": (),
}


class Task(abc.ABC):
    """A distribution of sequences, what is to be predicted on them, and a fixed test set.

    A subclass is a frozen dataclass, of the standard library or of pydantic, whose fields JSON can carry: run ids are
    made of them. It has a ``name`` of its own and says ``d_vocab``, ``sequence_length``, ``sample`` and ``test_set``;
    all else has a default. ``register_task`` makes it known, so that its runs can be stored and opened::

        @register_task
        @dataclass(frozen=True)
        class Repeat(Task):
            name: ClassVar[str] = "repeat"
            d_vocab: int = 10
            sequence_length: ClassVar[int] = 4

            def sample(self, n, generator):
                half = torch.randint(self.d_vocab, (n, 2), generator=generator, device=generator.device)
                tokens = half.repeat(1, 2)  # a b a b
                scored = torch.zeros_like(tokens, dtype=torch.bool)
                scored[:, 2] = True  # where the last b is predicted
                return Batch(tokens, scored)

            def test_set(self):
                return self.sample(100, torch.Generator().manual_seed(0))

    Mixins add what only some tasks have: sequences that are kept out of training (``HeldOutTask``), official test sets
    (``OfficialListTask``), positions that no sequence reaches (``SparePositions``).

    Attributes:
        name: stands in run ids and stored specs: lower-case letters, digits and underscores.
        loss: what training lowers: ``"cross_entropy"`` and ``"kl_divergence"`` in nats, ``"mean_squared_error"``.
        reads: ``"tokens"``, or ``"values"``: real-valued vectors, which W_E maps into the residual stream.
        pad_token: fills a sequence up to ``sequence_length``; None where every sequence is full.
    """

    name: ClassVar[str]
    loss: ClassVar[LossName] = "cross_entropy"
    reads: ClassVar[Reads] = "tokens"
    pad_token: ClassVar[int | None] = None

    @property
    @abc.abstractmethod
    def d_vocab(self) -> int:
        """Rows of W_E: the number of token ids, used or not, or the dimension of real-valued inputs."""

    @property
    def d_vocab_out(self) -> int:
        """Columns of W_U: the number of tokens that are predicted, or of values."""
        return self.d_vocab

    @property
    @abc.abstractmethod
    def sequence_length(self) -> int:
        """Positions of a sequence, padding included: the ``pos`` axis of every Batch."""

    @property
    def n_ctx(self) -> int:
        """Rows of the positional embedding."""
        return self.sequence_length

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured on the test set beside the loss; at most what the loss has in ``METRICS_OF``."""
        return METRICS_OF[self.loss]

    @abc.abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """Draw ``n`` training sequences, none of them in the test set, on the generator's device.

        The same generator state gives the same batch on the same kind of device; torch's global generator is
        neither read nor moved. Memorization alone trains on its test set.

        Raises:
            ValueError: if ``n`` is less than 1.
        """

    @abc.abstractmethod
    def test_set(self) -> Batch:
        """The fixed test sequences, on the CPU: the same on every machine and for every seed.

        The batch is cached and shared between callers: do not modify its tensors.
        """

    @classmethod
    def when_absent(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What a stored spec means that lacks fields, because its runs are older than these; of no field by default.

        A spec that says just that is written without them, so that the ids of older runs stay.

        Args:
            fields: the other fields, as they were read and before they are checked.
        """
        return {}

    def _label(self, token: int) -> str:
        """The printed form of a token id that is known to be in the vocabulary."""
        return str(token)

    def token_label(self, token: int) -> str:
        """The printed form of one token id, without spaces, as for an axis label.

        Raises:
            ValueError: if ``token`` is not in ``[0, d_vocab)``.
        """
        token = int(token)
        if not 0 <= token < self.d_vocab:
            raise ValueError(f"token {token} is not in the vocabulary of {self.name}: 0 to {self.d_vocab - 1}")
        return self._label(token)

    def decode(self, tokens: Int64[Tensor, " pos"]) -> str:
        """Render one sequence as text, one label per token, separated by spaces; padding is dropped.

        Raises:
            ValueError: if ``tokens`` is not one-dimensional or holds an id outside the vocabulary.
        """
        tokens = as_numbers(tokens, "tokens")
        if tokens.ndim != 1 or tokens.is_floating_point():
            found = f"shape {list(tokens.shape)} of {tokens.dtype}"
            raise ValueError(f"decode takes one sequence, tokens of shape [pos], got {found}")
        labels = zip(tokens.tolist(), self._labels(tokens.tolist()), strict=True)
        return " ".join(label for token, label in labels if token != self.pad_token)

    def _labels(self, tokens: list[int]) -> list[str]:
        """The printed form of each token of a sequence, where it stands."""
        return [self.token_label(token) for token in tokens]

    def floors(self) -> dict[str, float]:
        """Accuracies, in [0, 1], that need no understanding, chance and simple heuristics, as far as they are known."""
        return {}

    def _repr_html_(self) -> str:
        described = (type(self).__doc__ or "").partition("\n\n")[0].replace("``", "")
        sizes = f"{self.d_vocab} {self.reads}, {self.sequence_length} positions"
        try:
            batch = self.sample(N_EXAMPLES, torch.Generator().manual_seed(FIXED_SEED))
            examples = sequences(self._marked(batch, row)[:MAX_POSITIONS] for row in range(N_EXAMPLES))
            floors = {name: percent(share) for name, share in self.floors().items()}
        except ValueError as error:  # such as a corpus that is not open
            return card(repr(self), text(described), text(sizes), text(str(error)))
        told = facts({"accuracy without understanding": "", **floors}) if floors else ""
        return card(repr(self), text(described), text(sizes), examples, told)

    def _marked(self, batch: Batch, row: int) -> list[Token]:
        """One sequence of a batch, without its padding."""
        if self.reads == "values":
            return batch.marked(row)
        shown = zip(batch.marked(row, self._labels), batch.tokens[row].tolist(), strict=True)
        return [token for token, token_id in shown if token_id != self.pad_token or token.scored]


def check_sample_size(n: int) -> None:
    """Raise ValueError unless ``n`` sequences can be drawn."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")


def check_judgement(task: Task) -> Task:
    """Raise ValueError unless the task has a known loss, and metrics by which its predictions can be judged."""
    cls = type(task).__qualname__
    if task.loss not in METRICS_OF:
        raise ValueError(f"{cls}.loss is {task.loss!r}; known: {', '.join(METRICS_OF)}")
    known = METRICS_OF[task.loss]
    if len({*task.metrics, *known}) > len(known) or len(set(task.metrics)) < len(task.metrics):
        raise ValueError(f"{cls}.metrics is {task.metrics!r}; {task.loss} can be judged by {known}, each once")
    return task


def check_batch(task: Task, batch: Batch, n: int) -> Batch:
    """Raise ValueError unless ``n`` sequences have the shapes, types and tokens that their task tells of."""
    shape = [n, task.sequence_length]
    _check_tensor(task, "tokens", batch.tokens, [*shape, task.d_vocab] if task.reads == "values" else shape)
    if task.reads == "tokens":
        _check_tokens(task, "tokens", batch.tokens, "d_vocab", task.d_vocab)
    if batch.targets is not None:
        of_values = task.loss != "cross_entropy"
        _check_tensor(task, "targets", batch.targets, [*shape, task.d_vocab_out] if of_values else shape)
    if task.loss == "cross_entropy":
        _check_tokens(task, "scored targets", batch.scored_targets, "d_vocab_out", task.d_vocab_out)
    return batch


def _check_tensor(task: Task, name: str, tensor: Tensor, shape: list[int]) -> None:
    """Tokens are int64 [batch pos], numbers float32 [batch pos column]."""
    dtype = torch.int64 if len(shape) == 2 else torch.float32
    if list(tensor.shape) != shape or tensor.dtype != dtype:
        raise ValueError(
            f"{task} gave {name} of shape {list(tensor.shape)} and {tensor.dtype}; with reads={task.reads!r} and "
            f"loss={task.loss!r} they must have the shape {shape} and {dtype}"
        )


def _check_tokens(task: Task, name: str, tokens: Tensor, size_name: str, size: int) -> None:
    """Tokens are indices of rows of W_E, or of columns of W_U."""
    if not tokens.numel():
        return
    least, most = (int(end) for end in tokens.aminmax())
    if least < 0 or most >= size:
        expected = f"with {size_name}={size} they must be 0 to {size - 1}"
        raise ValueError(f"{task} gave {name} from {least} to {most}; {expected}")


class SparePositions(Task):
    """A task whose positional embedding has rows that no token ever reaches, as in the official code."""

    n_spare_positions: ClassVar[int]

    @property
    def n_ctx(self) -> int:
        return self.sequence_length + self.n_spare_positions
