"""What holds for every test and for the processes that it starts, and a small regression task."""

import os
import pickle
import random

# The models of these tests are so small that waiting for a second thread takes longer than they do.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "agg"

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import nn

torch.set_num_threads(1)

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items):
    """Leave out of the coverage what takes long: to measure it makes Python a third slower."""
    for item in items:
        if item.get_closest_marker("slow") or "benchmarks" in item.path.parts:
            item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global generator is what users seed
    random.seed(0)


@pytest.fixture
def unmeasured(monkeypatch):
    """Processes that a test starts are not part of the coverage, which would make them slower."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))


@pytest.fixture
def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


@pytest.fixture
def batches():
    return [(torch.randn(16, 4), torch.randn(16, 1)) for _ in range(4)]


@pytest.fixture
def bits(model, optimizer):
    """A call that returns every bit of the model, the optimizer and the random generators."""

    def of_everything():
        module_state = [
            (name, _raw(tensor), tensor.requires_grad, _raw(tensor.grad))
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
        ]
        flags = [module.training for module in model.modules()]
        groups = [
            {key: value for key, value in group.items() if key != "params"}
            for group in optimizer.param_groups
        ]
        moments = [
            {key: _raw(value) for key, value in state.items()} for state in optimizer.state.values()
        ]
        generators = (
            _raw(torch.get_rng_state()),
            pickle.dumps(np.random.get_state()),  # noqa: NPY002
            random.getstate(),
        )
        return module_state, flags, groups, moments, generators

    return of_everything


def _raw(value):
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.detach().numpy().tobytes()
    return value
