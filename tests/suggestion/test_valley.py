"""The rule `valley`, against fastai's function and what it said when these curves were made."""

import numpy as np
import pytest
import torch

from lrfinder import NoSuggestionError
from tests.suggestion.helpers import result

# What fastai 2.8.12 says of the curves of seeds 0 to 5.
GOLDEN = (0.00191791, 0.000911163, 0.00335160, 0.00705480, 0.0376494, 0.00191791)


def curve(seed):
    """A noisy fall and rise of 100 losses, somewhere on the range and of any height."""
    random = np.random.default_rng(seed)
    x = np.linspace(-7, 1, 100)
    fall = 1 / (1 + np.exp(-(x - random.uniform(-4, -1)) / random.uniform(0.1, 0.8)))
    rise = np.expm1(np.clip(3 * (x - random.uniform(-1, 1.5)), 0, 20))
    noise = random.choice([0.001, 0.02, 0.1]) * random.normal(size=100)
    loss = random.uniform(0.3, 5) * (1.2 - fall + rise + noise)
    return np.geomspace(1e-7, 10, 100), np.maximum(loss, 1e-3).astype(np.float32).astype(float)


def fastai_says(lr, losses):
    """Smooth and cut the losses as fastai's recorder and `lr_find` do, and ask its function."""
    schedule = pytest.importorskip("fastai.callback.schedule")
    learner = pytest.importorskip("fastai.learner")
    average, smoothed = learner.AvgSmoothLoss(), []
    lowest = float("inf")
    for loss in losses:
        average.accumulate(type("Learner", (), {"loss": torch.tensor(loss).float(), "yb": ()}))
        smoothed.append(average.value)
        lowest = min(lowest, float(average.value))
        if average.value > 4 * lowest:  # where `LRFinder.after_batch` ends the sweep
            break
    rates = torch.tensor(lr[: len(smoothed)])
    return float(schedule.valley(rates[10:-5], torch.stack(smoothed)[10:-5], len(losses))[0])


@pytest.mark.parametrize("seed", range(6))
def test_the_rule_says_what_fastai_said(seed):
    lr, losses = curve(seed)
    assert result(losses, lr).suggest("valley").lr == pytest.approx(GOLDEN[seed], rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_the_installed_fastai_still_says_so(seed):
    assert fastai_says(*curve(seed)) == pytest.approx(GOLDEN[seed], rel=1e-5)


def test_a_curve_that_is_too_short_for_fastai_is_refused():
    with pytest.raises(NoSuggestionError):
        result(np.linspace(2, 1, 12)).suggest("valley")
