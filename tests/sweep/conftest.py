"""Real digits, and a network and an optimizer for them."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset


@pytest.fixture(scope="session")
def digits():
    """1797 handwritten digits, 64 pixels in [0, 1] each, and their labels."""
    pixels, labels = load_digits(return_X_y=True)
    return TensorDataset(torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels))


@pytest.fixture
def batches(digits):
    """Ten batches of 64 digits."""
    pixels, labels = digits.tensors
    return list(zip(pixels[:640].split(64), labels[:640].split(64), strict=True))


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.fixture
def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
