"""What is measured becomes the numbers of a page, and the page says how they were measured."""

import json
from types import SimpleNamespace

import pytest

from tests.benchmarks import footprint, turns, validation_cost
from tests.benchmarks.cost import page
from tests.benchmarks.workloads import TIMED, tiny, verdict

NAMES = ["lrfinder", "lrfinder, recommend", "ignite"]


def found(**changes):
    """What a measurement of two launches has found."""
    times = {name: {"clock": [1.0, 1.04], "processor": [1.0, 1.1]} for name in NAMES}
    return {
        "date": "2026-01-01",
        "machine": "a machine",
        "versions": {"torch": "2.0"},
        "rounds": 3,
        "launches": 2,
        "times": dict.fromkeys(TIMED, times),
        "memory": {"lrfinder": 1.0, "lrfinder, on disk": 0.02, "ignite": 1.0},
        "import": {"lrfinder": [1.06, 1.08, 1.12], "ignite": [1.3, 1.4, 1.5]},
        "reads": {"lrfinder": 0.0, "ignite": 1.0},
    } | changes


def cells(text, first):
    """The cells of the rows that begin with a cell."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return [row[1:] for row in rows if row and row[0] == first]


def test_the_page_has_the_median_and_the_range_of_the_launches():
    times, others = cells(page(found()), "lrfinder")
    assert times == ["**1.020** (1.000 to 1.040)"] * len(TIMED)
    assert others == ["1.00", "**1.08** (1.06 to 1.12)", "0.00"]
    assert cells(page(found()), "lrfinder, on disk") == [["0.02", "**1.08** (1.06 to 1.12)", ""]]


def test_the_page_tells_the_command_that_made_it():
    assert "`python -m tests.benchmarks.cost --rounds 3 --launches 2`" in page(found())


def test_the_page_can_be_made_again_from_the_file_beside_it():
    assert page(json.loads(json.dumps(found()))) == page(found())


def test_a_target_within_the_range_is_undecided():
    mlp, lenet = (
        cells(page(found()), f"{name} steps: range test / bare loop")[0]
        for name in ("MLP, Adam, 300", "LeNet, Adam, 100")
    )
    assert mlp == ["**1.020** (1.000 to 1.040)", "1.05", "met"]
    assert lenet == ["**1.020** (1.000 to 1.040)", "1.01", "undecided"]
    (reads,) = cells(page(found(reads={"lrfinder": 1.0})), "reads in each step")
    assert reads == ["**1.000**", "0", "missed"]


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ([0.9, 1.0], "met"),
        ([0.9, 1.1], "undecided"),
        ([1.1, 1.2], "missed"),
        ([1.0], "met"),
    ],
)
def test_a_verdict_is_given_where_all_measurements_agree(values, answer):
    assert verdict(values, 1.0) == answer


def test_the_turns_of_a_process_are_ratios_to_the_bare_loop(monkeypatch):
    monkeypatch.setitem(TIMED, "short", lambda: tiny(steps=5))
    pairs = turns._pairs("short", "lrfinder", rounds=3)
    assert len(pairs) == 3
    assert all(clock > 0 and processor > 0 for clock, processor in pairs)


def test_each_process_counts_with_its_median(monkeypatch):
    answers = iter(["[[1, 2], [3, 4], [80, 90]]", "[[5, 6]]"])
    answer = lambda *_, **__: SimpleNamespace(stdout=next(answers))  # noqa: E731
    monkeypatch.setattr(turns.subprocess, "run", answer)
    assert turns.medians("short", "lrfinder", 3, launches=2) == [(3, 4), (5, 6)]


def test_validation_takes_turns_with_training_alone(monkeypatch):
    loaders = []

    def seconds(_, *each):
        loaders.append(len(each))
        return float(len(each))

    monkeypatch.setattr(validation_cost, "seconds", seconds)
    assert validation_cost.ratio("a task", None, [], []) == 2
    assert loaders[1:9] == [1, 2, 2, 1, 1, 2, 2, 1]


@pytest.mark.parametrize(
    ("name", "reads"),
    [("lrfinder", 0), ("torch-lr-finder", 1), ("ignite", 1), ("fastai", 2), ("Lightning", 1)],
)
def test_the_reads_of_a_step_are_counted(name, reads):
    """Were the reader of an accelerator not in place, ours would read once as well."""
    pytest.importorskip(footprint.PACKAGES[name][1].split(".")[0])
    assert footprint._reads(name) == reads


def test_the_reader_is_not_replaced_under_a_name_that_nothing_has(monkeypatch):
    monkeypatch.delattr("lrfinder._sweep.communicator.reader_for")
    with pytest.raises(AttributeError, match="reader_for"):
        footprint._reads("lrfinder")


def test_memory_is_counted_in_sizes_of_the_model(monkeypatch):
    size = sum(p.numel() * p.element_size() for p in tiny().model.parameters())
    monkeypatch.setattr(footprint, "large", tiny)
    monkeypatch.setattr(
        footprint, "_child", lambda *call: str({"run": 5 * size, "bare": 2 * size}[call[-1]])
    )
    memory = footprint.memory()
    assert memory["lrfinder"] == memory["lrfinder, on disk"] == 3


def test_imports_are_compared_within_a_round_after_the_first(monkeypatch):
    seconds = iter([9.0, 99.0, 2.0, 3.0, 4.0, 5.0])  # of torch and of ours
    monkeypatch.setattr(footprint, "installed", lambda: ["lrfinder", "lrfinder, on disk"])
    monkeypatch.setattr(footprint, "_python", lambda *_: str(next(seconds)))
    assert footprint.imports(rounds=2) == {"lrfinder": [1.5, 1.25]}
