"""What training lowers, and how a model is judged: one object for each loss, and one for each metric."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from rtinterp.models.layers import Affine
from rtinterp.training.cross_entropy import cross_entropy, cross_entropy_and_predictions

Outputs: TypeAlias = Float[Tensor, "model row d_vocab_out"]


@dataclasses.dataclass(frozen=True)
class Judged:
    """Every scored prediction of M models beside what was expected of it.

    Attributes:
        losses: of each prediction.
        predicted: what stands for the prediction: the most likely token, or the values.
        expected: the same of the target.
    """

    losses: Float[Tensor, "model row"]
    predicted: Shaped[Tensor, "model row ..."]
    expected: Shaped[Tensor, "model row ..."]


class Loss(abc.ABC):
    """The loss of predictions, which are made of what the unembedding reads."""

    @abc.abstractmethod
    def losses(
        self, residual: Float[Tensor, "model row d_model"], unembedding: Affine, target: Shaped[Tensor, "model row ..."]
    ) -> Float[Tensor, "model row"]:
        """The loss of every prediction; differentiable."""

    @abc.abstractmethod
    def judge(
        self, residual: Float[Tensor, "model row d_model"], unembedding: Affine, target: Shaped[Tensor, "model row ..."]
    ) -> Judged:
        """The same losses, and what metrics are measured on; called where there are no gradients."""


class CrossEntropy(Loss):
    """The cross-entropy with target tokens [model row], in nats; never holds the logits of a large vocabulary."""

    def losses(
        self, residual: Float[Tensor, "model row d_model"], unembedding: Affine, target: Int64[Tensor, "model row"]
    ) -> Float[Tensor, "model row"]:
        return cross_entropy(residual, unembedding, target)

    def judge(
        self, residual: Float[Tensor, "model row d_model"], unembedding: Affine, target: Int64[Tensor, "model row"]
    ) -> Judged:
        return Judged(*cross_entropy_and_predictions(residual, unembedding, target), target)


class OutputLoss(Loss):
    """A loss of outputs [model row d_vocab_out], all held at once, and targets of the same shape."""

    @abc.abstractmethod
    def compare(self, outputs: Outputs, target: Outputs) -> Float[Tensor, "model row"]:
        """The loss of every prediction."""

    @abc.abstractmethod
    def answer(self, outputs: Outputs) -> Shaped[Tensor, "model row ..."]:
        """What stands for outputs, or for a target, when they are judged."""

    def losses(
        self, residual: Float[Tensor, "model row d_model"], unembedding: Affine, target: Outputs
    ) -> Float[Tensor, "model row"]:
        return self.compare(_outputs(residual, unembedding, target), target)

    def judge(self, residual: Float[Tensor, "model row d_model"], unembedding: Affine, target: Outputs) -> Judged:
        outputs = _outputs(residual, unembedding, target)
        return Judged(self.compare(outputs, target), self.answer(outputs), self.answer(target))


class KLDivergence(OutputLoss):
    """KL(target || prediction) in nats; targets are log-probabilities in nats, and the most likely token is judged."""

    def compare(self, outputs: Outputs, target: Outputs) -> Float[Tensor, "model row"]:
        return F.kl_div(outputs.log_softmax(-1), target, reduction="none", log_target=True).sum(-1)

    def answer(self, outputs: Outputs) -> Int64[Tensor, "model row"]:
        return outputs.argmax(-1)


class MeanSquaredError(OutputLoss):
    """The squared difference from target values, averaged over their dimensions."""

    def compare(self, outputs: Outputs, target: Outputs) -> Float[Tensor, "model row"]:
        return (outputs - target).square().mean(-1)

    def answer(self, outputs: Outputs) -> Outputs:
        return outputs


def _outputs(residual: Float[Tensor, "model row d_model"], unembedding: Affine, target: Outputs) -> Outputs:
    """What is compared with a target, which must not be stretched to the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    outputs = unembedding(residual)
    if outputs.shape != target.shape:
        raise ValueError(
            f"predictions have {outputs.shape[-1]} numbers each, and targets the shape {list(target.shape[2:])}; "
            "the task's batches need targets [batch pos d_vocab_out]"
        )
    return outputs


def _is_right(judged: Judged) -> Float[Tensor, "model row"]:
    return (judged.predicted == judged.expected).float()


#: By the name in ``Task.loss``.
LOSSES: dict[str, Loss] = {
    "cross_entropy": CrossEntropy(),
    "kl_divergence": KLDivergence(),
    "mean_squared_error": MeanSquaredError(),
}

#: By the name in ``Task.metrics``: a number for every prediction, of which the mean is reported.
METRICS: dict[str, Callable[[Judged], Float[Tensor, "model row"]]] = {"accuracy": _is_right}
