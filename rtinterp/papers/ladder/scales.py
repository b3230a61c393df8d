"""How far each scale climbs: rungs, widths, bodies and depths."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from rtinterp.papers.ladder.rungs import Rung, dial_of

#: A task, a value of its dial, and other fields.
Place = tuple[str, int, dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Scale:
    """All that the experiments need to become lists of runs.

    Attributes:
        places: the rungs of the map.
        widths: among which the least is looked for, ascending.
        of_bodies: the rungs that bodies are compared on.
        body_width: their width.
        of_depth: the rungs that depths are compared on.
        depths: numbers of layers.
        depth_width: the width of the models of growing depth.
        longer: so many times the steps of the rungs are trained.
    """

    places: tuple[Place, ...]
    widths: tuple[int, ...]
    of_bodies: tuple[Place, ...]
    body_width: int
    of_depth: tuple[Place, ...]
    depths: tuple[int, ...]
    depth_width: int
    longer: int = 1

    def rungs(self, places: tuple[Place, ...]) -> Iterator[Rung]:
        """Make the rungs at some places, with this scale's steps."""
        for task, value, fields in places:
            rung = dial_of(task).rung(value, fields)
            longer = {
                name: dataclasses.replace(training, n_steps=self.longer * training.n_steps)
                for name, training in (("random", rung.random), ("trained", rung.trained))
            }
            yield dataclasses.replace(rung, **longer)


def _all_values(task: str, **fields: str) -> tuple[Place, ...]:
    return tuple((task, value, fields) for value in dial_of(task).values)


_OF_FOUR: tuple[Place, ...] = (
    ("decimal_addition", 2, {}),
    ("needle_in_a_haystack", 4, {}),
    ("parenthesis_balancing", 1, {}),
    ("modular_addition", 59, {}),
)
#: Shorter sequences would be too few.
_PARITY: tuple[Place, ...] = tuple(("group_word_problem", length, {"group": "Z2"}) for length in (12, 16))
#: Two cores have time for the easy rungs of the paper's tasks.
QUICK = Scale(
    places=(_OF_FOUR[0], _OF_FOUR[2], ("sorting", 8, {})),
    widths=(16, 64, 256),
    of_bodies=(_OF_FOUR[2],),
    body_width=64,
    of_depth=(_OF_FOUR[0],),
    depths=(2, 4),
    depth_width=64,
)
#: The map. Where no fields are named, the group is A5.
SHORT = Scale(
    places=(
        *_all_values("decimal_addition"),
        *_all_values("needle_in_a_haystack"),
        *_all_values("parenthesis_balancing"),
        *_all_values("modular_addition"),
        *_all_values("k_hop_induction"),
        *_PARITY,
        *_all_values("group_word_problem", group="Z60"),
        *_all_values("group_word_problem", group="A4xZ5"),
        *_all_values("group_word_problem"),
        *_all_values("multi_query_recall"),
        *_all_values("sorting"),
        *_all_values("graph_search"),
        *_all_values("multiplication"),
    ),
    widths=(16, 32, 64, 128, 256, 512),
    of_bodies=(
        ("multi_query_recall", 4, {}), _OF_FOUR[0], _OF_FOUR[1], _PARITY[0], _OF_FOUR[2], ("sorting", 8, {}),
        ("k_hop_induction", 1, {}),
    ),
    body_width=256,
    of_depth=(_OF_FOUR[0], _OF_FOUR[2], _OF_FOUR[1], _OF_FOUR[3]),
    depths=(2, 4, 8, 16),
    depth_width=256,
)  # fmt: skip
PAPER = dataclasses.replace(SHORT, widths=(*SHORT.widths, 1024), longer=10)

SCALES: dict[str, Scale] = {"quick": QUICK, "short": SHORT, "paper": PAPER}
