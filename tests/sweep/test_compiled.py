"""Compiled model and compiled step: nothing is compiled again after the first step of a sweep."""

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from lrfinder import LRFinder

compiles_once = pytest.mark.skipif(
    torch.__version__ < (2, 4), reason="torch compiles the second step of SGD once more"
)


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


class Compilations:
    """Counts graphs, and remembers how many there were after each step."""

    def __init__(self):
        self.counter = CompileCounter()
        self.after_step = []

    def on_step(self, *_):
        self.after_step.append(self.counter.frame_count)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=torch.tensor(0.1))


def adam(parameters):
    return torch.optim.Adam(parameters, lr=torch.tensor(0.1), foreach=False)


def momentum_under_way(parameters):
    """SGD makes its momentum at the first step ever, and torch compiles again for that."""
    optimizer = torch.optim.SGD(parameters, lr=torch.tensor(0.1), momentum=0.9)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return optimizer


@compiles_once
@pytest.mark.parametrize("make_optimizer", [sgd, adam, momentum_under_way])
def test_a_tensor_rate_compiles_model_and_step_once(model, batches, make_optimizer):
    compilations = Compilations()
    optimizer = make_optimizer(list(model.parameters()))
    compiled = torch.compile(model, backend=compilations.counter)
    optimizer.step = torch.compile(optimizer.step, backend=compilations.counter)
    result = LRFinder(compiled, optimizer, nn.CrossEntropyLoss()).range_test(
        batches, end_lr=0.1, num_iter=20, progress=False, on_step=compilations.on_step
    )
    assert len(result) == 20
    assert compilations.after_step == [2] * 20, "the model and the step, at the first step"


@compiles_once
def test_a_second_sweep_compiles_nothing_at_all(model, batches):
    compilations = Compilations()
    optimizer = sgd(model.parameters())
    compiled = torch.compile(model, backend=compilations.counter)
    optimizer.step = torch.compile(optimizer.step, backend=compilations.counter)
    finder = LRFinder(compiled, optimizer, nn.CrossEntropyLoss())
    finder.range_test(batches, end_lr=0.1, num_iter=5, progress=False)
    before = compilations.counter.frame_count
    finder.range_test(batches, end_lr=0.1, num_iter=5, progress=False)
    assert compilations.counter.frame_count == before


def test_a_compiled_model_sweeps_as_the_plain_one(model, batches):
    def losses(network):
        optimizer = sgd(model.parameters())
        return (
            LRFinder(network, optimizer, nn.CrossEntropyLoss())
            .range_test(batches, start_lr=1e-3, end_lr=0.5, num_iter=20, progress=False)
            .loss
        )

    compiled = torch.compile(model, backend="eager")
    assert losses(compiled) == pytest.approx(losses(model), rel=1e-5)


def test_validation_compiles_at_its_first_time_and_not_again(model, batches):
    compilations = Compilations()
    optimizer = sgd(model.parameters())
    compiled = torch.compile(model, backend=compilations.counter)
    LRFinder(compiled, optimizer, nn.CrossEntropyLoss()).range_test(
        batches, batches, end_lr=0.1, num_iter=10, progress=False, on_step=compilations.on_step
    )
    first, *later = compilations.after_step
    assert set(later) == {first}
