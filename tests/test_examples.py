"""Every public name has an example in its docstring; the test run collects and runs them all."""

from __future__ import annotations

import doctest
import inspect

import pytest

import lrfinder
from lrfinder import schedules, suggestion

PUBLIC = sorted(
    {
        value
        for module in (lrfinder, schedules, suggestion)
        for name in module.__all__
        if callable(value := getattr(module, name))
    },
    key=lambda value: f"{value.__module__}.{value.__qualname__}",
)


@pytest.mark.parametrize("value", PUBLIC, ids=lambda value: value.__qualname__)
def test_every_public_name_has_an_example(value):
    assert doctest.DocTestParser().get_examples(inspect.getdoc(value))


def test_the_test_run_collects_the_examples(pytestconfig):
    assert "lrfinder" in pytestconfig.getini("testpaths")
    assert pytestconfig.getoption("doctestmodules")
