"""The model stays where it is and batches go there, or all go where `device` says, and back."""

import pytest
import torch
from torch import nn

from lrfinder import LRFinder

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SWEEP = {"start_lr": 1e-4, "end_lr": 1.0, "num_iter": 20, "progress": False}


def one_step(model, optimizer, batch):
    """Give the optimizer momentum to remember."""
    nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()
    return [state["momentum_buffer"] for state in optimizer.state.values()]


def test_naming_the_device_where_the_model_is_changes_nothing(model, optimizer, batches):
    momentum = one_step(model, optimizer, batches[0])
    before = [buffer.clone() for buffer in momentum]
    plain = LRFinder(model, optimizer, nn.CrossEntropyLoss()).range_test(batches, **SWEEP)
    named = LRFinder(model, optimizer, nn.CrossEntropyLoss(), device="cpu:0")
    assert named.range_test(batches, **SWEEP).loss == plain.loss
    after = [state["momentum_buffer"] for state in optimizer.state.values()]
    assert all(one is other for one, other in zip(after, momentum, strict=True))
    assert all(map(torch.equal, after, before))


@needs_cuda
def test_a_model_on_the_host_is_swept_on_the_device_and_comes_back(model, optimizer, batches):
    momentum = one_step(model, optimizer, batches[0])
    before = [p.detach().clone() for p in model.parameters()]
    on_host = LRFinder(model, optimizer, nn.CrossEntropyLoss()).range_test(batches, **SWEEP)
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss(), device="cuda")
    devices = set()
    hook = model.register_forward_hook(lambda _, inputs, out: devices.add(out.device.type))
    on_device = finder.range_test(batches, batches, **SWEEP)
    hook.remove()
    assert devices == {"cuda"}
    assert on_device.loss == pytest.approx(on_host.loss, rel=1e-2)
    assert all(map(torch.equal, model.parameters(), before))
    after = [state["momentum_buffer"] for state in optimizer.state.values()]
    assert all(one is other for one, other in zip(after, momentum, strict=True))


@needs_cuda
def test_a_model_on_the_device_stays_there_and_batches_come(model, batches):
    model.cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pointers = [p.data_ptr() for p in model.parameters()]
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    finder.range_test(batches, **SWEEP)
    assert [p.data_ptr() for p in model.parameters()] == pointers
