"""The command line, called in this process, in an empty working directory."""

import subprocess
import sys
from textwrap import dedent
from typing import NamedTuple

import pytest

from lrfinder import RangeTestResult, Recommendation
from lrfinder.cli import main

# For tests that are not about the rate.
SHORT = ("--sweep-only", "--num-iter", 14)


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _unmeasured(unmeasured):
    """No process of the command is measured."""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """A call that runs a command and returns its exit status and what it wrote.

    `command.process` runs it in a process of its own, as the installed script does.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    before = set(sys.modules)

    def run(*argv):
        try:
            status = main([str(argument) for argument in argv])
        except SystemExit as left:
            status = left.code
        return Outcome(status, *capsys.readouterr())

    run.process = lambda *argv: subprocess.run(
        installed(*argv), check=False, capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    yield run
    for name in set(sys.modules) - before:
        if name.startswith("user_"):  # the next test has another file of that name
            del sys.modules[name]


def installed(*argv):
    """Return the arguments of a process that runs a command, as the installed script does."""
    code = "import sys; sys.path.pop(0); from lrfinder.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, *map(str, argv)]


@pytest.fixture
def write(tmp_path):
    """A call that writes a file of the user's, in the working directory."""

    def to(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    return to


def saved_sweep(path):
    """The sweep in a file that a command wrote: alone, or within a recommendation."""
    if "Recommendation" in path.read_text()[:100]:
        return Recommendation.load(path).result
    return RangeTestResult.load(path)
