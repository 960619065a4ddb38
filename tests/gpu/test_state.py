"""After a range test the device holds what it held before, bit for bit and in the same place."""

import pytest
import torch
from torch import nn

from lrfinder import LRFinder, preserve_state
from tests.gpu.helpers import DEVICE, SWEEP, batches, network, state, step, train

OPTIMIZERS = {
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "fused AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "capturable AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, capturable=True),
    "capturable, its rate a tensor": lambda p: torch.optim.Adam(
        p, lr=torch.tensor(0.01, device=DEVICE), capturable=True
    ),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


@pytest.mark.parametrize("started", [0, 3], ids=["at the start", "under way"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_goes_on_bit_for_bit(make, started):
    """The twin trains without a range test."""
    model, twin = network(), network()
    optimizer, twins = make(model.parameters()), make(twin.parameters())
    torch.manual_seed(1)
    train(twin, twins, started)
    expected = train(twin, twins, 10)
    torch.manual_seed(1)
    train(model, optimizer, started)
    before = state(model, optimizer)
    LRFinder(model, optimizer, nn.MSELoss()).range_test(batches(), **SWEEP)
    assert state(model, optimizer) == before
    assert train(model, optimizer, 10) == expected


def test_a_captured_graph_goes_on_bit_for_bit():
    """The graph reads and writes the memory that it was captured with, also during the sweep."""
    expected = Captured().replay(10)
    captured = Captured()
    finder = LRFinder(captured.model, captured.optimizer, update_step=captured.update_step)
    result = finder.range_test(batches(), **SWEEP)
    assert len(set(result.loss)) == SWEEP["num_iter"]
    assert captured.replay(10) == expected


class Captured:
    """A training whose whole step is one CUDA graph."""

    def __init__(self):
        torch.manual_seed(0)
        layers = [nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4)]
        self.model = nn.Sequential(*layers).to(DEVICE)
        rate = torch.tensor(0.01, device=DEVICE)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=rate, capturable=True)
        self.inputs, self.targets = (part.clone() for part in batches()[0])
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # what torch asks for before a capture
                step(self.model, self.optimizer, (self.inputs, self.targets))
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad()
        with torch.cuda.graph(self.graph):
            self.loss = step(self.model, self.optimizer, (self.inputs, self.targets))

    def update_step(self, _, batch):
        self.inputs.copy_(batch[0])
        self.targets.copy_(batch[1])
        self.graph.replay()
        return self.loss

    def replay(self, steps):
        data = batches()
        return [self.update_step(None, data[i % len(data)]).item() for i in range(steps)]


def test_the_copies_are_in_host_memory():
    model = nn.Linear(1000, 1000, device=DEVICE)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with preserve_state(model):
        model.weight.data.zero_()
    assert torch.cuda.max_memory_allocated() == before
    assert model.weight.any()


def test_pinned_memory_stays_pinned_and_in_its_place():
    """As the moments of an optimizer that are kept on the host."""
    moments = torch.randn(1000).pin_memory()
    place, values = moments.data_ptr(), moments.clone()
    module = nn.Module()
    module.moments = moments
    with preserve_state(module):
        module.moments.zero_()
        module.moments = torch.zeros(1)
    assert module.moments is moments
    assert moments.is_pinned()
    assert moments.data_ptr() == place
    assert torch.equal(moments, values)


def test_a_sweep_that_fails_leaves_no_trace_either():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    train(model, optimizer, 2)
    before = state(model, optimizer)

    def failing(model, batch):
        failing.calls += 1
        if failing.calls == 10:
            raise RuntimeError("on purpose")
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    failing.calls = 0
    with pytest.raises(RuntimeError, match="on purpose"):
        LRFinder(model, optimizer, training_step=failing).range_test(batches(), **SWEEP)
    assert state(model, optimizer) == before
