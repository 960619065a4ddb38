"""The search over trials against losses that are known functions of the rate."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrfinder._recommend.length import length_exponent, length_scale
from lrfinder._recommend.recommendation import make_plan
from lrfinder._recommend.search import FACTOR, Search, parabola_minimum
from lrfinder._recommend.trial import Trial, TrialStop, tail_mean
from lrfinder._sweep.stopping import StopReason


def search(start_lr, reached, budget, steps, train):
    found = Search(train, budget, steps)
    found.run(start_lr, reached)
    return found.trials


class World:
    """Trainings whose loss falls to a parabola in log(lr) around a best rate."""

    def __init__(self, best_lr, limit=math.inf):
        self.best_lr, self.limit, self.spent = best_lr, limit, 0

    def final(self, lr):
        return 0.2 + 0.3 * math.log(lr / self.best_lr) ** 2

    def train(self, lr, steps, stop):
        losses = []
        for step in range(steps):
            value = math.nan if lr > self.limit else self.final(lr) + 2 * math.exp(-step / 8)
            losses.append(value)
            self.spent += 1
            if stop.update(value) is not None:
                break
        return losses


@settings(max_examples=100, deadline=None)
@given(away=st.floats(-1.9, 1.9), best=st.floats(-5, 0))
def test_the_minimum_is_the_best_rate_where_it_is_within_two_steps_of_the_start(away, best):
    world = World(10**best)
    trials = search(10**best * FACTOR**away, 9, 400, 60, world.train)
    assert parabola_minimum(trials) == pytest.approx(10**best, rel=0.05)


@settings(max_examples=100, deadline=None)
@given(
    reached=st.floats(-1, 5),
    away=st.floats(-6, 6),
    budget=st.integers(60, 500),
    limit=st.floats(-3, 1),
)
def test_the_budget_is_never_exceeded(reached, away, budget, limit):
    world = World(1e-2, limit=10**limit)
    trials = search(1e-2 * FACTOR**away, reached, budget, 60, world.train)
    assert sum(len(trial.losses) for trial in trials) == world.spent <= budget


def test_no_rate_is_tried_twice():
    for away in (-3, -1, 0, 1, 3):
        trials = search(1e-2 * FACTOR**away, 9, 2000, 60, World(1e-2).train)
        assert len({round(math.log2(trial.lr), 6) for trial in trials}) == len(trials)


def test_a_rate_above_the_limit_of_stability_loses_and_is_given_up_at_once():
    trials = search(1e-2, 9, 300, 60, World(1e-2, limit=1.5e-2).train)
    diverged = next(trial for trial in trials if trial.lr > 1.5e-2)
    assert diverged.loss == math.inf
    assert len(diverged.losses) == 1
    assert min(trials, key=lambda trial: trial.loss).lr < 1.5e-2


def test_a_first_rate_that_trains_worse_than_the_sweep_did_is_left_by_two_factors():
    trials = search(0.16, 0.3, 400, 60, World(1e-2).train)
    assert trials[1].lr == pytest.approx(0.04)
    assert parabola_minimum(trials) == pytest.approx(1e-2, rel=0.05)


def test_a_higher_rate_that_is_behind_is_given_up_and_a_lower_one_is_not():
    incumbent = [1.0] * 60
    behind = [2.0] * 60
    stop = TrialStop(60, incumbent)
    verdicts = [stop.update(loss) for loss in behind]
    assert verdicts.index(StopReason.DIVERGED) < 36
    stop = TrialStop(60, None)
    assert not any(stop.update(loss) for loss in behind)


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


def test_a_longer_training_gets_a_rate_lower_by_the_power_of_its_length():
    assert length_scale(50, 5000, 0.5) == pytest.approx(0.1)
    assert length_scale(50, 50_000_000, 0.5) == length_scale(50, 5000, 0.5)
    assert length_scale(50, 10, 0.5) == 1


def test_how_fast_the_rate_falls_depends_on_how_the_optimizer_scales_its_steps():
    parameters = [torch.nn.Parameter(torch.ones(2, 2))]

    class Muon(torch.optim.SGD):
        pass

    exponents = [
        length_exponent(make(parameters, lr=0.1))
        for make in (torch.optim.Adagrad, torch.optim.SGD, torch.optim.AdamW, Muon)
    ]
    assert exponents == [0, 0.4, 0.4, 0.75]
    assert length_scale(50, 800, 0.0) == 1
    assert length_scale(50, 800, 0.75) == pytest.approx(1 / 8)


@given(budget=st.integers(120, 10_000))
def test_a_plan_spends_no_more_than_its_budget(budget):
    plan = make_plan(budget)
    assert plan.sweep_steps + plan.trials_budget == budget
    assert plan.trial_steps <= plan.trials_budget
    if plan.can_sweep_again:
        second = plan.with_second_sweep()
        assert plan.sweep_steps + second.sweep_steps + second.trials_budget == budget
        assert 3 * second.trial_steps <= second.trials_budget
