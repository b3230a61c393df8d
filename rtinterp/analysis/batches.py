"""What an analysis that gathers over sequences may be given: one batch, or many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks import Batch

#: One batch of a task, or several, such as those of ``task.sample``.
Batches: TypeAlias = "Batch | Iterable[Batch]"
#: The same, or tokens alone.
TokenBatches: TypeAlias = "Batch | Int64[Tensor, 'batch pos'] | Iterable[Batch | Int64[Tensor, '_batch _pos']]"
#: Tokens, and True at the positions that count.
Counted: TypeAlias = tuple[Int64[Tensor, "_batch _pos"], Bool[Tensor, "_batch _pos"]]
CountedBatches: TypeAlias = "Batch | Iterable[Batch | Counted]"


def each_batch(batches: Batches) -> Iterator[Batch]:
    """Go through batches one by one.

    Raises:
        ValueError: something else is among them.
    """
    for batch in _several(batches):
        if not isinstance(batch, Batch):
            raise ValueError(f"batches has {_told(batch)}; pass a Batch such as task.sample(n, generator), or several")
        yield batch


def each_tokens(batches: TokenBatches) -> Iterator[Int64[Tensor, "_batch _pos"]]:
    """Go through the tokens of batches one by one.

    Raises:
        ValueError: something else is among them.
    """
    for batch in _several(batches):
        tokens = batch.tokens if isinstance(batch, Batch) else batch
        if not isinstance(tokens, Tensor) or tokens.ndim != 2:
            raise ValueError(f"batches has {_told(batch)}; pass a Batch, or tokens of shape [batch pos], or several")
        yield tokens


def each_counted(batches: CountedBatches) -> Iterator[Counted]:
    """Go through tokens and the positions that count, of a batch those up to the last scored one of each sequence.

    Raises:
        ValueError: something else is among them.
    """
    for batch in _several(batches):
        if isinstance(batch, Batch):
            yield batch.tokens, positions_that_feed(batch.scored)
        elif isinstance(batch, tuple) and len(batch) == 2:
            yield batch
        else:
            raise ValueError(f"batches has {_told(batch)}; pass a Batch, or pairs (tokens, included), or several")


def positions_that_feed(scored: Bool[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
    """Mark positions whose activations can reach a scored prediction: those up to the last scored one of a sequence.

    Padding at the end is left out, and so is the last target token, which the model only ever predicts.
    Where pads come first, also require ``tokens != pad_token``.
    """
    return scored.flip(-1).cumsum(dim=-1).flip(-1) > 0


def _several(batches: object) -> Iterable[object]:
    if isinstance(batches, (Batch, Tensor)):
        return [batches]
    if not isinstance(batches, Iterable):
        raise ValueError(f"batches is {_told(batches)}; pass a Batch such as task.sample(n, generator), or several")
    return batches


def _told(given: object) -> str:
    shape = f" of shape {list(given.shape)}" if isinstance(given, Tensor) else ""
    return f"a {type(given).__name__}{shape}"
