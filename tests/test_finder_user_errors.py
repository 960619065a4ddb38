"""What the user's own code raises arrives as the very same exception, with the state restored."""

import pytest
import torch
from torch import nn

from lrfinder import LRFinder, NoResultError


class Raises(nn.Module):
    """Passes its input on, and raises at the third call, in training or in evaluation."""

    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x):
        self.calls += 1
        if self.calls == 3:
            raise self.error
        return x


ERRORS = [ValueError("mine"), TypeError("mine"), StopIteration("mine"), KeyboardInterrupt()]


def arrives(error, finder, *loaders, **settings):
    with pytest.raises(type(error)) as raised:
        finder.range_test(*loaders, progress=False, **settings)
    assert raised.value is error
    with pytest.raises(NoResultError):
        _ = finder.result


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_in_the_model(model, optimizer, batches, bits, error):
    model.append(Raises(error))
    before = bits()
    arrives(error, LRFinder(model, optimizer, nn.MSELoss()), batches)
    assert bits() == before
    assert model[-1].calls == 0


def test_a_type_error_of_a_forward_that_has_no_signature(model, optimizer, batches):
    """It cannot be told whether the number of inputs is wrong, so nothing is said about it."""
    model.forward = torch.sigmoid
    finder = LRFinder(model, optimizer, nn.MSELoss())
    with pytest.raises(TypeError, match="sigmoid"):
        finder.range_test([(*batches[0], batches[0][1])], progress=False)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_in_the_criterion(model, optimizer, batches, bits, error):
    def criterion(out, target):
        raise error

    before = bits()
    arrives(error, LRFinder(model, optimizer, criterion), batches)
    assert bits() == before


class Loader:
    """Gives two batches and breaks."""

    def __init__(self, batches, error):
        self.batches, self.error = batches, error

    def __iter__(self):
        torch.randn(3)
        yield from self.batches[:2]
        raise self.error


@pytest.mark.parametrize("error", [ERRORS[0], ERRORS[3]], ids=lambda error: type(error).__name__)
def test_an_error_in_the_loader(model, optimizer, batches, bits, error):
    before = bits()
    arrives(error, LRFinder(model, optimizer, nn.MSELoss()), Loader(batches, error))
    assert bits() == before


def test_an_error_in_the_validation_loader(model, optimizer, batches, bits):
    error, before = OSError("mine"), bits()
    finder = LRFinder(model, optimizer, nn.MSELoss())
    arrives(error, finder, batches, Loader(batches, error), val_batches=3)
    assert bits() == before


def test_an_error_in_the_callback(model, optimizer, batches, bits):
    error, before = RuntimeError("mine"), bits()

    def on_step(lr, loss, step):
        raise error

    arrives(error, LRFinder(model, optimizer, nn.MSELoss()), batches, on_step=on_step)
    assert bits() == before


def test_a_failed_range_test_leaves_the_result_of_the_one_before(model, optimizer, batches):
    finder = LRFinder(model, optimizer, nn.MSELoss())
    result = finder.range_test(batches, num_iter=5, progress=False)
    with pytest.raises(ValueError, match="mine"):
        finder.range_test(Loader(batches, ValueError("mine")), progress=False)
    assert finder.result is result
