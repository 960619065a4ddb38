"""What is imported when, and `__all__` is complete."""

import importlib
import json
import subprocess
import sys
from types import ModuleType

import pytest

PICTURES = {"matplotlib", "PIL", "torchvision"}
FRAMEWORKS = {"accelerate", "fastai", "ignite", "lightning", "skorch", "transformers"}
OTHERS = {"pandas", "pytorch_lightning", "sklearn", "tensorboard", "tqdm"}

PROGRAM = """
import contextlib, io, json, sys
import torch

before, loaded, answers = set(sys.modules), {}, {}
def note(name):
    loaded[name] = sorted({module.split(".")[0] for module in set(sys.modules) - before})

import lrfinder, lrfinder.integrations
note("import")

import lrfinder.schedules
note("schedules")

from lrfinder.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(["--help"])
note("help")

sys.modules["matplotlib"] = None  # not installed
model = torch.nn.Linear(2, 1)
data = [(torch.ones(4, 2), torch.zeros(4, 1))]
finder = lrfinder.LRFinder(model, torch.optim.SGD(model.parameters(), lr=1), torch.nn.MSELoss())
finder.range_test(data, progress=False)
answers["lr"] = finder.suggest().lr
del sys.modules["matplotlib"]

from matplotlib.figure import Figure
finder.plot(ax=Figure().subplots()).figure.savefig("/dev/null", format="png")
answers["has pyplot"] = "matplotlib.pyplot" in sys.modules

print(json.dumps([loaded, answers]))
"""


@pytest.fixture(scope="module")
def program():
    """What a program has loaded by the end of each of its parts, and what it found."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("part", ["import", "schedules", "help"])
def test_neither_a_picture_nor_a_bar_nor_a_framework_is_loaded_before_it_is_needed(program, part):
    loaded, _ = program
    assert not (PICTURES | FRAMEWORKS | OTHERS) & set(loaded[part])


def test_a_suggestion_needs_no_matplotlib(program):
    assert program[1]["lr"] > 0


def test_drawing_on_given_axes_needs_no_pyplot(program):
    assert program[1]["has pyplot"] is False


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
