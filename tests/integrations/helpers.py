"""How the states of two trainings are compared."""

import torch


def assert_same(one, other):
    """Fail unless two sequences hold as many tensors, equal to the last bit."""
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
