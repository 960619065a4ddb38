"""Imports point one way, the numbers need no torch, and `import lrfinder` stays light."""

import ast
import importlib
import subprocess
import sys
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import lrfinder

ROOT = Path(lrfinder.__file__).parent
# Pure numbers: a rule is tested in milliseconds on recorded curves.
NUMBERS = (
    "_errors",
    "_version",
    "_schedule",
    "_smoothing",
    "_stopping",
    "_result",
    "_export",
    "_progress",
    "_rank",
    "_warn",
    "_length",
    "_trials",
    "_recommend",
    "_rank",
    "suggestion*",
)
# What stands around the finder and is loaded by name or on demand.
EDGES = (
    "cli",
    "__main__",
    "_commands*",
    "_demo",
    "_html",
    "_plot*",
    "_tables",
    "_tensorboard",
    "benchmark*",
    "integrations*",
    "schedules*",
)


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in ROOT.rglob("*.py")}


def matches(name, patterns):
    return any(fnmatch(name, pattern) for pattern in patterns)


def at_load(statements):
    """Yield the import statements that run when a module is loaded."""
    for statement in statements:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield statement
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        elif isinstance(statement, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            yield from at_load(ast.iter_child_nodes(statement))


def imports_of(path):
    names = set()
    for statement in at_load(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
            continue
        for alias in statement.names:
            inner = f"{statement.module}.{alias.name}"
            is_module = inner.removeprefix("lrfinder.") in FILES
            names.add(inner if is_module else statement.module)
    return names


IMPORTS = {name: imports_of(path) for name, path in FILES.items()}
OURS = {
    name: {
        imported.removeprefix("lrfinder").removeprefix(".")
        for imported in imports
        if imported.split(".")[0] == "lrfinder"
    }
    for name, imports in IMPORTS.items()
}


def test_no_two_modules_import_each_other_over_any_detour():
    TopologicalSorter(OURS).prepare()  # raises CycleError, which names the circle


def test_the_numbers_import_numbers_only():
    for name in filter(lambda name: matches(name, NUMBERS), FILES):
        others = {other for other in OURS[name] if not matches(other, NUMBERS)}
        assert not others, f"{name} is pure numbers and must not import {others}"


def test_nothing_inside_imports_the_edges():
    inside = (name for name in FILES if not matches(name, EDGES) and name != "")
    for name in inside:  # the face of the package, "", shows them all
        edges = {other for other in OURS[name] if matches(other, EDGES)}
        assert not edges, f"{name} must not import {edges}; do it late or turn it round"


def test_nothing_imports_the_benchmark():
    for name in filter(lambda name: not name.startswith("benchmark"), FILES):
        assert not {other for other in OURS[name] if other.startswith("benchmark")}, name


def run(code):
    """Run code in a fresh interpreter and return what it writes."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_numbers_work_where_there_is_no_torch(tmp_path):
    code = f"""
import math, sys, types
sys.modules["torch"] = sys.modules["matplotlib"] = sys.modules["tqdm"] = None  # not installed
package = types.ModuleType("lrfinder")  # without its __init__, which imports the finder
package.__path__ = [{str(ROOT)!r}]
sys.modules["lrfinder"] = package
from lrfinder._result import RangeTestResult
from lrfinder._schedule import ladder
from lrfinder._stopping import StopReason
lr = ladder(1e-5, 1.0, 51).tolist()
loss = [1 / (1 + (rate / 1e-2) ** 2) + rate for rate in lr]
result = RangeTestResult(tuple(lr), tuple(loss), "exp", 0.05, StopReason.COMPLETED)
result.save({str(tmp_path / "result.json")!r})
print(RangeTestResult.load({str(tmp_path / "result.json")!r}).suggest().lr)
"""
    assert 1e-3 < float(run(code)) < 1e-1


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
