"""Naming the device where the model is; tests/gpu/test_devices.py moves it between devices."""

import torch
from torch import nn

from lrfinder import LRFinder

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
