"""Every notebook runs from a clean kernel, uses public names, and is stored without outputs."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

import nbformat

from tests.notebooks.helpers import run

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# What a notebook needs beyond the extra `notebooks`.
NEEDS = {
    "07_frameworks": ["lightning", "transformers", "ignite", "skorch", "pandas", "tensorboard"]
}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_of(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def skip_without_frameworks(path):
    for framework in NEEDS.get(path.stem, []):
        pytest.importorskip(framework)


@pytest.mark.slow
@pytest.mark.timeout(900)
@each_notebook
def test_runs_from_a_clean_kernel(path):
    skip_without_frameworks(path)
    run(nbformat.read(path, as_version=4), FOLDER)


@each_notebook
def test_uses_public_names_only(path):
    skip_without_frameworks(path)
    tree = ast.parse("\n".join(cell.source for cell in code_of(path)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert re.match(r"[a-z]|__\w+__$", node.attr, re.IGNORECASE), ast.unparse(node)
        if isinstance(node, ast.Import):
            assert not any("._" in alias.name for alias in node.names), ast.unparse(node)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("lrfinder"):
            assert "._" not in node.module, ast.unparse(node)
            exported = public_names(node.module)
            assert {alias.name for alias in node.names} <= exported, ast.unparse(node)


def public_names(module):
    """Return what a module exports: its `__all__` or what it defines itself, and its modules."""
    module = importlib.import_module(module)
    own = [name for name, value in vars(module).items() if defined_in(module, value)]
    modules = [info.name for info in pkgutil.iter_modules(getattr(module, "__path__", []))]
    names = {*getattr(module, "__all__", own), *modules}
    return {name for name in names if not name.startswith("_")}


def defined_in(module, value):
    return getattr(value, "__module__", None) == module.__name__


@each_notebook
def test_is_stored_without_outputs(path):
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_of(path))


@each_notebook
def test_begins_with_a_title_that_says_what_it_shows(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \w.+\n\n\w", first.source)


def test_the_notebooks_are_numbered_in_the_order_a_reader_needs():
    numbers = [int(path.stem[:2]) for path in NOTEBOOKS]
    assert numbers
    assert numbers == list(range(1, len(NOTEBOOKS) + 1))
