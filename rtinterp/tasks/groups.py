"""Finite groups as multiplication tables: residues, even permutations, and pairs of them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor

#: Z2 and Z60 are cyclic, A4 x Z5 is solvable but not commutative, and A5 is not solvable. The last three have order 60.
GroupName = Literal["Z2", "Z60", "A4xZ5", "A5"]


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """A group whose elements are numbers from 0, of which 0 is the identity.

    Attributes:
        labels: the printed form of every element, without spaces.
        table: the product ``g h`` of two elements stands at ``[g, h]``.
    """

    labels: tuple[str, ...]
    table: Int64[Tensor, "element element"]

    @property
    def order(self) -> int:
        """The number of elements."""
        return len(self.labels)

    @functools.cached_property
    def inverses(self) -> Int64[Tensor, " element"]:
        """The inverse of every element."""
        return (self.table == 0).int().argmax(1)

    def prefix_products(self, elements: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        """The products ``g_1 g_2 ... g_i`` for every i, in as many steps as the length has binary digits."""
        table, products, reach = self.table.to(elements.device), elements.clone(), 1
        while reach < products.shape[1]:
            # Each product of the last ``reach`` elements is joined to the one that ends where it begins.
            products[:, reach:] = table[products[:, :-reach], products[:, reach:]]
            reach *= 2
        return products


@functools.cache
def named_group(name: GroupName) -> Group:
    """The group of a name: ``Z`` with its order is cyclic, ``A`` are the even permutations of so many points."""
    build: dict[GroupName, Callable[[], Group]] = {
        "Z2": lambda: cyclic(2),
        "Z60": lambda: cyclic(60),
        "A4xZ5": lambda: direct_product(alternating(4), cyclic(5)),
        "A5": lambda: alternating(5),
    }
    return build[name]()


def cyclic(order: int) -> Group:
    """The residues 0 to ``order - 1`` under addition."""
    residues = torch.arange(order)
    return Group(tuple(map(str, range(order))), (residues[:, None] + residues) % order)


def alternating(n_points: int) -> Group:
    """The even permutations of some points, in the lexicographic order of their images.

    Permutations act from left to right: ``g h`` is first g, then h, so that ``(g h)(x) = h(g(x))``, and a product is
    carried on by one more factor as a walk is by one more step. They are printed as cycles of the points 1, 2, ...
    """
    every = itertools.permutations(range(n_points))
    elements = [images for images in every if sum(a > b for a, b in itertools.combinations(images, 2)) % 2 == 0]
    number = {images: i for i, images in enumerate(elements)}
    table = [[number[tuple(h[g[x]] for x in range(n_points))] for h in elements] for g in elements]
    return Group(tuple(map(_cycles, elements)), torch.tensor(table))


def direct_product(left: Group, right: Group) -> Group:
    """Pairs of an element of each, multiplied side by side: the pair (g, h) has the number ``g * right.order + h``."""
    table = left.table[:, None, :, None] * right.order + right.table[None, :, None, :]
    order = left.order * right.order
    labels = tuple(f"{g},{h}" for g in left.labels for h in right.labels)
    return Group(labels, table.reshape(order, order))


def _cycles(images: tuple[int, ...]) -> str:
    """A permutation as cycles of the points 1, 2, ...; ``e`` where it moves none."""
    written, cycles = set[int](), ""
    for first in range(len(images)):
        cycle = [first]
        while images[cycle[-1]] != first:
            cycle.append(images[cycle[-1]])
        if len(cycle) > 1 and first not in written:
            cycles += f"({''.join(str(point + 1) for point in cycle)})"
        written.update(cycle)
    return cycles or "e"
