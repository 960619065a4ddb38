"""fp16 with a gradient scaler: skipped steps are tried again, and the scale is restored."""

import pytest
import torch
from torch import nn

from lrfinder import LRFinder
from tests.gpu.helpers import DEVICE, SWEEP, batches, network, state


def half():
    return torch.autocast(DEVICE, torch.float16)


def test_a_scale_that_overflows_costs_no_rate_and_comes_back():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler(DEVICE, init_scale=2.0**40)  # overflows for many steps
    scaler.scale(torch.ones((), device=DEVICE))  # makes its tensors
    before = state(model, optimizer, scaler)
    finder = LRFinder(model, optimizer, nn.MSELoss(), autocast=half(), scaler=scaler)
    result = finder.range_test(batches(), **SWEEP)
    assert len(result) == SWEEP["num_iter"]
    assert state(model, optimizer, scaler) == before


@pytest.mark.parametrize("clip_grad", [None, 1.0])
def test_the_curve_is_that_of_single_precision(clip_grad):
    """At low rates the two differ by what half precision rounds away, and by no more."""
    curves = []
    for in_half in (False, True):
        model = network(dropout=0.0)  # which would draw other numbers in half precision
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        options = {"autocast": half(), "scaler": torch.amp.GradScaler(DEVICE)} if in_half else {}
        finder = LRFinder(model, optimizer, nn.MSELoss(), clip_grad=clip_grad, **options)
        curves.append(finder.range_test(batches(), **SWEEP).loss)
    assert curves[1] == pytest.approx(curves[0], rel=2e-2)
