"""Accuracy of strategies that need no understanding."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor


def accuracy(guess: Int64[Tensor, " answers"], answer: Int64[Tensor, " answers"]) -> float:
    """Share of guesses that are right."""
    return (guess == answer).double().mean().item()


def best_guess_accuracy(
    trained: tuple[Int64[Tensor, " trained"], Int64[Tensor, " trained"]],
    tested: tuple[Int64[Tensor, " tested"], Int64[Tensor, " tested"]],
) -> float:
    """Accuracy on tested pairs of answering, in each context, what is the most frequent answer there in training.

    A pair is of a context, a number of what the guesser may see, and the answer; both are small and not negative. In a
    context that training never shows, the guess is the answer that is most frequent over all; of equally frequent
    answers, it is the smallest.
    """
    n_contexts, n_answers = (int(torch.cat([trained[i], tested[i]]).max()) + 1 for i in range(2))
    counts = torch.bincount(trained[0] * n_answers + trained[1], minlength=n_contexts * n_answers)
    counts = counts.view(n_contexts, n_answers)
    guess = torch.where(counts.any(dim=1), counts.argmax(dim=1), counts.sum(dim=0).argmax())
    return accuracy(guess[tested[0]], tested[1])
