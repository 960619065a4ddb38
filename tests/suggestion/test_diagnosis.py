"""Each diagnosis on a curve that was constructed to have it."""

from dataclasses import replace

import numpy as np
import pytest

from lrfinder import NoSuggestionError, StopReason
from lrfinder.suggestion import Confidence, Diagnosis
from tests.suggestion.helpers import logistic, result


def found(curve):
    return {finding.diagnosis for finding in curve.diagnose()}


def test_a_good_curve_has_no_finding_and_high_confidence():
    good = result(logistic(noise=0.01, explode_at=1e-2), stop=StopReason.DIVERGED)
    assert found(good) == set()
    assert good.suggest().confidence is Confidence.HIGH


CURVES = {
    Diagnosis.NO_DESCENT: result(np.full(100, 2.3)),
    Diagnosis.FALLS_FROM_THE_START: result(np.geomspace(3, 0.1, 100)),
    Diagnosis.MINIMUM_AT_THE_END: result(logistic(centre=1.0, explode_at=100)),
    Diagnosis.NEVER_DIVERGED: result(
        np.where(np.arange(100) > 80, 0.31, logistic(centre=1e-4, explode_at=100))
    ),
    Diagnosis.FEW_STEPS: result(np.r_[np.full(60, 2.3), np.full(15, 0.3), np.full(5, 40.0)]),
    Diagnosis.NOISY: result(logistic(300, noise=0.9, explode_at=3, seed=1)),
    Diagnosis.NON_FINITE: result(np.r_[logistic()[:85], np.nan], stop=StopReason.NON_FINITE),
    Diagnosis.OUT_OF_DATA: result(logistic()[:70], stop=StopReason.OUT_OF_DATA),
}


@pytest.mark.parametrize("diagnosis", CURVES)
def test_each_diagnosis_is_found_on_a_curve_that_has_it(diagnosis):
    assert diagnosis in found(CURVES[diagnosis])


@pytest.mark.parametrize("diagnosis", CURVES)
def test_each_finding_says_what_it_means_and_what_to_do(diagnosis):
    finding = next(f for f in CURVES[diagnosis].diagnose() if f.diagnosis is diagnosis)
    assert finding.diagnosis.sentence.endswith(".")
    assert finding.advice.endswith(".")
    assert str(finding) == f"{diagnosis.sentence} {finding.advice}"


def test_the_advice_against_noise_follows_the_square_root_law():
    """Four times the samples halve the noise: what is advised must bring it under the limit."""
    noisy = CURVES[Diagnosis.NOISY]
    advice = next(f.advice for f in noisy.diagnose() if f.diagnosis is Diagnosis.NOISY)
    times = int(advice.split()[1])
    noise = 0.9 / np.sqrt(times)
    quieter = [result(logistic(300, noise=noise, explode_at=3, seed=k)) for k in range(10)]
    assert sum(Diagnosis.NOISY in found(curve) for curve in quieter) <= 6


def test_doubtful_findings_lower_the_confidence():
    suggestion = CURVES[Diagnosis.MINIMUM_AT_THE_END].suggest()
    assert suggestion.confidence is not Confidence.HIGH
    assert Diagnosis.MINIMUM_AT_THE_END in {f.diagnosis for f in suggestion.findings}


def test_rules_that_disagree_lower_the_confidence():
    from lrfinder.suggestion._diagnosis import confidence

    assert confidence([], [1e-3, 2e-3]) is Confidence.HIGH
    assert confidence([], [1e-3, 1e-2]) is Confidence.MEDIUM
    assert confidence([], [1e-3, 1e-1]) is Confidence.LOW


def falling_until(end):
    """The losses of a sweep that breaks down at the lowest point of its fall."""
    return np.r_[np.full(40, 2.3), np.linspace(2.3, 0.5, 20), end]


def no_suggestion(curve, **options):
    with pytest.raises(NoSuggestionError) as raised:
        curve.suggest(**options)
    return str(raised.value)


def test_where_the_fall_ends_in_a_breakdown_a_higher_end_is_not_advised():
    for curve in (
        result(falling_until(np.nan), stop=StopReason.NON_FINITE),
        result(falling_until(np.full(40, np.inf))),
    ):
        assert "end_lr" not in " ".join(finding.advice for finding in curve.diagnose())
        message = no_suggestion(curve)
        assert "end_lr" not in message
        assert "raise num_iter" in message


def test_where_no_loss_is_finite_no_rate_is_blamed():
    broken = result([np.nan], [1e-7], stop=StopReason.NON_FINITE)
    assert "check the batches, the loss and the precision" in no_suggestion(broken)
    assert found(broken) == {Diagnosis.NO_DESCENT}
    assert "check the batches" in broken.diagnose()[0].advice


def test_a_validation_that_ran_too_seldom_is_to_run_more_often():
    steps = range(0, 100, 25)
    curve = result(logistic())
    curve = replace(
        curve, val_steps=tuple(steps), val_loss=tuple(curve.loss[step] for step in steps)
    )
    assert "lower val_every" in no_suggestion(curve)


def test_a_metric_that_may_have_to_be_maximized_says_so():
    curve = replace(result(logistic()), metrics={"accuracy": tuple(-logistic())})
    assert "pass maximize=True" in no_suggestion(curve, on="accuracy")
    suggestion = curve.suggest(on="accuracy", maximize=True)
    assert suggestion.lr == curve.suggest().lr
    assert suggestion.why.endswith("(of minus accuracy)")


def test_what_an_optimizer_maximizes_is_read_as_minus_the_loss():
    curve = result(logistic())
    turned = replace(curve, loss=tuple(-loss for loss in curve.loss), maximize=True)
    assert turned.suggest().lr == curve.suggest().lr
    assert turned.suggest().why == f"{curve.suggest().why} (of minus the loss)"
