"""The laboratory records what training gives, and the simulator plays it back."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lrfinder import InvalidInputError, LRFinder
from tests.benchmarks.helpers import LINE
from tests.benchmarks.suggestions import lab
from tests.benchmarks.suggestions.grid import compute
from tests.benchmarks.suggestions.lab import Job, Recording, grid, is_complete, record
from tests.benchmarks.suggestions.played import recommended
from tests.benchmarks.suggestions.simulator import Played, Simulation, play
from tests.benchmarks.suggestions.task import Problem, Task, endless, set_lr


@pytest.fixture
def recorded(line, tmp_path):
    record([line], tmp_path, workers=1, seeds=1)
    return Recording.read(tmp_path / "line-seed0.npz")


def plain_losses(problem, lr, steps):
    """Train as anybody would."""
    set_lr(problem.optimizer, lr)
    losses, batches = [], endless(problem.train_loader)
    for _ in range(steps):
        inputs, targets = next(batches)
        problem.optimizer.zero_grad()
        loss = problem.criterion(problem.model(inputs), targets)
        losses.append(loss.item())
        loss.backward()
        problem.optimizer.step()
    return losses


def test_the_losses_are_those_of_a_plain_training_loop(recorded):
    lr = 10.0 ** grid(LINE)[1]
    assert recorded.losses[1, :20] == pytest.approx(plain_losses(LINE.problem(0), lr, 20), rel=1e-6)
    assert recorded.losses.shape == (len(grid(LINE)), lab.STEPS)


def test_the_sweep_is_the_one_that_the_finder_makes(recorded):
    problem = LINE.problem(0)
    finder = LRFinder(problem.model, problem.optimizer, problem.criterion)
    made = finder.range_test(problem.train_loader, num_iter=50, diverge_th=math.inf, progress=False)
    assert recorded.sweeps[50][: len(made)] == pytest.approx(made.loss, rel=1e-5)


def test_batches_are_evaluated_without_dropout_after_the_stated_steps():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1, bias=False))
    nn.init.ones_(model[1].weight)
    optimizer = torch.optim.SGD(model.parameters())
    problem = Problem(model, optimizer, lambda out, _: out.mean(), None, None)
    batches = [(torch.ones(4, 1), None)] * 20
    _, evaluations = lab.train(problem, 0.0, batches, batches[:2])
    assert evaluations[:3] == pytest.approx(np.ones((3, 2)))  # after 0, 10 and 20 steps
    assert np.isinf(evaluations[3:]).all()


def test_a_run_that_stays_far_above_its_start_ends_and_counts_as_diverged():
    problem = LINE.problem(0)
    batches = [next(iter(problem.train_loader))] * 1000
    problem = Problem(problem.model, problem.optimizer, growing(), None, None)
    losses, _ = lab.train(problem, 1.0, batches, batches[:1])
    assert losses[:130].tolist() == [1.0] * 130
    assert losses[130:230].tolist() == [20.0] * 100  # 100 steps of it are enough
    assert np.isinf(losses[230:]).all()


def growing():
    """Return a criterion that is 1 for 130 training steps and 20 from then on."""
    steps = []

    def criterion(outputs, _):
        steps.extend([1] * outputs.requires_grad)
        return 0 * outputs.sum() + (1.0 if len(steps) <= 130 else 20.0)

    return criterion


def test_a_stopped_recording_goes_on_where_it_was(recorded, tmp_path):
    path = tmp_path / "line-seed0.npz"
    part = Recording.read(path)
    part.losses[0] = 42.0  # marks a run that is there
    for name in ("log10_lrs", "losses", "evaluations"):
        setattr(part, name, np.delete(getattr(part, name), 2, axis=0))
    part.write(path)
    assert not is_complete(Job("line", 0, tmp_path))
    record(["line"], tmp_path, workers=1, seeds=1)
    again = Recording.read(path)
    assert (again.losses[0] == 42.0).all()
    assert np.array_equal(again.losses[1:], recorded.losses[1:])
    assert np.array_equal(again.evaluations, recorded.evaluations)


def test_a_missing_range_test_alone_is_made_and_stored(recorded, tmp_path):
    path = tmp_path / "line-seed0.npz"
    part = Recording.read(path)
    del part.sweeps[100]
    part.write(path)
    record(["line"], tmp_path, workers=1, seeds=1)
    assert is_complete(Job("line", 0, tmp_path))
    assert np.array_equal(Recording.read(path).sweeps[100], recorded.sweeps[100])


@pytest.fixture
def simulation():
    """Losses are the power of ten of the rate plus a tenth of the step; 1e-1 diverges at step 5."""
    losses = np.arange(-3.0, 0.0)[:, None] + np.arange(lab.STEPS) / 10
    losses[2, 5:] = np.inf
    evaluations = np.zeros((3, len(lab.EVALUATIONS), 8)) + np.arange(-3.0, 0.0)[:, None, None]
    return Simulation(Recording(np.arange(-3.0, 0.0), losses, evaluations, {50: np.ones(50)}))


def test_losses_between_two_rates_are_linear_in_the_logarithm(simulation):
    assert simulation.train(1e-2, 3) == pytest.approx([-2.0, -1.9, -1.8])
    assert simulation.train(10**-2.5, 2) == pytest.approx([-2.5, -2.4])
    assert simulation.train(1e-9, 1) == pytest.approx([-3.0])
    assert simulation.evaluate(10**-1.75, 10) == pytest.approx([-1.75] * 8)
    assert (simulation.steps, simulation.evaluated) == (6, 8)


def test_a_trial_ends_where_it_diverges_or_is_stopped_and_only_its_steps_are_paid(simulation):
    assert simulation.train(0.1, 60)[-1] == math.inf
    assert simulation.steps == 6
    assert len(simulation.train(1e-2, 60, stop=lambda losses: len(losses) == 10)) == 10
    assert simulation.steps == 16
    assert len(simulation.train(1e-2, 30, start=10)) == 30
    assert simulation.steps == 36
    assert simulation.sweep(50)[0][[0, -1]] == pytest.approx([1e-7, 10])
    assert simulation.steps == 86


def test_a_search_is_judged_by_the_truth_of_every_length(recorded, tmp_path):
    compute(["line"], tmp_path, workers=1, seeds=1)
    seen = []

    def search(simulation):
        seen.append(simulation.total_steps)
        simulation.train(0.1, 7)
        return 0.1, 10**-0.5

    played = play(search, tmp_path, tmp_path, ["line"])
    assert seen == [LINE.steps, 4 * LINE.steps]
    assert played.steps == [7, 7]
    assert len(played.scores) == 8
    (rate,) = played.scores["onecycle", 4, "final"].decades["line"]
    (other,) = played.scores["constant", 4, "final"].decades["line"]
    assert math.isfinite(rate)
    assert math.isfinite(other)
    assert "onecycle 4x, checkpoint" in played.table()


def test_the_search_of_the_library_answers_to_the_recording_as_to_the_training(recorded):
    """The oracle is `LRFinder.recommend` on the task that was recorded."""
    problem = LINE.problem(0)
    finder = LRFinder(problem.model, problem.optimizer, problem.criterion)
    found = finder.recommend(problem.train_loader, total_steps=200, progress=False)
    simulation = Simulation(recorded, "SGD", total_steps=200)
    lr, max_lr = recommended(simulation)
    assert lr == pytest.approx(found.lr, rel=0.2)  # the recorded rates are a grid
    assert max_lr / lr == pytest.approx(found.max_lr / found.lr, rel=1e-6)
    assert simulation.steps <= 300


def test_the_spread_is_over_tasks_with_two_answers():
    answers = {("a", 1): [(0.1, 1.0), (0.3, 1.0), None], ("b", 1): [(0.1, 1.0), None]}
    assert "spread 3.00, steps 7" in Played({}, answers, [7, 7]).table()


def test_nothing_to_play_against_is_an_error(line, tmp_path):
    with pytest.raises(InvalidInputError, match="no complete recording"):
        play(lambda _: None, tmp_path, tmp_path, [line])


def test_a_refusal_counts_as_no_training(recorded, tmp_path):
    compute(["line"], tmp_path, workers=1, seeds=1, lengths=[1])
    played = play(lambda _: None, tmp_path, tmp_path, ["line"])
    score = played.scores["constant", 1, "final"]
    assert score.regret["line"] == [1.0]
    assert score.wild == (1, 1)


def test_the_recorded_rates_reach_from_the_lowest_to_above_the_highest_of_the_truth():
    task = Task("any", None, steps=1, low=-5.0, high=0.0)
    rates = grid(task)
    assert rates[0] == -5.0
    assert 0.3 <= rates[-1] <= 1.0
    assert max(np.diff(rates)) == pytest.approx(2 / 3)
    inner = [rate for rate in rates if -4.0 < rate < -1.0]
    assert np.diff(inner) == pytest.approx(np.full(len(inner) - 1, 1 / 3))
