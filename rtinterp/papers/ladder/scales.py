"""How far each scale climbs: rungs, widths, bodies and depths."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from rtinterp.papers.ladder.rungs import DIALS, Rung, dial_of

#: A task, a value of its dial, and other fields.
Place = tuple[str, int, dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Course:
    """The widths of which a rung of the map has models.

    Attributes:
        random: of models whose embeddings alone train.
        trained: of fully trained ones.
    """

    place: Place
    random: tuple[int, ...]
    trained: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class DepthCourse:
    """The random transformers of growing depth that a rung has.

    Attributes:
        depths: numbers of layers.
    """

    place: Place
    width: int
    depths: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Scale:
    """All that the experiments need to become lists of runs.

    Attributes:
        courses: the rungs of the map.
        of_bodies: the rungs that bodies are compared on.
        body_width: their width.
        of_depth: the rungs that depths are compared on, with widths and depths.
        longer: so many times the steps of the rungs are trained.
    """

    courses: tuple[Course, ...]
    of_bodies: tuple[Place, ...]
    body_width: int
    of_depth: tuple[DepthCourse, ...]
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


def _whole_map() -> Iterator[Place]:
    """All rungs of all tasks, each from easy to hard."""
    for task, dial in DIALS.items():
        switches: tuple[dict[str, str], ...] = (
            tuple({"group": group} for group in _GROUPS) if task == _OF_GROUPS else ({},)
        )
        for fields, value in itertools.product(switches, (*dial.values, *dial.further)):
            yield task, value, fields
    yield from _PARITY


_OF_GROUPS, _GROUPS = "group_word_problem", ("Z60", "A4xZ5", "A5")
#: Parity of shorter sequences would have too few.
_PARITY: tuple[Place, ...] = tuple((_OF_GROUPS, length, {"group": "Z2"}) for length in (12, 16))
_WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
#: Their sizes and budgets are those of which other experiments have runs.
_OF_FOUR: tuple[Place, ...] = (
    ("decimal_addition", 2, {}),
    ("parenthesis_balancing", 1, {}),
    ("needle_in_a_haystack", 4, {}),
    ("modular_addition", 79, {}),
)
_DEPTHS = (2, 4, 8, 16)
#: For two cores: courses are the widths that bisection trained; models grow in depth at half of W*, where two layers of
#: GPT-2's initial values fall short, so that depth can help as well as harm.
QUICK = Scale(
    courses=(
        Course(("parenthesis_balancing", 1, {}), random=(16, 32, 64, 128), trained=(8, 16, 128)),
        Course(("parenthesis_balancing", 2, {}), random=(128, 256), trained=(16, 32, 128)),
        Course(("decimal_addition", 2, {}), random=(32, 64, 128, 256), trained=(32, 64, 128, 256)),
        Course(("decimal_addition", 3, {}), random=(256,), trained=(128,)),
        Course(("sorting", 6, {}), random=(32, 64), trained=(16, 32, 64)),
        Course(("sorting", 12, {}), random=(32, 64, 128), trained=(16, 32)),
        Course(("sorting", 24, {}), random=(64, 128), trained=(16,)),
        Course(("needle_in_a_haystack", 2, {}), random=(64, 128, 256), trained=(16, 32, 64)),
        Course(("needle_in_a_haystack", 4, {}), random=(128, 256, 384), trained=(32, 64, 128)),
        Course(("modular_addition", 31, {}), random=(64, 128, 256), trained=(32, 64)),
        Course(("modular_addition", 79, {}), random=(128, 256, 512), trained=(64, 128, 512)),
        Course(("k_hop_induction", 1, {}), random=(256,), trained=(16, 32)),
        Course(("multi_query_recall", 2, {}), random=(256,), trained=(16, 32)),
        Course(_PARITY[0], random=(128,), trained=(64,)),
        Course(("multiplication", 1, {}), random=(256,), trained=(64, 128)),
        Course(("graph_search", 2, {}), random=(128,), trained=(64,)),
    ),
    of_bodies=(("sorting", 6, {}), ("multi_query_recall", 2, {}), _PARITY[0]),
    body_width=64,
    of_depth=(
        DepthCourse(("sorting", 6, {}), 32, _DEPTHS),
        DepthCourse(("parenthesis_balancing", 1, {}), 64, _DEPTHS[:3]),
        DepthCourse(("decimal_addition", 2, {}), 128, _DEPTHS),
        DepthCourse(("needle_in_a_haystack", 2, {}), 128, _DEPTHS[:3]),
        DepthCourse(("modular_addition", 31, {}), 128, _DEPTHS[:3]),
    ),
)
SHORT = Scale(
    courses=tuple(Course(place, _WIDTHS, _WIDTHS) for place in _whole_map()),
    of_bodies=(*QUICK.of_bodies, *_OF_FOUR, ("k_hop_induction", 1, {})),
    body_width=256,
    of_depth=tuple(DepthCourse(place, 256, _DEPTHS) for place in (("sorting", 6, {}), *_OF_FOUR)),
    longer=4,
)
PAPER = dataclasses.replace(SHORT, longer=20)

SCALES: dict[str, Scale] = {"quick": QUICK, "short": SHORT, "paper": PAPER}
