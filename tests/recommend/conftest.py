"""What holds for every test of a recommendation."""

import pytest
from matplotlib import pyplot


@pytest.fixture(autouse=True)
def _no_open_figures():
    yield
    pyplot.close("all")
