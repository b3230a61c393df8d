"""How a run is trained: steps, batches, rates, precision, as frozen data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from rtinterp.strict import strict
from rtinterp.training.kept_steps import KeptSteps

AtLeastOne = Annotated[int, Field(ge=1)]
# Minus zero equals zero and must not make another run id.
Fraction = Annotated[float, Field(ge=0.0, lt=1.0), AfterValidator(abs)]
NotNegative = Annotated[float, Field(ge=0.0), AfterValidator(abs)]

Precision = Literal["float32", "tf32", "bfloat16"]


@strict
class TrainSpec:
    """AdamW with linear warmup, cosine decay to zero and clipping (paper section 3, official code).

    Attributes:
        n_steps: optimiser steps.
        batch_size: sequences per step.
        weight_decay: decoupled; not applied to biases and norms.
        n_warmup_steps: steps of linear warmup, counted within n_steps.
        max_grad_norm: gradients are scaled down to this global norm.
        steps_per_evaluation: the test set is measured every so many steps, and after the last. It takes no part in
            equality nor in the run id.
        kept_steps: at which steps the trained tensors are kept beside those of the end: "none"; "log", step 0
            (before the first), every power of two and the last; or a tuple of rising steps. It takes no part in
            equality nor in the run id.
        precision: of matrix products: "float32"; "tf32" (CUDA), float32 with products rounded to 10 bits; or
            "bfloat16" between the embeddings. Embeddings, norms, softmax, recurrent states, logits, optimiser and
            evaluation are float32 in all three.
        release_at: the embeddings train alone for so many of the first steps, and the rest of what is
            trainable joins them then. Warmup and decay happen twice, before the release and after it.
        rate_before_release: the learning rate before the release; None if there is none.

    Raises:
        ValueError: a value is out of range.
    """

    n_steps: AtLeastOne
    batch_size: AtLeastOne
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    weight_decay: NotNegative = 1e-3
    n_warmup_steps: Annotated[int, Field(ge=0)] = 500
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    adam_beta1: Fraction = 0.9
    adam_beta2: Fraction = 0.999
    adam_eps: Annotated[float, Field(gt=0.0)] = 1e-8
    steps_per_evaluation: AtLeastOne = dataclasses.field(default=100, compare=False)
    precision: Precision = "float32"
    kept_steps: KeptSteps = dataclasses.field(default="none", compare=False)
    release_at: Annotated[int, Field(ge=0)] = 0
    rate_before_release: Annotated[float, Field(gt=0.0)] | None = None

    @classmethod
    def when_absent(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What a stored spec means that lacks fields, because its runs are older than these."""
        return {"kept_steps": "none", "release_at": 0, "rate_before_release": None}

    @model_validator(mode="after")
    def _no_kept_step_after_the_last(self) -> TrainSpec:
        if not isinstance(self.kept_steps, str) and self.kept_steps[-1] > self.n_steps:
            raise ValueError(f"kept_steps: step {self.kept_steps[-1]} is after the last, {self.n_steps}")
        return self

    @model_validator(mode="after")
    def _release_within_the_training(self) -> TrainSpec:
        if self.release_at >= self.n_steps:
            raise ValueError(f"release_at: step {self.release_at} is not before the last, {self.n_steps}")
        if (self.release_at == 0) != (self.rate_before_release is None):
            raise ValueError(
                f"release_at={self.release_at} with rate_before_release={self.rate_before_release}: "
                "pass both, or none for a training without release"
            )
        return self
