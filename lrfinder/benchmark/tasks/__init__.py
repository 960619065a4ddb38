"""The tasks that ship with the benchmark; their data come with scikit-learn and Python."""

from __future__ import annotations

from lrfinder.benchmark._task import Task
from lrfinder.benchmark.tasks import finetuning, images, photos, tables, text

TASKS: dict[str, Task] = {
    task.name: task
    for family in (images, photos, text, tables, finetuning)
    for task in family.TASKS
}
"""Every shipped task by its name."""
