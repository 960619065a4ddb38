"""Collects the pages of the site: they lie where they lie in the repository, so their links hold.

Markdown files are taken as they are. Notebooks are executed and become pages. The reference is made
from `__all__`, so that no public name can be missing.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter
from nbconvert.filters import strip_ansi

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import lrfinder
from lrfinder import cli, integrations, schedules, suggestion
from tests.notebooks.helpers import run

TAKEN = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    ".github/[CRS]*.md",
    "notebooks/*.md",
    "notebooks/*.svg",
    "data/README.md",
    "data/*/*.md",
    "data/*/*.png",
    "data/performance/*.json",
]

serving: ContextVar[bool] = ContextVar("serving")


def on_startup(*, command: str, **_: Any) -> None:
    """Leave the notebooks as they are where the site is served while somebody writes it."""
    serving.set(command == "serve")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every page and picture of the repository, and the reference."""
    for pattern in TAKEN:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    notebooks = sorted(ROOT.glob("notebooks/*.ipynb"))
    with ThreadPoolExecutor(2) as two_at_a_time:
        for page in two_at_a_time.map(partial(_notebook, execute=not serving.get()), notebooks):
            for name, content in page:
                files.append(File.generated(config, name, content=content))
    for name, text in _reference():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for file in files:
        file.dest_uri = re.sub(r"^(notebooks|\.github)/(?!index)", "", file.dest_uri)
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to notebooks to the pages that were made of them."""
    return re.sub(r"(\]\([^)\s]*)\.ipynb(#[^)]*)?\)", r"\1.md\2)", markdown)


def _notebook(path: Path, *, execute: bool) -> list[tuple[str, str | bytes]]:
    """Return the page that a notebook makes, and its pictures, each with its place."""
    notebook = nbformat.read(path, as_version=4)
    if execute:
        run(notebook, path.parent)
    for cell in notebook.cells:
        cell["outputs"] = _shown(cell.get("outputs", []))
    resources: dict[str, Any] = {"unique_key": path.stem, "output_files_dir": path.stem}
    text, resources = MarkdownExporter().from_notebook_node(notebook, resources)
    text = text.replace('<table border="1" class="dataframe">', "<table>")  # the site's own look
    pictures = [(f"notebooks/{name}", data) for name, data in resources["outputs"].items()]
    return [(f"notebooks/{path.stem}.md", text), *pictures]


def _shown(outputs: list[Any]) -> list[Any]:
    """Return the outputs that a page can show, with printed text in one piece and uncoloured."""
    shown: list[Any] = []
    for output in outputs:
        if _is_progress_bar(output):
            continue
        if output["output_type"] == "stream":
            output["text"] = strip_ansi(output["text"])
            if shown and shown[-1]["output_type"] == "stream":
                shown[-1]["text"] += output["text"]
                continue
        shown.append(output)
    return shown


def _is_progress_bar(output: Any) -> bool:
    """Return whether an output moves, which a page cannot show."""
    widget = "application/vnd.jupyter.widget-view+json"
    return output.get("name") == "stderr" or widget in output.get("data", {})


def _reference() -> Iterator[tuple[str, str]]:
    """Yield the pages of the reference, each with its name."""
    public = {name: getattr(lrfinder, name) for name in lrfinder.__all__}
    errors = [name for name, value in public.items() if _is_error(value)]
    elsewhere = {"LRFinder", "__version__", *errors, *suggestion.__all__}
    others = [name for name in public if name not in elsewhere]
    yield "finder", _entries("lrfinder", ["LRFinder"], heading_level=1)
    yield "results", "# Results and functions\n\n" + _entries("lrfinder", others)
    yield "errors", "# Errors and warnings\n\n" + _entries("lrfinder", errors)
    rules = [_entries(rule.__name__, _own(rule)) for rule in _modules(suggestion)]
    yield "suggestion", "\n\n".join(["# lrfinder.suggestion", _module(suggestion), *rules])
    yield "schedules", f"# lrfinder.schedules\n\n{_module(schedules)}"
    sections = [f"# lrfinder.integrations\n\n{inspect.getdoc(integrations)}"]
    for module in _modules(integrations):
        framework = module.__name__.rpartition(".")[2]
        sections.append(f"## {framework}\n\n{_module(module, heading_level=3)}")
    yield "integrations", "\n\n".join(sections)
    yield "command_line", _command_line()


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, (Exception, Warning))


def _modules(package: ModuleType) -> list[ModuleType]:
    """Return the modules of a package that users may import by name."""
    names = [info.name for info in pkgutil.iter_modules(package.__path__)]
    return [
        importlib.import_module(f"{package.__name__}.{name}")
        for name in names
        if not name.startswith("_")
    ]


def _module(module: ModuleType, heading_level: int = 2) -> str:
    """Return the docstring of a module and an entry for each of its public names."""
    names = getattr(module, "__all__", _own(module))
    return f"{inspect.getdoc(module)}\n\n{_entries(module.__name__, names, heading_level)}"


def _own(module: ModuleType) -> list[str]:
    """Return the public names that a module itself defines."""
    return [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]


def _entries(module: str, names: list[str], heading_level: int = 2) -> str:
    """Return what mkdocstrings replaces by the docstrings of some names."""
    # The callbacks' bases are a tuple of whatever is installed, which the reader cannot resolve.
    bases = "false" if module.startswith("lrfinder.integrations") else "true"
    options = f"    options: {{heading_level: {heading_level}, show_bases: {bases}}}\n"
    return "\n".join(f"::: {module}.{name}\n{options}" for name in names)


def _command_line() -> str:
    """Return what `--help` says, for the command and each of its subcommands."""
    sections = ["# Command line"]
    first = _help()
    commands = re.findall(r"^    (\w+) ", first, re.MULTILINE)
    for command in ((), *((name,) for name in commands)):
        title = " ".join(["lrfinder", *command])
        sections.append(f"## {title}\n\n```text\n{_help(*command).strip()}\n```")
    return "\n\n".join(sections)


def _help(*command: str) -> str:
    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.suppress(SystemExit):
        cli.main([*command, "--help"])
    return written.getvalue()
