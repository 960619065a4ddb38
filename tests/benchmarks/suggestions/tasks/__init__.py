"""The tasks of the benchmark; their data come with scikit-learn and Python."""

from __future__ import annotations

from tests.benchmarks.suggestions.task import Task
from tests.benchmarks.suggestions.tasks import (
    algorithmic,
    finetuning,
    images,
    photos,
    prose,
    small_digits,
    synthetic,
    tables,
    text,
)

TASKS: dict[str, Task] = {
    task.name: task
    for family in (
        images,
        small_digits,
        photos,
        text,
        prose,
        tables,
        synthetic,
        algorithmic,
        finetuning,
    )
    for task in family.TASKS
}
"""Every task by its name."""

DEVELOPMENT = [name for name, task in TASKS.items() if not task.held_out]
"""Tasks that rules and constants may be chosen on."""

HELD_OUT = [name for name, task in TASKS.items() if task.held_out]
"""Tasks that nothing is chosen on."""

ONCE_HELD_OUT = ("spirals-mlp-momentum", "diabetes-dropout-adamw", "finetune-lstm-adam")
"""Tasks for development that were held out until a rule of ours failed on them."""
