"""Ranges with an open bound, and repeated sweeps, on problems with known curves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder import InvalidInputError, LRFinder, StopReason
from lrfinder._sweep.open_range import HIGHEST_LR
from lrfinder.suggestion import analyze_descent


class Quadratic(nn.Module):
    """Half of `curvature` times the squared distance of one parameter from 0."""

    def __init__(self, curvature):
        super().__init__()
        self.curvature = curvature
        self.x = nn.Parameter(torch.ones(()))

    def forward(self, inputs):
        return inputs.mean() * 0.5 * self.curvature * self.x**2


def quadratic_finder(curvature):
    model = Quadratic(curvature)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return LRFinder(model, optimizer, lambda outputs, _: outputs)


ONES = [(torch.ones(1), torch.zeros(1))]


@pytest.mark.parametrize("curvature", [0.1, 1.0, 10.0])
def test_an_open_end_is_reached_where_the_closed_form_diverges(curvature):
    """Gradient descent on a quadratic of curvature L diverges above 2 / L and not below."""
    finder = quadratic_finder(curvature)
    result = finder.range_test(ONES, end_lr=None, progress=False)
    assert result.stop_reason in (StopReason.DIVERGED, StopReason.NON_FINITE)
    assert 2 / curvature < result.lr[-1] < 200 / curvature


def test_an_open_end_is_bounded_where_nothing_diverges():
    finder = quadratic_finder(1e-6)
    result = finder.range_test(ONES, end_lr=None, steps_per_decade=5, progress=False)
    assert result.stop_reason is StopReason.COMPLETED
    assert result.lr[-1] == HIGHEST_LR


def test_an_open_start_is_read_off_the_training_loss_where_validation_runs_seldom():
    plain, validated = (
        quadratic_finder(1.0).range_test(ONES, *more, start_lr=None, val_every=40, progress=False)
        for more in ([], [ONES])
    )
    assert validated.lr == plain.lr


@pytest.mark.parametrize("curvature", [1.0, 1e4, 1e6])
def test_an_open_start_is_low_enough_that_the_curve_begins_flat(curvature):
    finder = quadratic_finder(curvature)
    result = finder.range_test(ONES, start_lr=None, end_lr=None, progress=False)
    assert analyze_descent(result.curve()).begins_flat
    assert result.lr[0] < 1e-3 / curvature


def test_the_pace_is_in_steps_per_decade_whatever_the_range():
    finder = quadratic_finder(1.0)
    for end_lr in (1e-3, 1e-1):
        lr = finder.range_test(ONES, end_lr=end_lr, steps_per_decade=20, progress=False).lr
        assert lr[20] / lr[0] == pytest.approx(10)
        assert lr[-1] == end_lr


def test_a_bound_may_be_a_number_of_numpy():
    finder = quadratic_finder(1.0)
    lr = finder.range_test(ONES, start_lr=np.float32(1e-3), end_lr=None, progress=False).lr
    assert lr[0] == np.float32(1e-3)


@pytest.mark.parametrize("curvature", [1.0, 1e6])
def test_on_step_is_called_for_the_accepted_sweep_alone_and_can_end_it(curvature):
    finder = quadratic_finder(curvature)
    whole = finder.range_test(ONES, start_lr=None, progress=False)
    calls = []

    def on_step(lr, loss, step):
        calls.append((lr, loss, step))
        return step == 5

    result = finder.range_test(ONES, start_lr=None, progress=False, on_step=on_step)
    assert result.stop_reason is StopReason.CALLBACK
    assert calls == list(zip(whole.lr[:6], whole.loss[:6], range(6), strict=True))
    assert result.loss == whole.loss[:6]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"end_lr": None, "step_mode": "linear"}, "need step_mode='exp', got 'linear'"),
        ({"steps_per_decade": 0}, "steps_per_decade must be a number > 0, got 0"),
        ({"steps_per_decade": float("nan")}, "steps_per_decade must be a number > 0, got nan"),
        ({"start_lr": [1e-5], "end_lr": None}, "start_lr must be one number"),
        ({"start_lr": -1.0, "end_lr": None}, "start_lr must be a positive, finite number"),
        ({"repeats": 0}, "repeats must be"),
    ],
)
def test_what_cannot_work_is_refused(wrong, says):
    with pytest.raises(InvalidInputError, match=says):
        quadratic_finder(1.0).range_test(ONES, progress=False, **wrong)


def shuffled(seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(256, 4, generator=generator)
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
    model = nn.Linear(4, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(data, 16, shuffle=True, generator=generator)
    return LRFinder(model, optimizer, nn.MSELoss()), loader


def test_repeats_begin_with_the_same_model_and_see_the_data_in_other_orders():
    finder, loader = shuffled()
    result = finder.range_test(loader, end_lr=1e-6, num_iter=16, repeats=3, progress=False)
    assert len(result.repeats) == 3
    assert len(set(result.repeats)) == 3
    # One pass over all data at rates that change nothing: every order has the same mean.
    means = [sum(losses) / 16 for losses in result.repeats]
    assert means == pytest.approx([means[0]] * 3, rel=1e-4)


def test_the_first_repeat_is_the_sweep_without_repeats_and_the_loss_is_the_mean():
    finder, loader = shuffled()
    once = finder.range_test(loader, progress=False)
    thrice = finder.range_test(loader, repeats=3, progress=False)
    steps = len(thrice)
    assert thrice.repeats[0] == once.loss[:steps]
    assert thrice.loss == pytest.approx([sum(row) / 3 for row in zip(*thrice.repeats, strict=True)])


def test_validation_and_metrics_of_repeats_are_means_over_the_steps_that_all_of_them_have():
    """Of three sweeps over 16 steps the second ends after 5."""
    plain, loader = shuffled()
    trained, validated, steps = [], [], []

    def training_step(model, batch):
        loss = nn.functional.mse_loss(model(batch[0]), batch[1])
        (trained if model.training else validated).append(loss.item())
        return {"loss": loss, "twice": 2 * loss.item()}

    def end_the_second(lr, loss, step):
        steps.append(step)
        return len(steps) == 16 + 5

    result = LRFinder(plain.model, plain.optimizer, training_step=training_step).range_test(
        loader, loader, val_every=3, num_iter=16, end_lr=1.0, repeats=3, on_step=end_the_second,
        progress=False,
    )  # fmt: skip
    rows = [trained[:5], trained[16:21], trained[21:26]]
    assert result.metrics["twice"] == pytest.approx(2 * np.mean(rows, axis=0))
    assert result.val_steps == (0, 3)
    rows = [validated[:2], validated[6:8], validated[8:10]]
    assert result.val_loss == pytest.approx(np.mean(rows, axis=0))


def test_repeats_give_an_interval_of_the_validation_loss_too():
    finder, loader = shuffled()
    once = finder.range_test(loader, loader, progress=False)
    thrice = finder.range_test(loader, loader, repeats=3, progress=False)
    assert thrice.val_repeats[0] == once.val_loss[: len(thrice)]
    rows = [replace(thrice, val_loss=row, val_repeats=()) for row in thrice.val_repeats]
    alone = [row.suggest().lr for row in rows]
    assert thrice.suggest().interval == (min(alone), max(alone))
    assert min(alone) < max(alone)


def test_repeats_leave_no_trace_in_the_order_of_the_data():
    finder, loader = shuffled()
    state = loader.generator.get_state()
    finder.range_test(loader, repeats=2, progress=False)
    assert torch.equal(loader.generator.get_state(), state)
