"""Each peer's real library names a rate for a real, tiny problem."""

import importlib

import pytest

from lrfinder.benchmark._finders import FINDERS
from tests.benchmark.benchmark_tasks import LINE

PEERS = [finder for finder in FINDERS if finder.package != "lrfinder"]


@pytest.mark.parametrize("finder", PEERS, ids=lambda finder: finder.package)
def test_a_peer_names_a_rate_within_its_range_after_a_sweep_of_its_own(finder):
    pytest.importorskip(finder.package)
    importlib.import_module("matplotlib").use("agg")
    for name, answer in finder.answers(LINE.problem(0), 4).items():
        assert answer.refusal == ""
        assert 1e-8 <= answer.lr <= 10, name
        assert answer.max_lr == answer.lr
        assert 20 <= answer.steps <= 101  # they stop early only where the loss explodes


def test_every_name_in_the_report_belongs_to_one_finder():
    names = [name for finder in FINDERS for name in finder.names]
    assert len(names) == len(set(names))
