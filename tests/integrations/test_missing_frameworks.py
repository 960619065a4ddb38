"""A module of an integration says what to install where its framework is missing."""

import importlib
import sys

import pytest

from lrfinder import MissingExtraError


@pytest.mark.parametrize("name", ["lightning", "transformers", "ignite", "skorch"])
def test_a_missing_framework_is_told_by_its_extra(monkeypatch, name):
    module = f"lrfinder.integrations.{name}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)  # the other name of Lightning
    with pytest.raises(MissingExtraError) as raised:
        importlib.import_module(module)
    assert str(raised.value) == (f'{name} is not installed; run `pip install "lrfinder[{name}]"`')
