"""What a model with hook points is given to read: token ids that it has, of whatever type, or real values."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor, nn

from rtinterp.tasks.numbers import as_numbers

HOW_TO_GET_TOKENS = "pass token ids [batch pos], such as task.test_set().tokens"


def check_inputs(model: nn.Module, d_vocab: int, *, reads_values: bool) -> None:
    """Let every call of the model begin with a look at its input.

    Token ids of another type than int64, also in a NumPy array or in lists, are then read as what they are. A call
    raises a TypeError for what is not numbers, and a ValueError for token ids that the model does not have.

    Args:
        reads_values: whether real-valued vectors [batch pos d_vocab] may take the place of token ids.
    """
    model.register_forward_pre_hook(
        functools.partial(_look, d_vocab=d_vocab, reads_values=reads_values), with_kwargs=True
    )


def _look(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, d_vocab: int, reads_values: bool
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    # In the middle of a model it is a residual stream.
    if kwargs.get("start_at_layer") is None:
        if args:
            args = (_readable(args[0], d_vocab, reads_values), *args[1:])
        elif "input" in kwargs:
            kwargs = {**kwargs, "input": _readable(kwargs["input"], d_vocab, reads_values)}
    return args, kwargs


def _readable(given: Any, d_vocab: int, reads_values: bool) -> Tensor:
    if isinstance(given, str):
        raise TypeError(f"the model has no tokenizer to read {given!r:.40} with; {HOW_TO_GET_TOKENS}")
    inputs = as_numbers(given, "inputs")
    if inputs.is_floating_point():
        if not reads_values or inputs.ndim < 2 or inputs.shape[-1] != d_vocab:
            vectors = f", or vectors [batch pos {d_vocab}]" if reads_values else ""
            found = f"inputs of {inputs.dtype} and shape {list(inputs.shape)}"
            raise TypeError(f"{found} are no token ids; {HOW_TO_GET_TOKENS}{vectors}")
    elif inputs.numel() and not 0 <= int(inputs.min()) <= int(inputs.max()) < d_vocab:
        raise ValueError(
            f"token ids are {int(inputs.min())} to {int(inputs.max())}, the model's 0 to {d_vocab - 1}; pass those of "
            "the task that the model was trained on"
        )
    return inputs
