"""The scripts beside these tests measure time and memory: they are run, not collected."""

import pytest

from tests.benchmarks.helpers import LINE
from tests.benchmarks.suggestions.tasks import DEVELOPMENT, TASKS

collect_ignore = [
    "cost.py", "finders.py", "footprint.py", "scaling.py", "turns.py", "validation_cost.py",
    "workloads.py",
]  # fmt: skip


@pytest.fixture
def line(monkeypatch):
    """Register the task that takes milliseconds; return its name."""
    monkeypatch.setitem(TASKS, "line", LINE)
    monkeypatch.setattr("tests.benchmarks.suggestions.report.DEVELOPMENT", [*DEVELOPMENT, "line"])
    return "line"
