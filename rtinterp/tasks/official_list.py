"""Test sets that are the official code's lists, at the paper's parameters."""

from __future__ import annotations

import abc
import functools
import random
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks.base import FIXED_SEED, N_TEST_SEQUENCES
from rtinterp.tasks.batch import Batch
from rtinterp.tasks.chosen_test_rows import TestRows
from rtinterp.tasks.distinct_test_rows import DistinctRowsTask
from rtinterp.tasks.held_out import row_hash, rows_drawn_for_tests


class OfficialListTask(DistinctRowsTask):
    """A task whose test set is the official 4000 sequences at the paper's parameters, and held out by hash at others.

    What is on the list, training rejects; membership is looked up by a sequence's 64-bit hash.

    Attributes:
        official_parameters: the fields and their values at which there is an official list.
        test_rows: which rows are tested, one of ``TestRows``; None becomes ``"official"`` where there is a list, and
            ``"distinct"`` where there is none. ``"drawn"`` is what runs without the field were tested on there.
    """

    official_parameters: ClassVar[Mapping[str, int]]
    test_rows: TestRows | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.test_rows == "official" and not self._has_official_list:
            of = ", ".join(f"{name}={value}" for name, value in self.official_parameters.items())
            raise ValueError(
                f"test_rows='official' are the list for {of}; elsewhere there are 'distinct' (also for None), 'drawn' "
                "and 'validation'"
            )

    @classmethod
    def when_absent(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Before there was a choice, the official list was tested where there is one, and draws elsewhere."""
        return {"test_rows": "official" if _are_in(cls.official_parameters, fields) else "drawn"}

    @abc.abstractmethod
    def _draw_officially(self, rng: random.Random) -> list[int]:
        """The official code's draw of one row, at the paper's parameters."""

    @property
    def _default_test_rows(self) -> TestRows:
        return "official" if self._has_official_list else "distinct"

    @property
    def _has_official_list(self) -> bool:
        return _are_in(self.official_parameters, vars(self))

    @property
    def _tests_the_list(self) -> bool:
        """Whether the rows to be tested, now or after validation, are the official ones."""
        return self._has_official_list and self.test_rows in ("official", "validation")

    def _is_for_tests(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        return self._is_listed(tokens) if self._tests_the_list else super()._is_for_tests(tokens)

    def _is_for_validation(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        rows = super()._is_for_validation(tokens)
        return rows & ~self._is_listed(tokens) if self._tests_the_list else rows

    def _is_listed(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        hashes, listed = row_hash(tokens), _listed_hashes(self, tokens.device)
        return listed[torch.searchsorted(listed, hashes).clamp(max=len(listed) - 1)] == hashes

    def test_set(self) -> Batch:
        """The fixed test sequences, on the CPU: the same on every machine and for every seed.

        They are as ``test_rows`` has them: the official 4000; up to 4000 distinct ones of those held out, each length,
        a number of tokens that are not padding, in its natural share as far as there are distinct ones; or 4000 draws
        of those held out, of which one may come up more than once. The batch is cached and shared between callers: do
        not modify its tensors.
        """
        if self.test_rows == "drawn":
            return rows_drawn_for_tests(self)
        return _listed(self) if self.test_rows == "official" else super().test_set()

    def _n_more(self, n: int) -> int:
        return 0 if self.test_rows == "official" else super()._n_more(n)


def _are_in(parameters: Mapping[str, int], fields: Mapping[str, Any]) -> bool:
    return all(fields.get(name) == value for name, value in parameters.items())


@functools.cache
def _listed(task: OfficialListTask) -> Batch:
    rng = random.Random(FIXED_SEED)
    rows = [task._draw_officially(rng) for _ in range(N_TEST_SEQUENCES)]
    rng.shuffle(rows)
    return task._batch(torch.tensor(rows))


@functools.cache
def _listed_hashes(task: OfficialListTask, device: torch.device) -> Int64[Tensor, " rows"]:
    return row_hash(_listed(task).tokens).sort().values.to(device)
