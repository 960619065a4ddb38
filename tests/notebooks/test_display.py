"""What a user of a notebook sees: the bar without a warning, the picture and the table."""

from __future__ import annotations

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from nbformat.v4 import new_code_cell, new_notebook

from tests.notebooks.helpers import run

CODE = """
import warnings
import torch
from lrfinder import LRFinder
torch.manual_seed(0)
inputs = torch.randn(64, 3)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
finder = LRFinder(model, optimizer, torch.nn.MSELoss())
with warnings.catch_warnings():
    warnings.simplefilter("error")
    finder.range_test([(inputs, inputs.sum(1, keepdim=True))])
finder.result
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The outputs of a cell that ends with a result, and of one that ends with a suggestion."""
    notebook = new_notebook(
        cells=[
            new_code_cell(CODE),
            new_code_cell("finder.suggest()"),
            new_code_cell("finder.plot()"),
        ]
    )
    folder = tmp_path_factory.mktemp("notebook")
    return [cell.outputs for cell in run(notebook, folder).cells]


def data(outputs, kind):
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def test_the_bar_is_shown_once_and_nothing_warns(shown):
    bar = "".join(output.text for output in shown[0] if output.output_type == "stream")
    widget = data(shown[0], "application/vnd.jupyter.widget-view+json")
    assert "range test" in bar or widget
    assert "Warning" not in bar


def test_a_result_shows_its_picture_and_its_table(shown):
    (html,) = data(shown[0], "text/html")[-1:]
    assert "data:image/png" in html
    assert "steepest" in html
    assert data(shown[0], "text/plain")[-1].startswith("RangeTestResult(")


def test_a_suggestion_shows_its_table(shown):
    (html,) = data(shown[1], "text/html")
    assert "learning rate" in html


def test_plot_shows_one_picture(shown):
    assert len(data(shown[2], "image/png")) == 1
