"""Accuracy of strategies that need no understanding."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor


def accuracy(guess: Int64[Tensor, " answers"], answer: Int64[Tensor, " answers"]) -> float:
    """Share of guesses that are right."""
    return (guess == answer).double().mean().item()


def best_guess_accuracy(context: Int64[Tensor, " answers"], answer: Int64[Tensor, " answers"]) -> float:
    """Accuracy of answering, in each context, what is the most frequent answer there.

    ``context`` numbers what the guesser may see and ``answer`` what it should say; both are small and not negative. A
    constant context gives the best constant answer. The table is read off the first half and judged on the second:
    judged on itself, it would profit from chance wherever all answers are equally frequent.
    """
    half = len(answer) // 2
    n_contexts, n_answers = int(context.max()) + 1, int(answer.max()) + 1
    cells = context[:half] * n_answers + answer[:half]
    counts = torch.bincount(cells, minlength=n_contexts * n_answers).view(n_contexts, n_answers)
    return accuracy(counts.argmax(dim=1)[context[half:]], answer[half:])
