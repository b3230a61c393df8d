"""Mamba as a body."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from rtinterp.models.body import Body
from rtinterp.models.initial_values import Constant, InitialValue, Uniform
from rtinterp.models.mamba.architecture import MambaArchitecture
from rtinterp.models.mamba.initial_values import LogOfCount, StepBias
from rtinterp.models.mamba.stacked import NORM_EPS, stack_mamba
from rtinterp.models.parameters import Parameter, vector
from rtinterp.models.products import BatchSize, Stage
from rtinterp.models.state_space import PROJECTIONS, STATE_SPACE, StackedLayers, embedding_parameters
from rtinterp.strict import strict
from rtinterp.tasks import Task

if TYPE_CHECKING:
    from rtinterp.models.hooked_decoder import HookedDecoder


@strict
class MambaSpec(MambaArchitecture, Body):
    __doc__ = MambaArchitecture.__doc__

    name: ClassVar[str] = "mamba"
    own_groups: ClassVar[frozenset[str]] = frozenset({PROJECTIONS, STATE_SPACE})

    def parameters(self, d_vocab: int, n_ctx: int, d_vocab_out: int | None = None) -> tuple[Parameter, ...]:
        """Every parameter of the model.

        Args:
            n_ctx: makes no difference; there is no positional embedding.
        """
        return (
            *embedding_parameters(self.d_model, d_vocab, d_vocab_out or d_vocab),
            *(parameter for layer in range(self.n_layers) for parameter in self._layer(f"blocks.{layer}")),
            vector("ln_final.w", (self.d_model,), Constant(1.0)),
        )

    def _layer(self, block: str) -> tuple[Parameter, ...]:
        d_inner, d_state, rank = self.d_inner, self.d_state, self.step_rank

        def tensor(name: str, shape: tuple[int, ...], initial: InitialValue, group: str, decays: bool) -> Parameter:
            return Parameter(f"{block}.mixer.{name}", shape, initial, group, decays)

        def of_fan_in(n: int, share: float = 1.0) -> Uniform:
            return Uniform(share / math.sqrt(n))

        to_residual = of_fan_in(d_inner, 1 / math.sqrt(self.n_layers))
        return (
            vector(f"{block}.ln1.w", (self.d_model,), Constant(1.0)),
            tensor("W_in", (self.d_model, 2 * d_inner), of_fan_in(self.d_model), PROJECTIONS, True),
            tensor("W_conv", (d_inner, self.d_conv), of_fan_in(self.d_conv), STATE_SPACE, True),
            tensor("b_conv", (d_inner,), of_fan_in(self.d_conv), STATE_SPACE, False),
            tensor("W_x", (d_inner, rank + 2 * d_state), of_fan_in(d_inner), STATE_SPACE, True),
            tensor("W_dt", (rank, d_inner), of_fan_in(rank), STATE_SPACE, True),
            tensor("b_dt", (d_inner,), StepBias(), STATE_SPACE, False),
            tensor("A_log", (d_inner, d_state), LogOfCount(), STATE_SPACE, False),
            tensor("D", (d_inner,), Constant(1.0), STATE_SPACE, False),
            tensor("W_out", (d_inner, self.d_model), to_residual, PROJECTIONS, True),
        )

    def stack(
        self,
        tensors: Mapping[str, Float[Tensor, "model ..."]],
        frozen: Set[str] = frozenset(),
        dtype: torch.dtype = torch.float32,
    ) -> StackedLayers:
        return stack_mamba(self, tensors, dtype)

    def hooked(self, task: Task, tensors: Mapping[str, Float32[Tensor, ...]], device: str) -> HookedDecoder:
        from rtinterp.models.hooked_mixer_block import decoder_of_mixers
        from rtinterp.models.mamba.hooked import HookedMixer
        from rtinterp.models.transformer.hooked_variants import HookedRMSNorm

        config = {"act_fn": "silu", "normalization_type": "RMS", "eps": NORM_EPS}
        mixer = functools.partial(HookedMixer, self)
        return decoder_of_mixers(task, self, tensors, HookedRMSNorm, mixer, device, **config)

    @property
    def widest_row(self) -> int:
        return 2 * self.d_inner

    def widest_place(self, sequence_length: int) -> int:
        """Elements of what enters and leaves a layer; its states are there for some sequences at a time."""
        return 2 * self.d_inner

    def products(self, size: BatchSize) -> tuple[Stage, ...]:
        """Maps from the residual stream for each entry or prefix, those within a layer and the recurrence at places."""
        inner = self.d_inner * (self.step_rank + 2 * self.d_state) + self.step_rank * self.d_inner
        recurrence = 2 * size.n_places * self.d_inner * self.d_state
        inputs = [size.n_entries, *[size.n_rows] * (self.n_layers - 1)]
        outputs = [*[size.n_rows] * (self.n_layers - 1), size.n_scored]
        layers = (
            (
                Stage({"norms": 0}),
                Stage({PROJECTIONS: n_in * self.d_model * 2 * self.d_inner}),
                Stage({STATE_SPACE: size.n_places * inner}, recurrence),
                Stage({PROJECTIONS: n_out * self.d_inner * self.d_model}),
            )
            for n_in, n_out in zip(inputs, outputs, strict=True)
        )
        return (*itertools.chain.from_iterable(layers), Stage({"norms": 0}))
