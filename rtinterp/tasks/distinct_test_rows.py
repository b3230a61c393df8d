"""Tasks that are tested on distinct rows of a held-out twentieth, and validated on another's."""

from __future__ import annotations

import functools

from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks.batch import Batch
from rtinterp.tasks.chosen_test_rows import ChoosesTestRows, TestRows
from rtinterp.tasks.distinct_rows import distinct_rows
from rtinterp.tasks.held_out import TEST_TWENTIETH, HeldOutTask

VALIDATION_TWENTIETH = 1


class DistinctRowsTask(ChoosesTestRows, HeldOutTask):
    """A task whose test rows are ``"distinct"``, or, to choose a training by, ``"validation"``.

    The training stream of a task for validation holds out both twentieths.
    """

    @property
    def _default_test_rows(self) -> TestRows:
        return "distinct"

    def is_held_out(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        """True for rows kept out of the training stream; ``tokens`` are whole rows, padding included."""
        if self.test_rows == "validation":
            return self._is_for_tests(tokens) | self._is_for_validation(tokens)
        return self._is_for_tests(tokens)

    def _is_for_tests(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        return self._is_in_twentieth(TEST_TWENTIETH, tokens)

    def _is_for_validation(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        return self._is_in_twentieth(VALIDATION_TWENTIETH, tokens)

    def test_set(self) -> Batch:
        """The fixed test sequences, on the CPU: the same on every machine and for every seed.

        They are up to 4000 distinct ones of those held out, each length, a number of tokens that are not padding, in
        its natural share as far as there are distinct ones. The batch is cached and shared between callers: do not
        modify its tensors.
        """
        return _distinct(self)


@functools.cache
def _distinct(task: DistinctRowsTask) -> Batch:
    accept = task._is_for_validation if task.test_rows == "validation" else task._is_for_tests
    return task._batch(distinct_rows(task, accept))
