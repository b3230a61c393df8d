"""The paper's tasks, and those that users add: what a model is trained on and judged by."""

from typing import TypeVar

from rtinterp.registry import Registry
from rtinterp.tasks.affine_recurrence import AffineRecurrence
from rtinterp.tasks.base import SparePositions, Task
from rtinterp.tasks.batch import Batch
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals
from rtinterp.tasks.circuit_imitation import CircuitImitation
from rtinterp.tasks.corpus import Corpus, find_corpus, open_corpus
from rtinterp.tasks.decimal_addition import DecimalAddition
from rtinterp.tasks.graph_search import GraphSearch
from rtinterp.tasks.group_word_problem import GroupWordProblem
from rtinterp.tasks.held_out import HeldOutTask
from rtinterp.tasks.k_hop_induction import KHopInduction
from rtinterp.tasks.language_modelling import LanguageModelling
from rtinterp.tasks.memorization import Memorization
from rtinterp.tasks.modular_addition import ModularAddition
from rtinterp.tasks.multi_query_recall import MultiQueryRecall
from rtinterp.tasks.multiplication import Multiplication
from rtinterp.tasks.needle_in_a_haystack import NeedleInAHaystack
from rtinterp.tasks.official_list import OfficialListTask
from rtinterp.tasks.parenthesis_balancing import ParenthesisBalancing
from rtinterp.tasks.polynomial_sequence import PolynomialSequence
from rtinterp.tasks.sequence_task import SequenceTask
from rtinterp.tasks.sorting import Sorting

TaskClass = TypeVar("TaskClass", bound=type[Task])

#: Every task by name: the paper's, those of installed packages and those that ``register_task`` added.
TASKS: Registry[Task] = Registry("task", Task, "rtinterp.tasks")


def register_task(cls: TaskClass) -> TaskClass:
    """Make a task of one's own known by its ``name``, so that runs of it can be stored and opened; a decorator.

    An installed package can declare its tasks as entry points of the group ``rtinterp.tasks`` instead, which the
    command line sees too: ``running_mean = "my_package.tasks:RunningMean"``.

    Raises:
        TypeError: it is not a frozen dataclass that is a Task.
        ValueError: it has no ``name`` of its own, or one that cannot stand in a run id, or another class has it.
    """
    TASKS.register(cls)
    return cls


for _task in (
    ModularAddition,
    NeedleInAHaystack,
    DecimalAddition,
    ParenthesisBalancing,
    Memorization,
    CircuitImitation,
    LanguageModelling,
    KHopInduction,
    AffineRecurrence,
    PolynomialSequence,
    GroupWordProblem,
    MultiQueryRecall,
    Sorting,
    Multiplication,
    GraphSearch,
):
    register_task(_task)

__all__ = [
    "TASKS",
    "AffineRecurrence",
    "Batch",
    "CausalTask",
    "CircuitImitation",
    "Corpus",
    "Counterfactuals",
    "DecimalAddition",
    "GraphSearch",
    "GroupWordProblem",
    "HeldOutTask",
    "KHopInduction",
    "LanguageModelling",
    "Memorization",
    "ModularAddition",
    "MultiQueryRecall",
    "Multiplication",
    "NeedleInAHaystack",
    "OfficialListTask",
    "ParenthesisBalancing",
    "PolynomialSequence",
    "SequenceTask",
    "Sorting",
    "SparePositions",
    "Task",
    "find_corpus",
    "open_corpus",
    "register_task",
]
