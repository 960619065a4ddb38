"""The search over trials against losses that are known functions of the rate."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrfinder._recommend.length import LengthLaw, length_law, length_scale
from lrfinder._recommend.recommendation import sweep_steps
from lrfinder._recommend.search import Search, parabola_minimum
from lrfinder._recommend.trial import Trial, TrialStop, tail_mean
from lrfinder._sweep.loop import Record
from tests.recommend.helpers import BATCHES, UNTRAINED, Training


class Plateau:
    """Training that stays where it begins for `100 / lr` steps and then falls to a tenth.

    Until then a rate of 0.1 is the best by a fiftieth of the loss; above 1 the loss grows.
    """

    untrained = tuple(1.0 + hard for hard in BATCHES)

    def train(self, lr, steps, stop, validate=False):
        losses = []
        for step in range(steps):
            value = 1.0 if step < 100 / lr else 0.1
            value += 0.01 * abs(math.log10(lr / 0.1)) - 0.02 * (step > 10) + BATCHES[step]
            losses.append(value if lr <= 1 else 3.0 ** min(step, 600))
            if stop.update(losses[-1]) is not None:
                break
        return Record(losses)


def search(training, start_lr, budget=250, lr_range=(1e-9, 1e3), total_steps=None):
    found = Search(
        training.train,
        training.untrained[:50],
        budget=budget,
        lr_range=lr_range,
        law=LengthLaw(0.4, 0.2),
        total_steps=total_steps,
    )
    found.run(start_lr)
    return found


def loss_at(training, lr, steps):
    return tail_mean(Training(training.best_lr).train(lr, steps, TrialStop(steps, None)).losses)


@settings(max_examples=100, deadline=None)
@given(away=st.floats(-3, 3), best=st.floats(-5, 0))
def test_wherever_the_search_begins_it_ends_near_the_best_of_all_rates(away, best):
    """The oracle tries every rate of a fine grid for as many steps as a trial has."""
    training = Training(10**best)
    found = search(training, 10 ** (best + away))
    grid = [training.best_lr * 1.2**k for k in range(-30, 20)]
    lowest = min(loss_at(training, lr, found.trial_steps) for lr in grid)
    untrained = 2.0
    reached = loss_at(training, parabola_minimum(found.trials), found.trial_steps)
    assert reached - lowest < 0.1 * (untrained - lowest)


@settings(max_examples=100, deadline=None)
@given(away=st.floats(-6, 6), budget=st.integers(80, 900), limit=st.floats(0.1, 50))
def test_the_budget_is_never_exceeded(away, budget, limit):
    training = Training(1e-2, limit)
    found = search(training, 10 ** (-2 + away), budget)
    spent = sum(len(trial.losses) for trial in (*found.probes, *found.trials))
    assert spent == training.spent <= budget


@settings(max_examples=50, deadline=None)
@given(away=st.floats(-6, 6), low=st.floats(-4, -2.5), high=st.floats(-1.5, 0))
def test_no_rate_outside_the_range_is_tried(away, low, high):
    training = Training(1e-2)
    start = min(max(10 ** (-2 + away), 10**low), 10**high)
    search(training, start, lr_range=(10**low, 10**high))
    assert 10**low <= min(training.lrs)
    assert max(training.lrs) <= 10**high


@settings(max_examples=50, deadline=None)
@given(away=st.floats(-3, 3), budget=st.integers(80, 9000), total_steps=st.integers(100, 1000))
def test_no_trial_is_longer_than_the_training_will_be(away, budget, total_steps):
    found = search(Training(1e-2), 10 ** (-2 + away), budget, total_steps=total_steps)
    assert max(len(trial.losses) for trial in (*found.probes, *found.trials)) <= total_steps
    if budget >= 9 * total_steps:
        assert found.trial_steps == total_steps


def test_what_the_training_does_not_need_of_a_budget_is_not_spent():
    for total_steps in (100, 300):
        training = Training(1e-2)
        search(training, 1e-2, budget=10_000, total_steps=total_steps)
        assert training.spent < 10 * total_steps


@pytest.mark.parametrize("start_lr", [1e-3, 1e-2, 1e-1])
def test_on_a_plateau_the_rate_is_not_lowered_for_a_longer_training(start_lr):
    """By 90 steps no rate has left the plateau, so the lowest loss says little."""
    found = search(Plateau(), start_lr)
    assert found.is_on_plateau
    assert found.exponent == 0
    assert found.best_lr >= found.best.lr


def test_training_that_makes_progress_is_not_on_a_plateau():
    for away in (-2, 0, 2):
        found = search(Training(1e-2), 10.0 ** (-2 + away))
        assert not found.is_on_plateau
        assert found.exponent == 0.4


class Interpolating(Training):
    """The same without a floor: the loss and what batches differ by go to zero together."""

    def train(self, lr, steps, stop, validate=False):
        times, losses = lr / self.best_lr, []
        for step in range(steps):
            left = math.exp(-step * times / 6) if times < 2 else 1.1**step
            losses.append(left * UNTRAINED[step])
            if stop.update(losses[-1]) is not None:
                break
        return Record(losses)


@pytest.mark.parametrize("away", [-2, 0, 1])
def test_where_the_loss_goes_to_zero_a_constant_rate_falls_less_and_a_peak_as_usual(away):
    found = search(Interpolating(1e-2), 10.0 ** (-2 + away))
    assert (found.exponent, found.peak_exponent) == (0.2, 0.4)
    found = search(Training(1e-2), 10.0 ** (-2 + away))
    assert (found.exponent, found.peak_exponent) == (0.4, 0.4)


@pytest.mark.parametrize("start_lr", [1e-3, 1e-2, 1e-1])
def test_a_larger_budget_gets_beyond_the_plateau(start_lr):
    """Trials of about 900 steps leave it at any rate above 0.1, and sooner above that."""
    found = search(Plateau(), start_lr, budget=2900)
    assert not found.is_on_plateau
    assert found.best.losses[-1] < 0.3


def test_a_trial_that_changes_nothing_is_followed_by_a_higher_one():
    class Flat(Plateau):
        def train(self, lr, steps, stop, validate=False):
            """Nothing below 0.3; the probes cannot tell, since all begin alike."""
            losses = [
                (0.1 if lr > 0.3 and step > 30 else 1.0 - 1e-4 * (lr < 1e-2) * step) + BATCHES[step]
                for step in range(steps)
            ]
            return Record(losses)

    found = search(Flat(), 1e-2, budget=900)
    assert found.best.lr > 0.3


class DivergesLate(Training):
    """The same, but trials at all but the lowest rates fail before they are half done."""

    def train(self, lr, steps, stop, validate=False):
        losses = super().train(lr, steps, TrialStop(steps, None)).losses
        if validate and lr > self.best_lr / 1e3:
            losses[9 * steps // 20 :] = [math.inf]
        return Record(losses)


@settings(max_examples=100, deadline=None)
@given(budget=st.integers(150, 600))
def test_a_trial_that_the_budget_cuts_short_after_diverged_ones_has_a_loss(budget):
    found = search(DivergesLate(1e-2), 1e-2, budget)
    assert not any(math.isnan(trial.loss) for trial in found.trials)


def test_no_trial_is_made_twice():
    for away in (-3, -1, 0, 1, 3):
        trials = search(Training(1e-2), 10.0 ** (-2 + away), 2000).trials
        assert len({round(math.log2(trial.lr), 6) for trial in trials}) == len(trials)


def test_where_nothing_is_learned_the_probes_go_up_by_decades():
    found = search(Training(1e-1), 1e-6)
    first, second, *_ = found.probes
    assert second.lr == pytest.approx(10 * first.lr)


def test_where_the_loss_explodes_the_probes_go_down_by_decades():
    found = search(Training(1e-4, limit=5), 1.0)
    first, second, *_ = found.probes
    assert second.lr == pytest.approx(first.lr / 10)
    assert first.loss == math.inf


def test_a_training_that_does_not_depend_on_the_rate_is_probed_upwards_only():
    found = Search(
        lambda lr, steps, stop, *, validate: Record(UNTRAINED[:steps]),
        UNTRAINED[:50], budget=250, lr_range=(1e-7, 10), law=LengthLaw(0.4, 0.2),
    )  # fmt: skip
    found.run(1e-3)
    assert [probe.lr for probe in found.probes] == sorted(probe.lr for probe in found.probes)


class Noisy(Training):
    """The same, but the floor rises with the rate without end."""

    def train(self, lr, steps, stop, validate=False):
        times, losses = lr / self.best_lr, []
        for step in range(steps):
            losses.append(2 * math.exp(-step * times / 6) + 0.3 * times + BATCHES[step])
            if stop.update(losses[-1]) is not None:
                break
        return Record(losses)


@pytest.mark.parametrize("start_lr", [1e-3, 1e-2, 1e-1])
def test_a_higher_rate_that_is_behind_is_given_up_and_a_lower_one_is_not(start_lr):
    found = search(Noisy(1e-2), start_lr, budget=2000, total_steps=100)
    higher, lower = [], []
    for number, trial in enumerate(found.trials[1:], start=1):
        best = min(found.trials[:number], key=lambda trial: trial.loss)
        if trial.loss > best.loss:
            (higher if trial.lr > best.lr else lower).append(len(trial.losses))
    assert higher
    assert max(higher) < 100
    assert set(lower) == {100}


def test_the_tail_is_the_last_third():
    assert tail_mean([9, 9, 9, 9, 1, 3]) == 2
    assert tail_mean([1, math.nan]) == math.inf
    assert tail_mean([5.0]) == 5


def test_the_minimum_of_three_points_is_that_of_their_parabola():
    """A parabola through (-1, 4), (0, 1), (1, 2) is lowest at 1/4."""
    trials = [Trial(0.5, 4, ()), Trial(1.0, 1, ()), Trial(2.0, 2, ())]
    assert parabola_minimum(trials) == pytest.approx(2 ** (1 / 4))
    assert parabola_minimum(trials[1:]) == 1.0  # no neighbour below: the best trial itself
    assert parabola_minimum([*trials[:2], Trial(2.0, math.inf, ())]) < 1.0


@given(st.floats(-2, 2), st.floats(0.3, 3), st.floats(0.3, 3))
def test_the_minimum_of_a_parabola_is_found_at_any_distance_of_its_points(centre, below, above):
    def at(x):
        return Trial(math.exp(x), 1.0 + (x - centre) ** 2, ())

    points = [at(centre - below - 0.1), at(centre + 0.05), at(centre + above)]
    assert parabola_minimum(points) == pytest.approx(math.exp(centre))


def test_a_longer_training_gets_a_rate_lower_by_the_power_of_its_length():
    assert length_scale(50, 5000, 0.5) == pytest.approx(0.1)
    assert length_scale(50, 50_000_000, 0.5) == length_scale(50, 5000, 0.5)
    assert length_scale(50, 10, 0.5) == 1


def test_how_fast_the_rate_falls_depends_on_how_the_optimizer_scales_its_steps():
    parameters = [torch.nn.Parameter(torch.ones(2, 2))]

    class Muon(torch.optim.SGD):
        pass

    class PagedLion8bit(torch.optim.SGD):
        pass

    laws = [
        length_law(make(parameters, lr=0.1))
        for make in (torch.optim.Adagrad, torch.optim.SGD, torch.optim.AdamW, Muon, PagedLion8bit)
    ]
    assert laws == [(0, 0), (0.4, 0.2), (0.4, 0.2), (0.75, 0.75), (0.75, 0.75)]
    assert length_scale(50, 800, 0.0) == 1
    assert length_scale(50, 800, 0.75) == pytest.approx(1 / 8)


@given(budget=st.integers(120, 10_000))
def test_a_sweep_takes_a_third_of_a_budget_at_most(budget):
    assert 40 <= sweep_steps(budget) <= budget / 3
