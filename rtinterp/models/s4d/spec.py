"""S4D as a body."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from rtinterp.models.body import Body
from rtinterp.models.initial_values import Constant, InitialValue, Normal, Uniform
from rtinterp.models.layers import LAYER_NORM_EPS
from rtinterp.models.parameters import Parameter, vector
from rtinterp.models.products import BatchSize, Stage
from rtinterp.models.s4d.architecture import S4DArchitecture
from rtinterp.models.s4d.initial_values import Frequencies, LogStep
from rtinterp.models.s4d.stacked import stack_s4d
from rtinterp.models.state_space import PROJECTIONS, STATE_SPACE, StackedLayers, embedding_parameters
from rtinterp.strict import strict
from rtinterp.tasks import Task

if TYPE_CHECKING:
    from rtinterp.models.hooked_decoder import HookedDecoder

#: Numbers fade at half the step size, as a rate.
FADING = 0.5
#: Of the real and the imaginary part of a weight of variance one.
PART_STD = math.sqrt(0.5)


@strict
class S4DSpec(S4DArchitecture, Body):
    __doc__ = S4DArchitecture.__doc__

    name: ClassVar[str] = "s4d"
    own_groups: ClassVar[frozenset[str]] = frozenset({PROJECTIONS, STATE_SPACE})

    def parameters(self, d_vocab: int, n_ctx: int, d_vocab_out: int | None = None) -> tuple[Parameter, ...]:
        """Every parameter of the model.

        Args:
            n_ctx: makes no difference; there is no positional embedding.
        """
        return (
            *embedding_parameters(self.d_model, d_vocab, d_vocab_out or d_vocab),
            *(parameter for layer in range(self.n_layers) for parameter in self._layer(f"blocks.{layer}")),
            *self._norm("ln_final"),
        )

    def _norm(self, name: str) -> tuple[Parameter, ...]:
        return vector(f"{name}.w", (self.d_model,), Constant(1.0)), vector(f"{name}.b", (self.d_model,))

    def _layer(self, block: str) -> tuple[Parameter, ...]:
        d_model, pairs = self.d_model, (self.d_model, self.n_pairs)

        def of_state(name: str, shape: tuple[int, ...], initial: InitialValue) -> Parameter:
            return Parameter(f"{block}.mixer.{name}", shape, initial, STATE_SPACE)

        of_fan_in = Uniform(1 / math.sqrt(d_model))
        return (
            *self._norm(f"{block}.ln1"),
            of_state("log_dt", (d_model,), LogStep()),
            of_state("log_A_real", pairs, Constant(math.log(FADING))),
            of_state("A_imag", pairs, Frequencies()),
            of_state("C", (*pairs, 2), Normal(PART_STD)),
            of_state("D", (d_model,), Normal(1.0)),
            Parameter(f"{block}.mixer.W_out", (d_model, 2 * d_model), of_fan_in, PROJECTIONS, decays=True),
            Parameter(f"{block}.mixer.b_out", (2 * d_model,), of_fan_in, PROJECTIONS),
        )

    def stack(
        self,
        tensors: Mapping[str, Float[Tensor, "model ..."]],
        frozen: Set[str] = frozenset(),
        dtype: torch.dtype = torch.float32,
    ) -> StackedLayers:
        return stack_s4d(self, tensors, dtype)

    def hooked(self, task: Task, tensors: Mapping[str, Float32[Tensor, ...]], device: str) -> HookedDecoder:
        from rtinterp.models.hooked_mixer_block import decoder_of_mixers
        from rtinterp.models.s4d.hooked import HookedS4DMixer
        from rtinterp.models.transformer.hooked_block import HookedLayerNorm

        config = {"act_fn": "gelu", "normalization_type": "LN", "eps": LAYER_NORM_EPS}
        return decoder_of_mixers(task, self, tensors, HookedLayerNorm, HookedS4DMixer, device, **config)

    @property
    def widest_row(self) -> int:
        return 2 * self.d_model

    def widest_place(self, sequence_length: int) -> int:
        return self.d_model

    def products(self, size: BatchSize) -> tuple[Stage, ...]:
        """Every channel sums over all tokens up to a place; then the map back, for each prefix or scored position."""
        outputs = [*[size.n_rows] * (self.n_layers - 1), size.n_scored]
        layers = [
            stage
            for n_out in outputs
            for stage in (
                Stage({"norms": 0}),
                Stage({STATE_SPACE: 0}, size.n_prefix_tokens * self.d_model),
                Stage({PROJECTIONS: n_out * 2 * self.d_model**2}),
            )
        ]
        return (*layers, Stage({"norms": 0}))
