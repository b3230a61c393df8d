"""The type of a model with hook points, for annotations; importing it does not import transformer_lens."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

    from rtinterp.models.hooked_decoder import HookedDecoder
    from rtinterp.models.recurrent.hooked import HookedRecurrent

#: What ``run.model`` is: TransformerLens's own class where it has one that fits, or one of ours.
HookedModel: TypeAlias = "HookedTransformer | HookedDecoder | HookedRecurrent"
