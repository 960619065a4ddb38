"""The model stays where it is and batches go there, or all go where `device` says, and back."""

import pytest
import torch
from torch import nn

from lrfinder import LRFinder
from tests.gpu.helpers import DEVICE, SWEEP, batches, network, step


def test_a_model_on_the_host_is_swept_on_the_device_and_comes_back():
    model = network().cpu()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    data = [(inputs.cpu(), targets.cpu()) for inputs, targets in batches()]
    step(model, optimizer, data[0])  # gives it momentum
    momentum = [state["momentum_buffer"] for state in optimizer.state.values()]
    before = [tensor.detach().clone() for tensor in (*model.parameters(), *momentum)]
    on_host = LRFinder(model, optimizer, nn.MSELoss()).range_test(data, **SWEEP)
    devices = set()
    hook = model.register_forward_hook(lambda _, inputs, out: devices.add(out.device.type))
    finder = LRFinder(model, optimizer, nn.MSELoss(), device=DEVICE)
    on_device = finder.range_test(data, data, **SWEEP)
    hook.remove()
    assert devices == {DEVICE}
    # Dropout draws other numbers there, so the curves are alike and no more.
    assert on_device.loss == pytest.approx(on_host.loss, rel=0.5)
    assert all(map(torch.equal, (*model.parameters(), *momentum), before))
    after = [state["momentum_buffer"] for state in optimizer.state.values()]
    assert all(one is other for one, other in zip(after, momentum, strict=True))


def test_a_model_on_the_device_stays_there_and_batches_come():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pointers = [parameter.data_ptr() for parameter in model.parameters()]
    data = [(inputs.cpu(), targets.cpu()) for inputs, targets in batches()]
    LRFinder(model, optimizer, nn.MSELoss()).range_test(data, **SWEEP)
    assert [parameter.data_ptr() for parameter in model.parameters()] == pointers
