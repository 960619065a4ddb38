"""What a schedule will do is computed and drawn without touching the user's optimizer."""

from __future__ import annotations

import copy

import pytest
import torch

from lrfinder import InvalidInputError, schedules
from tests.schedules.helpers import (
    ALL,
    T,
    optimizer_with,
    suggestion,
    tensor_optimizer,
    training_rates,
)
from tests.snapshot.helpers import bits


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    from matplotlib import pyplot

    yield
    pyplot.close("all")


def trained_optimizer():
    """An optimizer that holds everything that could be touched."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([{"params": [parameter], "lr": torch.tensor(0.1)}])
    parameter.sum().backward()
    optimizer.step()
    return optimizer, parameter


@pytest.mark.parametrize("name", ALL)
def test_rates_are_those_of_training_and_leave_the_optimizer_alone(name):
    optimizer = optimizer_with(momentum=0.9)
    before = copy.deepcopy(optimizer.state_dict()), dict(vars(optimizer))
    foreseen = schedules.rates(lambda o: ALL[name].build(o, suggestion()), optimizer, T)
    assert (optimizer.state_dict(), vars(optimizer)) == before
    happened = training_rates(optimizer, ALL[name].build(optimizer, suggestion()), T)
    assert foreseen == [[rates[0] for rates in happened]]


@pytest.mark.parametrize("name", ["one_cycle", "cosine", "warm-up, cyclic"])
def test_parameters_state_and_a_tensor_rate_stay_bit_for_bit(name):
    optimizer, parameter = trained_optimizer()
    rate = optimizer.param_groups[0]["lr"]
    before = bits([parameter, parameter.grad, optimizer.state_dict()])
    schedules.rates(lambda o: ALL[name].build(o, suggestion()), optimizer, T)
    assert bits([parameter, parameter.grad, optimizer.state_dict()]) == before
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate == torch.tensor(0.1)
    assert "step" not in vars(optimizer)
    moved = parameter.detach().clone()
    optimizer.step()
    assert not torch.equal(moved, parameter)


def test_a_plateau_is_shown_for_a_metric_that_never_gets_better():
    curve = schedules.rates(
        lambda o: schedules.reduce_on_plateau(o, 1.0, factor=0.5, patience=2), optimizer_with(), 8
    )
    assert curve == [[1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]]


def test_schedules_of_torch_itself_are_shown_too():
    def exponential(optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    curve = schedules.rates(exponential, optimizer_with((1.0, 0.5), lr=1.0), 3)
    assert curve == [[1.0, 0.5, 0.25], [0.5, 0.25, 0.125]]


def test_a_schedule_built_on_the_users_optimizer_raises():
    optimizer = optimizer_with()
    with pytest.raises(InvalidInputError, match="builds on the optimizer it is given"):
        schedules.rates(lambda _: schedules.constant(optimizer, 0.1), optimizer, 5)


def test_a_length_without_steps_raises_before_anything_is_built():
    with pytest.raises(InvalidInputError, match="total_steps must be a whole number >= 1, got 0"):
        schedules.rates(lambda o: pytest.fail("was built"), optimizer_with(), 0)


def test_plot_draws_one_labelled_line_per_schedule_and_shows_nothing(monkeypatch):
    from matplotlib import pyplot

    monkeypatch.setattr(pyplot, "show", lambda: pytest.fail("was shown"))
    builders = {
        label: lambda o, label=label: ALL[label].build(o, suggestion())
        for label in ("cosine", "one_cycle")
    }
    optimizer = tensor_optimizer()
    ax = schedules.plot_schedule(builders, optimizer, total_steps=T)
    assert [line.get_label() for line in ax.get_lines()] == ["cosine", "one_cycle"]
    for line in ax.get_lines():
        wanted = schedules.rates(builders[line.get_label()], optimizer, T)
        assert list(line.get_xdata()) == list(range(T))
        assert list(line.get_ydata()) == wanted[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cosine", "one_cycle"]
    assert ax.get_xlabel() == "optimizer step"
    assert ax.get_ylabel() == "learning rate"


def test_groups_with_the_same_rates_share_a_line():
    optimizer = optimizer_with((1.0, 0.1, 1.0))
    ax = schedules.plot_schedule(
        {"cosine": lambda o: schedules.cosine(o, 0.1, total_steps=T)}, optimizer, total_steps=T
    )
    labels = [line.get_label() for line in ax.get_lines()]
    assert labels == ["cosine, group 0, 2", "cosine, group 1"]


def test_groups_that_all_have_the_same_rates_are_one_line():
    ax = schedules.plot_schedule(
        {"constant": lambda o: schedules.constant(o, 0.1)},
        optimizer_with((1.0, 1.0)),
        total_steps=3,
    )
    assert [line.get_label() for line in ax.get_lines()] == ["constant"]


def test_plot_draws_on_the_axes_it_is_given():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    constant = {"constant": lambda o: schedules.constant(o, 0.1)}
    assert schedules.plot_schedule(constant, optimizer_with(), total_steps=3, ax=ax) is ax


def test_no_schedule_to_draw_raises():
    with pytest.raises(InvalidInputError, match="at least one schedule"):
        schedules.plot_schedule({}, optimizer_with(), total_steps=3)
