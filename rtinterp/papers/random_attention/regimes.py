"""The models that are compared, by name: what they are made of, and what of it trains."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

from rtinterp.models.regimes import Trainable
from rtinterp.models.transformer.presets import SKIP_SHARE, mixit
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.plot.look import COLOURS
from rtinterp.tasks import Task
from rtinterp.training.spec import RunSpec

#: GPT-2's block with queries and keys of variance 1/n, as in the paper's text, or 0.02^2, as in its code; the
#: same block with fixed random patterns in the place of attention; MixiT as in the text or the code.
Kind: TypeAlias = Literal["softmax", "small_softmax", "static", "mixit_text", "mixit_code"]


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of a body."""

    d_model: int
    n_layers: int = 2
    n_heads: int = 4


@dataclasses.dataclass(frozen=True)
class Regime:
    """A kind of body, and what of it trains."""

    trainable: Trainable
    kind: Kind = "softmax"

    def body(self, size: Size, task: Task, skip_share: float = SKIP_SHARE) -> ModelSpec:
        """Return the body at a size; random patterns are drawn for the task's sequences.

        Args:
            skip_share: what of the squared norm MixiT's residual stream keeps.
        """
        of_size, length = dataclasses.astuple(size), task.sequence_length
        if self.kind == "softmax":
            return ModelSpec(*of_size, qk_init_std="inverse_sqrt_width")
        if self.kind == "small_softmax":
            return ModelSpec(*of_size)
        if self.kind == "static":
            return ModelSpec(*of_size, attention="random_mixing", mixing_length=length)
        return mixit(*of_size, mixing_length=length, sink=self.kind == "mixit_code", skip_share=skip_share)


#: By the name that tables give them.
REGIMES: dict[str, Regime] = {
    "standard": Regime("all"),
    "frozen QK": Regime("frozen_qk"),
    "frozen QK, std 0.02": Regime("frozen_qk", "small_softmax"),
    "frozen MLP": Regime("frozen_mlp"),
    "static attention": Regime("all", "static"),
    "MixiT, text": Regime("all", "mixit_text"),
    "MixiT, code": Regime("all", "mixit_code"),
    "random transformer": Regime("embeddings"),
}
#: By name, the same in all figures; there is one more than ``rtinterp.plot`` has.
COLOUR_OF = dict(zip(REGIMES, (*COLOURS, "#7f3c8d"), strict=True))
#: The names in words.
DESCRIBED: dict[str, str] = {
    "standard": "all trains",
    "frozen QK": "all but queries and keys",
    "frozen QK, std 0.02": "the same, but drawn with GPT-2's standard deviation instead of 1/sqrt(n)",
    "frozen MLP": "all but the MLPs",
    "static attention": "fixed random patterns, GPT-2's block",
    "MixiT, text": "the same, scaled block",
    "MixiT, code": "one head a sink",
    "random transformer": "embeddings alone",
}
#: By attention, whether the residual stream is scaled, and what queries and keys start with.
_KIND_OF: dict[tuple[str, bool, str], Kind] = {
    ("softmax", False, "inverse_sqrt_width"): "softmax",
    ("softmax", False, "as_init"): "small_softmax",
    ("random_mixing", False, "as_init"): "static",
    ("random_mixing", True, "as_init"): "mixit_text",
    ("random_mixing_with_sink", True, "as_init"): "mixit_code",
}


def regime_of(spec: RunSpec) -> str:
    """Name the regime of a run; one that has no name by what trains.

    Raises:
        TypeError: the body is not a transformer's.
        KeyError: no regime has such a body.
    """
    model = spec.model
    if not isinstance(model, ModelSpec):
        raise TypeError(f"{spec.run_id} is not a transformer")
    kind = _KIND_OF[model.attention, model.skip_share is not None, model.qk_init_std]
    names = {regime: name for name, regime in REGIMES.items()}
    return names.get(Regime(spec.trainable, kind), spec.trainable)
