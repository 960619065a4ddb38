"""The rules of other libraries, against those libraries."""

import importlib.util
import json

import numpy as np
import pytest

from lrfinder import NoSuggestionError, RangeTestResult
from lrfinder.suggestion import METHODS
from lrfinder.suggestion.peers import PEER_RULES
from tests.suggestion.helpers import result
from tests.suggestion.peers_replayed import EXPECTED, FOLDER, LIBRARIES, constructed

RECORDED = json.loads(EXPECTED.read_text())
every_rule = pytest.mark.parametrize("rule", PEER_RULES)


def says(rule, lr, losses):
    package, library = LIBRARIES[rule]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    return library(lr, losses)


@every_rule
@pytest.mark.parametrize("task", RECORDED)
def test_a_recorded_curve_gives_what_the_library_gave(task, rule):
    suggestion = RangeTestResult.load(FOLDER / f"{task}.json").suggest(rule)
    assert suggestion.lr == pytest.approx(RECORDED[task][rule], rel=1e-5)
    assert suggestion.max_lr == suggestion.lr


@every_rule
@pytest.mark.parametrize("seed", range(6))
def test_the_installed_library_says_the_same_of_the_same_losses(rule, seed):
    lr, losses = constructed(seed)
    assert result(losses, lr).suggest(rule).lr == pytest.approx(says(rule, lr, losses), rel=1e-5)


@every_rule
def test_the_stored_expectation_is_still_what_the_installed_library_says(rule):
    task = next(iter(RECORDED))
    curve = RangeTestResult.load(FOLDER / f"{task}.json").curve()
    assert says(rule, curve.lr, curve.loss) == pytest.approx(RECORDED[task][rule], rel=1e-6)


@every_rule
def test_a_curve_that_is_too_short_for_the_library_is_refused(rule):
    with pytest.raises(NoSuggestionError, match="expected at least"):
        result(np.ones(2), [1e-3, 1e-2]).suggest(rule)


def test_every_rule_of_another_library_can_be_asked_for_by_name():
    assert PEER_RULES.items() <= METHODS.items()
