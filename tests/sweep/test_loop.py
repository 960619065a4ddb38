"""The sweep against oracles: closed forms, a loop written by hand, and an optimizer that spies."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrfinder import LRFinder, StopReason
from lrfinder._sweep.grid import learning_rate_grid
from tests import conftest

# The small regression task of all tests, and not the digits of this folder.
model, batches = conftest.model, conftest.batches


def quadratic(curvature):
    """A model whose criterion is `curvature / 2 * w ** 2`, in double precision, with w = 1."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(model.weight)
    batch = (torch.ones(1, 1).double(), torch.zeros(1, 1).double())
    return model, lambda out, _: 0.5 * curvature * out.square().sum(), [batch]


@given(st.floats(0.01, 1000))
def test_gradient_descent_on_a_quadratic_turns_up_exactly_above_two_over_its_curvature(curvature):
    model, criterion, data = quadratic(curvature)
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=1.0), criterion)
    result = finder.range_test(
        data,
        start_lr=0.013 / curvature,
        end_lr=27 / curvature,
        num_iter=60,
        diverge_th=float("inf"),
        progress=False,
    )
    rises = np.diff(result.loss) > 0
    np.testing.assert_array_equal(rises, np.asarray(result.lr[:-1]) > 2 / curvature)


def test_the_losses_on_a_quadratic_are_the_closed_form():
    model, criterion, data = quadratic(3.0)
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=1.0), criterion)
    result = finder.range_test(data, start_lr=0.01, end_lr=0.5, num_iter=20, progress=False)
    weights = np.cumprod([1.0, *(1 - 3.0 * np.asarray(result.lr[:-1]))])
    np.testing.assert_allclose(result.loss, 1.5 * weights**2, rtol=1e-12)


def by_hand(model, optimizer, batches, lrs):
    """Train with one rate after the other, as a user would without a finder."""
    losses = []
    for step, lr in enumerate(lrs):
        inputs, targets = batches[step % len(batches)]
        optimizer.param_groups[0]["lr"] = float(lr)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("step_mode", ["exp", "linear"])
@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        torch.optim.Adam,
        torch.optim.AdamW,
        torch.optim.RMSprop,
        torch.optim.Adagrad,
    ],
)
def test_every_loss_is_that_of_a_loop_written_by_hand(model, batches, make_optimizer, step_mode):
    twin = copy.deepcopy(model)
    lrs = learning_rate_grid(1e-4, 0.1, 30, step_mode)
    torch.manual_seed(1)
    expected = by_hand(twin, make_optimizer(twin.parameters()), batches, lrs)
    torch.manual_seed(1)
    result = LRFinder(model, make_optimizer(model.parameters()), nn.MSELoss()).range_test(
        batches, start_lr=1e-4, end_lr=0.1, num_iter=30, step_mode=step_mode, progress=False
    )
    assert list(result.loss) == expected
    assert list(result.lr) == lrs.tolist()


def spy(optimizer):
    """Return a list that grows by the rates of all groups with every step of `optimizer`."""
    used = []
    optimizer.register_step_pre_hook(
        lambda *_: used.append(tuple(group["lr"] for group in optimizer.param_groups))
    )
    return used


@pytest.mark.parametrize("step_mode", ["exp", "linear"])
def test_the_recorded_rates_are_those_that_the_optimizer_used(model, optimizer, batches, step_mode):
    used = spy(optimizer)
    result = LRFinder(model, optimizer, nn.MSELoss()).range_test(
        batches, end_lr=0.1, num_iter=17, step_mode=step_mode, progress=False
    )
    assert list(result.lr) == [lr for (lr,) in used]
    assert (result.lr[0], result.lr[-1]) == (1e-7, 0.1)


def test_the_recorded_rates_of_every_group_are_those_that_the_optimizer_used(model, batches):
    optimizer = torch.optim.SGD(
        [
            {"params": model[0].parameters(), "lr": 0.02},
            {"params": model[3].parameters(), "lr": 0.1},
        ]
    )
    used = spy(optimizer)
    result = LRFinder(model, optimizer, nn.MSELoss()).range_test(
        batches, end_lr=0.5, num_iter=9, progress=False
    )
    assert list(zip(*result.group_lrs, strict=True)) == used
    assert result.group_lrs[1] == result.lr


def test_the_loss_is_the_one_before_the_update_with_its_rate(model, optimizer, batches):
    """So the first loss is that of the untouched model, whatever the first rate is."""
    torch.manual_seed(1)
    untouched = nn.functional.mse_loss(copy.deepcopy(model)(batches[0][0]), batches[0][1]).item()
    torch.manual_seed(1)
    finder = LRFinder(model, optimizer, nn.MSELoss())
    result = finder.range_test(batches, start_lr=1.0, end_lr=2.0, num_iter=2, progress=False)
    assert result.loss[0] == untouched


def test_a_loss_that_is_not_finite_ends_the_sweep_and_is_the_last_one_recorded():
    model, criterion, data = quadratic(1.0)
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=1.0), criterion)
    result = finder.range_test(
        data, start_lr=10, end_lr=1e300, num_iter=100, diverge_th=float("inf"), progress=False
    )
    assert result.stop_reason is StopReason.NON_FINITE
    assert np.isfinite(result.loss[:-1]).all()
    assert not np.isfinite(result.loss[-1])
    assert len(result.lr) == len(result.loss) < 100


def test_a_result_is_frozen(model, optimizer, batches):
    result = LRFinder(model, optimizer, nn.MSELoss()).range_test(
        batches, num_iter=3, progress=False
    )
    for field in dataclasses.fields(result):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, field.name, None)
    for column in (result.lr, result.loss, *result.group_lrs):
        assert isinstance(column, tuple)


def test_history_can_be_changed_without_a_trace_in_the_result(model, optimizer, batches):
    finder = LRFinder(model, optimizer, nn.MSELoss())
    result = finder.range_test(batches, num_iter=5, progress=False)
    finder.history["lr"].clear()
    assert len(result) == len(finder.history["lr"]) == 5
