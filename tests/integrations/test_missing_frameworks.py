"""Everything but its own module works without a framework; that module says what to install."""

from __future__ import annotations

import subprocess
import sys

FRAMEWORKS = ["lightning", "transformers", "ignite", "skorch"]
CODE = f"""
import importlib, sys
import lrfinder, lrfinder.integrations
print(sorted(sys.modules.keys() & set({[*FRAMEWORKS, "pandas", "accelerate"]})))
sys.modules["pytorch_lightning"] = None  # the other name of Lightning
for name in {FRAMEWORKS}:
    sys.modules[name] = None
    try:
        importlib.import_module("lrfinder.integrations." + name)
    except lrfinder.MissingExtraError as error:
        print(error)
"""


def test_the_library_imports_no_framework_and_a_missing_one_is_told_by_its_extra():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    loaded, *errors = done.stdout.splitlines()
    assert loaded == "[]"
    assert errors == [
        f'{name} is not installed; run `pip install "lrfinder[{name}]"`' for name in FRAMEWORKS
    ]
