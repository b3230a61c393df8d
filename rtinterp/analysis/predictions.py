"""How good a model's scored predictions are: the measures of an ablation or a patch.

A model runs with the hooks it has, so ``with model.hooks(...): accuracy(model, batch)`` measures an intervention.
Whether the most likely token changes is a coarse question; ``cross_entropy``, ``logit_difference`` and
``kl_divergence`` change before it does. ``prediction_table`` has a row for every single prediction: group it by
``sequence`` for one number per sequence.

Large batches run in slices, as many rows at a time as keep the largest activation below ``ACTIVATIONS_PER_PASS``. A
hook that puts in activations of the whole batch, of a cache for example, fails on a slice: pass fewer sequences then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from rtinterp.analysis.slices import ACTIVATIONS_PER_PASS, Model, rows_of
from rtinterp.tasks import Batch


def accuracy(model: Model, batch: Batch) -> float:
    """Measure the fraction of scored predictions whose most likely token is right (micro average), in [0, 1].

    Raises:
        TypeError: tokens are given without what is scored in them, or a run instead of its model.
        ValueError: the batch scores nothing, its targets are not tokens, or the model cannot read or predict them.
    """
    return _mean(is_right(*slice_) for slice_ in _predictions(model, batch, _expected_tokens(batch)))


def exact_match(model: Model, batch: Batch) -> float:
    """Measure the fraction of sequences all of whose scored predictions are right, in [0, 1].

    It is at most the accuracy where all sequences have as many scored predictions, and equal where they have one.
    Sequences without any are left out. Every prediction sees the right tokens before it, as in training.

    Raises:
        TypeError, ValueError: as ``accuracy``.
    """
    right = torch.cat([is_right(*slice_) for slice_ in _predictions(model, batch, _expected_tokens(batch))])
    all_right = batch.scored.clone()
    all_right[batch.scored] = right
    return (all_right | ~batch.scored).all(dim=1)[batch.scored.any(dim=1)].double().mean().item()


def cross_entropy(model: Model, batch: Batch) -> float:
    """Measure the mean cross-entropy of scored predictions, in nats; uniform guessing has ``log(d_vocab_out)``.

    Raises:
        TypeError, ValueError: as ``accuracy``.
    """
    return _mean(nats(*slice_) for slice_ in _predictions(model, batch, _expected_tokens(batch)))


def logit_difference(model: Model, batch: Batch, against: Int64[Tensor, " prediction"] | None = None) -> float:
    """Measure by how much the logit of the right token exceeds another one's, averaged over scored predictions.

    Args:
        against: the tokens to compare with, such as the answers of counterfactual inputs, in the order of
            ``prediction_table``; by default each prediction's strongest wrong token, so that right ones are positive.

    Raises:
        TypeError, ValueError: as ``accuracy``; or not one token per scored prediction.
    """
    expected = _expected_tokens(batch)
    if against is None:
        return _mean(margins(*slice_) for slice_ in _predictions(model, batch, expected))
    if against.shape != expected.shape:
        raise ValueError(
            f"against has shape {list(against.shape)}; pass one token for each of {len(expected)} predictions"
        )
    pairs = torch.stack([expected, against.to(expected)], dim=1)
    both = (logits.gather(1, pair) for logits, pair in _predictions(model, batch, pairs))
    return _mean(logits[:, 0] - logits[:, 1] for logits in both)


def kl_divergence(
    model: Model, batch: Batch, reference: Float[Tensor, "prediction d_vocab_out"] | None = None
) -> float:
    """Measure KL(reference || prediction) in nats, averaged over scored predictions: 0 if nothing has changed.

    Args:
        reference: logits or log-probabilities of every scored prediction, such as ``scored_logits`` of the model
            without the intervention. By default the batch's targets, where those are log-probabilities.

    Raises:
        TypeError: as ``accuracy``.
        ValueError: the batch scores nothing, the model cannot read it, or the reference has another shape.
    """
    if reference is None:
        reference = _targets(batch)
        if not reference.is_floating_point():
            raise ValueError("the targets of the batch are tokens; pass reference=scored_logits(intact_model, batch)")
    n_predictions = len(_targets(batch))
    if reference.ndim != 2 or len(reference) != n_predictions:
        raise ValueError(f"reference has shape {list(reference.shape)}; pass [{n_predictions}, d_vocab_out]")
    return _mean(divergences(*slice_) for slice_ in _predictions(model, batch, reference))


def scored_logits(model: Model, batch: Batch) -> Float[Tensor, "prediction d_vocab_out"]:
    """Compute the logits of every scored prediction, sequence after sequence, on the batch's device.

    Raises:
        TypeError: as ``accuracy``.
        ValueError: the batch scores nothing, or the model cannot read it.
    """
    return torch.cat([logits for logits, _ in _predictions(model, batch, _targets(batch))])


def prediction_table(model: Model, batch: Batch) -> pl.DataFrame:
    """Make one row per scored prediction, sequence after sequence.

    ``prediction_table(...).group_by("sequence", maintain_order=True).mean()`` has the means of every sequence.

    Returns:
        columns ``sequence`` (row of the batch), ``pos`` (the scored position), ``expected`` and ``predicted`` (tokens),
        ``right``, ``nats`` (cross-entropy) and ``logit_difference`` (right token less the strongest wrong one).

    Raises:
        TypeError, ValueError: as ``accuracy``.
    """
    expected = _expected_tokens(batch)
    parts = [
        (logits.argmax(-1), is_right(logits, target), nats(logits, target), margins(logits, target))
        for logits, target in _predictions(model, batch, expected)
    ]
    names = ("sequence", "pos", "expected", "predicted", "right", "nats", "logit_difference")
    columns = (*batch.scored.nonzero().unbind(1), expected, *map(torch.cat, zip(*parts, strict=True)))
    return pl.DataFrame({name: column.cpu().numpy() for name, column in zip(names, columns, strict=True)})


def _targets(batch: Batch) -> Shaped[Tensor, "prediction ..."]:
    """What is expected of every scored prediction; only a batch says it."""
    if not isinstance(batch, Batch):
        raise TypeError(
            f"{type(batch).__name__} is no Batch, which says what predictions count: pass task.test_set(), or "
            "Batch(tokens, scored), where scored is True at the positions whose next token is to be predicted"
        )
    return batch.scored_targets


def _expected_tokens(batch: Batch) -> Int64[Tensor, " prediction"]:
    expected = _targets(batch)
    if expected.is_floating_point():
        raise ValueError("the targets of the batch are numbers, of which none can be the most likely token")
    return expected


@torch.no_grad()
def _predictions(
    model: Model, batch: Batch, beside: Shaped[Tensor, "prediction ..."]
) -> Iterator[tuple[Float[Tensor, "prediction d_vocab_out"], Shaped[Tensor, "prediction ..."]]]:
    """Logits of the scored predictions slice by slice, with what belongs to each of them."""
    if not callable(model):
        raise TypeError(f"{type(model).__name__} makes no logits of tokens: pass a model, such as run.model")
    if not batch.scored.any():
        raise ValueError("no position of the batch is scored; a task's sample() and test_set() score at least one")
    # Nothing after the last scored position is read.
    n_pos = int(batch.scored.any(dim=0).nonzero().max()) + 1
    _check_fit(model, batch, n_pos)
    n_rows, done = rows_of(ACTIVATIONS_PER_PASS, model, n_pos), 0
    for rows in range(0, len(batch), n_rows):
        scored = batch.scored[rows : rows + n_rows, :n_pos]
        logits = model(batch.tokens[rows : rows + n_rows, :n_pos]).to(scored.device)[scored].float()
        yield logits, beside[done : done + len(logits)].to(scored.device)
        done += len(logits)


def _check_fit(model: Model, batch: Batch, n_pos: int) -> None:
    """Refuse a batch of another task where the model says what it can read and predict."""
    cfg = getattr(model, "cfg", None)
    if cfg is None:
        return
    advice = "pass a batch of the task that the model was trained on"
    if n_pos > cfg.n_ctx:
        raise ValueError(f"sequences of {n_pos} tokens are longer than the model's n_ctx = {cfg.n_ctx}; {advice}")
    for kind, tokens, size in (
        ("tokens", batch.tokens, cfg.d_vocab),
        ("targets", batch.scored_targets, cfg.d_vocab_out),
    ):
        if not tokens.is_floating_point() and not 0 <= int(tokens.min()) <= int(tokens.max()) < size:
            span = f"{int(tokens.min())} to {int(tokens.max())}"
            raise ValueError(f"the {kind} of the batch are {span}, the model's 0 to {size - 1}; {advice}")


def is_right(
    logits: Float[Tensor, "prediction d_vocab_out"], expected: Int64[Tensor, " prediction"]
) -> Bool[Tensor, " prediction"]:
    """Tell of every prediction whether its most likely token is the expected one."""
    return logits.argmax(-1) == expected


def nats(
    logits: Float[Tensor, "prediction d_vocab_out"], expected: Int64[Tensor, " prediction"]
) -> Float[Tensor, " prediction"]:
    """Compute the cross-entropy of every prediction, in nats."""
    return F.cross_entropy(logits, expected, reduction="none")


def margins(
    logits: Float[Tensor, "prediction d_vocab_out"], expected: Int64[Tensor, " prediction"]
) -> Float[Tensor, " prediction"]:
    """Compute by how much the logit of every expected token exceeds that of the strongest wrong one."""
    right = expected[:, None]
    return (logits.gather(1, right) - logits.scatter(1, right, -torch.inf).amax(1, keepdim=True))[:, 0]


def divergences(
    logits: Float[Tensor, "prediction d_vocab_out"], reference: Float[Tensor, "prediction d_vocab_out"]
) -> Float[Tensor, " prediction"]:
    """Compute KL(reference || prediction) of every prediction, in nats, from logits or log-probabilities.

    Raises:
        ValueError: the two have different numbers of tokens.
    """
    if reference.shape != logits.shape:
        raise ValueError(
            f"reference has {reference.shape[1]} numbers a prediction, the model predicts {logits.shape[1]}"
        )
    log_probs, expected = logits.log_softmax(-1), reference.to(logits).log_softmax(-1)
    return F.kl_div(log_probs, expected, reduction="none", log_target=True).sum(-1)


def _mean(slices: Iterable[Tensor]) -> float:
    total, n = 0.0, 0
    for values in slices:
        total += values.double().sum().item()
        n += len(values)
    return total / n
