"""The paper's algorithmic tasks: what a model is trained on and judged by."""

from rtinterp.tasks.base import Batch, Task
from rtinterp.tasks.decimal_addition import DecimalAddition
from rtinterp.tasks.memorization import Memorization
from rtinterp.tasks.modular_addition import ModularAddition
from rtinterp.tasks.needle_in_a_haystack import NeedleInAHaystack
from rtinterp.tasks.parenthesis_balancing import ParenthesisBalancing

#: Every task, by name.
TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (ModularAddition, NeedleInAHaystack, DecimalAddition, ParenthesisBalancing, Memorization)
}

__all__ = [
    "TASKS",
    "Batch",
    "DecimalAddition",
    "Memorization",
    "ModularAddition",
    "NeedleInAHaystack",
    "ParenthesisBalancing",
    "Task",
]
