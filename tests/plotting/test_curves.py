"""The picture: what is drawn, where, and that nothing else happens."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lrfinder
from lrfinder import InvalidInputError, StopReason
from lrfinder.suggestion import analyze_descent
from tests.plotting.helpers import exploding, falling, rates, result, rising


@pytest.fixture(autouse=True)
def _headless(monkeypatch):
    pyplot.switch_backend("agg")
    monkeypatch.setattr(pyplot, "show", lambda *_: pytest.fail("a picture was shown"))
    yield
    pyplot.close("all")


def line_named(axes, start):
    return next(line for line in axes.get_lines() if str(line.get_label()).startswith(start))


def height_of(line, lr):
    """The height of a line that is drawn over the logarithm of the rate."""
    return np.interp(np.log(lr), np.log(line.get_xdata()), line.get_ydata())


def legend_texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_returns_axes_and_shows_nothing():
    assert isinstance(lrfinder.plot(falling()), Axes)


def test_draws_on_the_axes_it_is_given_and_makes_no_figure():
    axes = Figure().subplots()
    assert lrfinder.plot(falling(), ax=axes) is axes
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize(
    ("mode", "log_lr", "scale"),
    [
        ("exp", None, "log"),
        ("linear", None, "linear"),
        ("exp", False, "linear"),
        ("linear", True, "log"),
    ],
)
def test_the_axis_of_rates_follows_the_sweep_unless_told(mode, log_lr, scale):
    assert lrfinder.plot(falling(step_mode=mode), log_lr=log_lr).get_xscale() == scale


def test_the_line_is_what_the_rules_read():
    sweep = falling()
    drawn = line_named(lrfinder.plot(sweep), "training loss").get_ydata()
    np.testing.assert_allclose(drawn, analyze_descent(sweep.curve()).loss)


def test_the_points_are_the_raw_losses():
    sweep = falling()
    points = next(line for line in lrfinder.plot(sweep).get_lines() if line.get_marker() == ".")
    np.testing.assert_array_equal(points.get_ydata(), sweep.loss)
    assert points.get_alpha() < 0.5


def test_the_suggestion_is_marked_on_the_curve_and_labelled_with_its_value():
    sweep = falling()
    suggestion = sweep.suggest()
    axes = lrfinder.plot(sweep)
    (x,), (y,) = line_named(axes, "suggestion").get_data()
    assert x == suggestion.lr
    assert y == pytest.approx(height_of(line_named(axes, "training loss"), x))
    assert f"{suggestion.lr:.2e}" in [text.get_text() for text in axes.texts]


def test_a_given_suggestion_is_the_one_that_is_marked():
    other = lrfinder.Suggestion(1e-3, "mine", "a reason", 1e-4, 1e-2, (1e-3,))
    axes = falling().plot(suggestion=other)
    assert line_named(axes, "suggestion (mine)").get_xdata() == [1e-3]


def test_the_bounds_are_shaded():
    sweep = falling()
    suggestion = sweep.suggest()
    axes = lrfinder.plot(sweep)
    (span,) = [patch for patch in axes.patches if str(patch.get_label()).startswith("bounds")]
    corners = span.get_path().vertices if not hasattr(span, "get_x") else None
    left, right = (
        (corners[:, 0].min(), corners[:, 0].max())
        if corners is not None
        else (span.get_x(), span.get_x() + span.get_width())
    )
    assert (left, right) == pytest.approx((suggestion.min_lr, suggestion.max_lr))


def test_the_validation_curve_is_drawn_and_carries_the_suggestion():
    lr = rates()
    steps = tuple(range(0, 100, 2))
    loss = 1.0 + 2.0 / (1 + (lr[::2] / 1e-4) ** 2)  # falls two decades before the training loss
    sweep = falling(val_steps=steps, val_loss=tuple(loss))
    axes = lrfinder.plot(sweep)
    line = line_named(axes, "validation loss")
    np.testing.assert_array_equal(line.get_xdata(), lr[::2])
    (x,), (y,) = line_named(axes, "suggestion").get_data()
    assert x == sweep.suggest().lr
    assert y == pytest.approx(height_of(line, x))


def test_repeats_are_a_band_around_the_mean():
    sweep = falling()
    low, high = (tuple(loss + shift for loss in sweep.loss) for shift in (-0.1, 0.1))
    axes = lrfinder.plot(falling(repeats=(low, high)))
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    line = line_named(axes, "training loss").get_ydata()
    assert heights.max() == pytest.approx(max(line) + 0.1)
    assert heights.min() == pytest.approx(min(line) - 0.1)


@pytest.mark.parametrize("reason", [reason for reason in StopReason if reason.value != "completed"])
def test_the_end_of_a_sweep_that_stopped_early_is_marked_with_its_reason(reason):
    sweep = falling(stop_reason=reason)
    cross = line_named(lrfinder.plot(sweep), "stopped")
    assert reason.value in cross.get_label()
    assert cross.get_xdata() == [sweep.lr[-1]]


def test_a_sweep_that_used_every_rate_has_no_such_mark():
    assert not any("stopped" in text for text in legend_texts(lrfinder.plot(falling())))


def test_an_explosion_leaves_the_descent_in_sight():
    bottom, top = lrfinder.plot(exploding()).get_ylim()
    assert bottom < 0.3
    assert 2.3 < top < 4.0


def test_the_stop_of_an_explosion_is_marked_at_the_edge():
    axes = lrfinder.plot(exploding())
    assert line_named(axes, "stopped").get_ydata() == [axes.get_ylim()[1]]


def test_every_finite_loss_is_in_sight_without_an_explosion():
    sweep = falling()
    bottom, top = lrfinder.plot(sweep).get_ylim()
    assert bottom < min(sweep.loss)
    assert top > max(sweep.loss)


def test_a_curve_without_a_suggestion_is_drawn_with_the_reason():
    axes = lrfinder.plot(rising())
    assert len(line_named(axes, "training loss").get_ydata()) == 100
    assert axes.get_legend().get_title().get_text().startswith("no suggestion: ")


@pytest.mark.parametrize(
    "sweep",
    [
        result([], [], stop_reason=StopReason.ALL_SKIPPED),
        result([1e-3], [float("nan")], stop_reason=StopReason.NON_FINITE),
        result([1e-3, 1e-2, 1e-1], [2.0, float("inf"), float("nan")]),
        result(rates(6), [2.0, 1.9, float("nan"), 1.0, 0.9, float("inf")]),
    ],
)
def test_a_curve_with_hardly_a_finite_point_still_draws(sweep):
    lrfinder.plot(sweep).figure.canvas.draw()


def test_a_rate_of_the_users_own_is_marked():
    axes = lrfinder.plot(falling(), show_lr=0.05)
    assert list(line_named(axes, "lr = 5.00e-02").get_xdata()) == [0.05, 0.05]


def test_a_suggestion_is_marked_as_a_further_rate():
    other = falling().suggest("minimum")
    axes = lrfinder.plot(falling(), show_lr=other)
    assert list(line_named(axes, f"lr = {other.lr:.2e}").get_xdata()) == [other.lr] * 2


def test_a_picture_of_what_is_maximized_says_that_it_is_turned_over():
    assert lrfinder.plot(falling()).get_ylabel() == "loss"
    turned = replace(falling(), loss=tuple(-loss for loss in falling().loss), maximize=True)
    assert lrfinder.plot(turned).get_ylabel() == "minus the loss"


def test_several_results_share_axes_with_a_colour_and_a_label_each():
    slow, fast = falling(), result(rates(), [v + 0.1 for v in falling().loss])
    axes = lrfinder.plot({"SGD": slow, "Adam": fast, "nothing": rising()})
    lines = [line_named(axes, label) for label in ("SGD", "Adam", "nothing")]
    assert len({line.get_color() for line in lines}) == 3
    assert legend_texts(axes) == [
        f"SGD: {slow.suggest().lr:.2e}",
        f"Adam: {fast.suggest().lr:.2e}",
        "nothing: no suggestion",
    ]


def test_a_second_picture_on_the_same_axes_keeps_the_first_in_sight():
    axes = lrfinder.plot(falling())
    lrfinder.plot(result(rates(), [v + 10 for v in falling().loss]), ax=axes)
    bottom, top = axes.get_ylim()
    assert bottom < 0.3
    assert top > 12.3


def test_rates_of_groups_are_named_as_those_of_the_largest():
    sweep = falling()
    half = tuple(lr / 2 for lr in sweep.lr)
    one = lrfinder.plot(falling(group_lrs=(sweep.lr,)))
    two = lrfinder.plot(falling(group_lrs=(sweep.lr, half)))
    assert one.get_xlabel() == "learning rate"
    assert two.get_xlabel() == "learning rate of the largest swept group"


def test_positional_arguments_are_those_of_torch_lr_finder():
    axes = Figure().subplots()
    assert falling().plot(10, 5, False, 0.05, axes) is axes
    assert axes.get_xscale() == "linear"
    assert len(line_named(axes, "training loss").get_xdata()) == 85
    assert line_named(axes, "lr = 5.00e-02") is not None


@pytest.mark.parametrize(
    "options",
    [
        {"skip_start": -1},
        {"skip_end": -1},
        {"show_lr": 0.0},
        {"show_lr": float("nan")},
        {"show_lr": "0.1"},
    ],
)
def test_options_that_cannot_work_are_refused_before_a_figure_is_made(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        lrfinder.plot(falling(), **options)
    assert pyplot.get_fignums() == []


def test_an_empty_mapping_is_refused():
    with pytest.raises(InvalidInputError, match="at least one result"):
        lrfinder.plot({})


def test_one_suggestion_for_several_results_is_refused():
    with pytest.raises(InvalidInputError, match="single result"):
        lrfinder.plot({"a": falling()}, suggestion=falling().suggest())


@pytest.mark.parametrize("extension", ["png", "svg", "pdf"])
def test_the_picture_is_saved_as_usual(tmp_path, extension):
    path = tmp_path / f"curve.{extension}"
    lrfinder.plot(exploding()).figure.savefig(path)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("highest", [2e-3, 5e-3, 2e-2, 8e-2, 2e-1, 1.0, 100.0])
def test_at_least_two_rates_are_labelled_and_no_label_covers_another(highest):
    lr = np.geomspace(1e-3, highest, 20)
    axes = lrfinder.plot(result(lr, np.linspace(2, 1, 20)))
    axes.figure.canvas.draw()
    labels = [label for label in axes.get_xticklabels(which="both") if label.get_text()]
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    left, right = axes.get_window_extent().intervalx
    seen = [box for box in boxes if left <= (box.x0 + box.x1) / 2 <= right]
    assert len(seen) >= 2
    assert all(one.x1 < other.x0 for one, other in pairwise(seen))
