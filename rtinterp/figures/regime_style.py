"""What a regime is called in figures, and its colour, which is the same in all of them."""

from __future__ import annotations

import colorsys
import hashlib

from rtinterp.models.regimes import TRAINABLE, Trainable
from rtinterp.plot.look import COLOURS

#: The names of the two that the paper compares, in full and in a word.
_NAMES = {"embeddings": "random transformer", "all": "fully trained"}
_SHORT_NAMES = {"embeddings": "random", "all": "normal"}
_GROUP_WORDS = {"qk": "QK", "ov": "OV", "mlp": "MLP"}
_EMBEDDINGS = ["token_embedding", "positional_embedding", "unembedding"]
#: Of the alias of a regime that trains all other groups.
_FROZEN = "frozen_"

_COLOURS = dict(zip(TRAINABLE, COLOURS, strict=True))
#: Of the colours of other regimes: dark enough for lines on white.
_LEAST_LIGHTNESS, _MOST_LIGHTNESS, _SATURATION = 0.28, 0.45, 0.65


def regime_name(trainable: Trainable, *, short: bool = False) -> str:
    """Name a regime in canonical form, such as ``"fully trained"`` or ``"MLP and norms"``."""
    special = _SHORT_NAMES if short else _NAMES
    if trainable in special:
        return special[trainable]
    if trainable.startswith(_FROZEN):
        return f"all but {_words(trainable.removeprefix(_FROZEN))}"
    groups = trainable.split("+")
    if groups[: len(_EMBEDDINGS)] == _EMBEDDINGS:
        groups = ["embeddings", *groups[len(_EMBEDDINGS) :]]
    *others, last = map(_words, groups)
    return f"{', '.join(others)} and {last}" if others else f"{last} only"


def regime_colour(trainable: Trainable) -> str:
    """Return the colour of a regime as ``"#rrggbb"``, whichever others are in the figure.

    Those that experiments are made of have the colours of ``rtinterp.plot``; that of another is made of its name.
    """
    if trainable in _COLOURS:
        return _COLOURS[trainable]
    digest = hashlib.sha256(trainable.encode()).digest()
    hue, share = (int.from_bytes(part, "big") / 2 ** (8 * len(part)) for part in (digest[:4], digest[4:8]))
    lightness = _LEAST_LIGHTNESS + share * (_MOST_LIGHTNESS - _LEAST_LIGHTNESS)
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, lightness, _SATURATION))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _words(group: str) -> str:
    return _GROUP_WORDS.get(group, group.replace("_", " "))
