"""Everything here needs a CUDA device; `python -m tests.gpu` runs it and measures the cost."""

import pytest
import torch

from tests.gpu.helpers import NO_DEVICE


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "tests/gpu" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason=NO_DEVICE))
