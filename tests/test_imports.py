"""`import lrfinder` stays light, and `__all__` is complete."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest


def run(code):
    """Run code in a fresh interpreter and return what it writes."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_import_lrfinder_loads_neither_a_picture_nor_a_bar_nor_a_framework():
    heavy = {
        "accelerate",
        "fastai",
        "ignite",
        "lightning",
        "matplotlib",
        "pandas",
        "pytorch_lightning",
        "skorch",
        "sklearn",
        "tensorboard",
        "torchvision",
        "tqdm",
        "transformers",
    }
    code = "import torch, sys; before = set(sys.modules); import lrfinder; "
    loaded = set(run(code + "print(*set(sys.modules) - before)").split())
    assert not heavy & {name.split(".")[0] for name in loaded}


def test_a_suggestion_needs_no_matplotlib():
    code = """
import sys
sys.modules["matplotlib"] = None  # not installed
import torch, lrfinder
model = torch.nn.Linear(2, 1)
data = [(torch.ones(4, 2), torch.zeros(4, 1))]
finder = lrfinder.LRFinder(model, torch.optim.SGD(model.parameters(), lr=1), torch.nn.MSELoss())
finder.range_test(data, progress=False)
print(finder.suggest().lr)
"""
    assert float(run(code)) > 0


@pytest.mark.parametrize("name", ["lrfinder", "lrfinder.suggestion", "lrfinder.schedules"])
def test_all_is_complete_and_sorted(name):
    module = importlib.import_module(name)
    public = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not isinstance(value, ModuleType) and key != "annotations"
    }
    assert set(module.__all__) - {"__version__"} == public
    # Constants first, then the rest, as the linter sorts them.
    assert module.__all__ == sorted(module.__all__, key=lambda name: (not name.isupper(), name))
