"""A module of an integration says what to install where its framework is missing."""

import importlib
import sys

import pytest

from lrfinder import MissingExtraError


@pytest.mark.parametrize("name", ["lightning", "transformers", "ignite", "skorch"])
def test_a_missing_framework_is_told_by_its_extra(monkeypatch, name):
    for loaded in parts_of("lrfinder.integrations"):
        monkeypatch.delitem(sys.modules, loaded)
    for missing in (name, *parts_of(name), "pytorch_lightning"):  # the other name of Lightning
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError) as raised:
        importlib.import_module(f"lrfinder.integrations.{name}")
    assert str(raised.value) == f'{name} is not installed; run `pip install "lrfinder[{name}]"`'


def parts_of(package):
    return [name for name in sys.modules if name == package or name.startswith(f"{package}.")]
