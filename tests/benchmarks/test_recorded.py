"""What was wrong once, on the real sweeps and trainings of the laboratory."""

import math
from pathlib import Path

import numpy as np

from lrfinder import Confidence, NoSuggestionError, RangeTestResult, StopReason
from lrfinder._recommend.length import LengthLaw
from lrfinder._recommend.search import Search
from tests.benchmarks.suggestions.lab import SWEEP_RANGE, recordings
from tests.benchmarks.suggestions.played import recommended, train_in
from tests.benchmarks.suggestions.simulator import Simulation
from tests.benchmarks.suggestions.tasks import DEVELOPMENT

LAB = Path(__file__).parents[2] / "data/benchmark/lab"
# Loss of returns on the next day, and of the parity of bits: nothing falls in so few steps.
NOISE = ["returns-mlp-momentum", "parity-mlp-momentum"]


def sweeps(names=DEVELOPMENT):
    """Yield every recorded sweep, which nothing stopped, up to a loss that is not finite."""
    for _, _, recording in recordings(LAB, names):
        for steps, losses in recording.sweeps.items():
            finite = np.isfinite(losses)
            taken = steps if finite.all() else int(finite.argmin())
            yield RangeTestResult(
                tuple(np.geomspace(*SWEEP_RANGE, steps)[:taken].tolist()),
                tuple(losses[:taken].astype(float).tolist()),
                "exp",
                0.05,
                StopReason.COMPLETED if taken == steps else StopReason.NON_FINITE,
            )


def explosion(sweep):
    """Return the first rate whose loss is far above all that came before; inf without one."""
    losses = np.array(sweep.loss)
    start = np.median(losses[: max(3, len(losses) // 10)])
    noise = np.abs(np.diff(losses[: max(5, len(losses) // 4)])).mean()
    far = losses > start + 4 * max(start - losses.min(), 4 * noise)
    return sweep.lr[int(far.argmax())] if far.any() else math.inf


def test_no_sweep_is_answered_with_a_rate_at_which_its_loss_explodes():
    """In most of them the loss falls back from a spike, which is no descent."""
    spikes = answers = 0
    for sweep in sweeps():
        spikes += explosion(sweep) < sweep.lr[-1]
        try:
            assert sweep.suggest().lr < explosion(sweep)
        except NoSuggestionError:
            continue
        answers += 1
    assert spikes > 300
    assert answers > 350


def test_noise_is_refused_or_has_no_high_confidence():
    refused = 0
    for sweep in sweeps(NOISE):
        try:
            assert sweep.suggest().confidence is not Confidence.HIGH
        except NoSuggestionError:
            refused += 1
    assert refused > 20  # of 24


def test_recommend_refuses_what_no_trial_learns():
    played = [Simulation(recording) for _, _, recording in recordings(LAB, NOISE[1:])]
    assert [recommended(simulation) for simulation in played] == [None] * 3


def searched(recording, start_lr):
    search = Search(
        train_in(Simulation(recording)),
        recording.sweeps[50][:20].tolist(),
        budget=250,
        lr_range=SWEEP_RANGE,
        law=LengthLaw(0.4, 0.2),
    )
    search.run(start_lr)
    return search.best_lr


def test_a_search_that_starts_a_decade_too_high_comes_down_to_the_best_rate():
    """The oracle is the loss of every recorded rate after as many steps as a trial has."""
    away = []
    for _, _, recording in recordings(LAB, [name for name in DEVELOPMENT if name not in NOISE]):
        ends = recording.losses[:, 40:60].mean(axis=1)
        best = 10.0 ** recording.log10_lrs[int(np.nanargmin(ends))]
        away.append(abs(math.log10(searched(recording, 10 * best) / best)))
    assert len(away) == 3 * 36
    assert np.median(away) < math.log10(2)
    assert np.mean(np.array(away) < 0.5) > 0.9
    assert max(away) < 1.05  # a decade, of the spirals in one seed
