"""The command line, called in this process, in an empty working directory."""

import sys
from textwrap import dedent
from typing import NamedTuple

import pytest

from lrfinder.cli import main


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """A call that runs a command and returns its exit status and what it wrote."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def run(*argv):
        try:
            status = main([str(argument) for argument in argv])
        except SystemExit as left:
            status = left.code
        return Outcome(status, *capsys.readouterr())

    yield run
    for name in set(sys.modules) - before:
        if name.startswith("user_"):  # the next test has another file of that name
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    """A call that writes a file of the user's, in the working directory."""

    def to(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    return to
