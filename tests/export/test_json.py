"""Results as files: what was saved is what is loaded, and nothing else is taken for a result."""

import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder import RangeTestResult, Recommendation, ResultFileError, StopReason
from lrfinder._recommend.trial import Trial

any_float = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def results(draw):
    n = draw(st.integers(0, 8))
    column = st.lists(any_float, min_size=n, max_size=n).map(tuple)
    rates = st.lists(st.floats(0, 1e3), min_size=n, max_size=n).map(tuple)
    val_steps = tuple(draw(st.lists(st.integers(0, n - 1), max_size=n))) if n else ()
    return RangeTestResult(
        lr=tuple(sorted(draw(st.sets(st.floats(1e-12, 1e3), min_size=n, max_size=n)))),
        loss=draw(column),
        step_mode=draw(st.sampled_from(["exp", "linear"])),
        smooth_f=draw(st.floats(0, 0.99)),
        stop_reason=draw(st.sampled_from(StopReason)),
        group_lrs=tuple(draw(st.lists(rates, max_size=2))),
        val_steps=val_steps,
        val_loss=tuple(draw(any_float) for _ in val_steps),
        metrics=draw(st.dictionaries(st.text(max_size=5), column, max_size=2)),
        repeats=tuple(draw(st.lists(column, max_size=2))),
        batch_size=draw(st.none() | st.integers(1, 4096)),
        val_repeats=tuple(
            tuple(draw(any_float) for _ in val_steps) for _ in range(draw(st.integers(0, 2)))
        ),
    )


def same(one, other):
    """Equal to the last bit, where NaN equals NaN and minus zero is not zero."""
    return repr(one) == repr(other)


@given(results())
def test_a_result_comes_back_to_the_last_bit(tmp_path_factory, result):
    path = tmp_path_factory.mktemp("result") / "result.json"
    result.save(path)
    assert same(RangeTestResult.load(path), result)


@given(results())
def test_the_file_is_strict_json(tmp_path_factory, result):
    path = tmp_path_factory.mktemp("result") / "result.json"
    result.save(path)

    def no_constant(name):
        raise AssertionError(f"{name} is not JSON")

    json.loads(path.read_text(), parse_constant=no_constant)


def test_a_recommendation_comes_back_with_a_trial_that_was_not_finite(tmp_path, result):
    trials = Trial(1e-2, 1.0, (2.0, 1.0)), Trial(1e-1, math.inf, (2.0, math.nan, math.inf))
    bounds = {"min_lr": 1e-3, "max_lr": 3e-2, "lrs": (1e-2,), "interval": (5e-3, 2e-2)}
    found = Recommendation(
        lr=1e-2,
        method="recommend",
        why="",
        best_trial_lr=1e-2,
        total_steps=None,
        result=result,
        probes=(),
        trials=trials,
        **bounds,
    )
    found.save(tmp_path / "found.json")
    assert same(Recommendation.load(tmp_path / "found.json").trials, trials)


@pytest.fixture
def result():
    return RangeTestResult(
        lr=(1e-3, 1e-2, 1e-1),
        loss=(1.0, math.inf, math.nan),
        step_mode="exp",
        smooth_f=0.05,
        stop_reason=StopReason.NON_FINITE,
    )


@pytest.fixture
def saved(result, tmp_path):
    path = tmp_path / "result.json"
    result.save(path)
    return path


def test_every_field_is_in_the_file(saved, result):
    fields = {field.name for field in dataclasses.fields(result)}
    assert fields <= json.loads(saved.read_text()).keys()


def refused(path, match):
    with pytest.raises(ResultFileError, match=match):
        RangeTestResult.load(path)


def test_a_file_that_was_cut_short_anywhere_is_refused(saved):
    text = saved.read_text().rstrip()
    for length in range(len(text)):
        saved.write_text(text[:length])
        refused(saved, "is not a complete JSON file .* run the range test again")


def test_a_file_of_another_format_version_is_refused(saved):
    saved.write_text(json.dumps(json.loads(saved.read_text()) | {"version": 999}))
    refused(saved, "has format version 999, .*; read it with the lrfinder that wrote")


@pytest.mark.parametrize("content", ["{}", "[]", "3", '"lr"', '{"lr": [0.1], "loss": [1.0]}'])
def test_json_that_is_not_ours_is_refused(saved, content):
    saved.write_text(content)
    refused(saved, "was not written by RangeTestResult.save")


def test_a_recommendation_is_refused_with_what_reads_it(saved):
    saved.write_text('{"format": "lrfinder.Recommendation", "version": 1}')
    refused(saved, "was not written by .*; read it with lrfinder.Recommendation.load")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\x00\xff", b"lr,loss\n0.1,1.0\n"])
def test_a_file_that_is_no_json_is_refused(saved, content):
    saved.write_bytes(content)
    refused(saved, "is not a complete JSON file")


@pytest.mark.parametrize(
    "change",
    [
        {"lr": None},
        {"lr": [1e-3, 1e-3, 1e-1]},
        {"lr": [1e-3, 1e-2, -1.0]},
        {"lr": [1e-3, 1e-2, "inf"]},
        {"lr": [1e-3, 1e-2, 10**400]},
        {"lr": "0.1"},
        {"loss": [1.0, "large", 2.0]},
        {"loss": [1.0]},
        {"metrics": []},
        {"metrics": {"accuracy": [1.0]}},
        {"stop_reason": "tired"},
        {"step_mode": "cosine"},
        {"smooth_f": None},
        {"smooth_f": 5.0},
        {"group_lrs": [[1e-3, 1e-2, -1e-1]]},
        {"group_lrs": [[1e-3, 1e-2, "nan"]]},
        {"val_steps": [7], "val_loss": [1.0]},
        {"val_steps": [0], "val_loss": []},
        {"group_lrs": [[0.1]]},
        {"batch_size": "many"},
    ],
)
def test_a_field_that_cannot_be_is_refused(saved, change):
    saved.write_text(json.dumps(json.loads(saved.read_text()) | change))
    refused(saved, "is not a complete result .*; run the range test again")


@pytest.mark.parametrize("field", ["lr", "loss", "stop_reason", "metrics", "val_steps"])
def test_a_field_that_is_missing_is_refused(saved, field):
    content = json.loads(saved.read_text())
    del content[field]
    saved.write_text(json.dumps(content))
    refused(saved, f"is not a complete result .KeyError: '{field}'")


def test_a_file_that_is_not_there_is_a_plain_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        RangeTestResult.load(tmp_path / "nothing.json")


def test_saving_replaces_the_file_as_a_whole_or_not_at_all(saved, result, monkeypatch):
    before = saved.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        dataclasses.replace(result, smooth_f=0.5).save(saved)
    assert saved.read_text() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_deep_nesting_is_our_error(saved):
    saved.write_text("[" * 100_000)
    refused(saved, "is not a complete JSON file")


def test_saving_keeps_the_mode_of_the_file_that_it_replaces(saved, result):
    saved.chmod(0o640)
    result.save(saved)
    assert saved.stat().st_mode & 0o777 == 0o640


def test_saving_to_a_link_writes_the_file_that_it_leads_to(saved, result):
    link = saved.with_name("latest.json")
    link.symlink_to(saved)
    dataclasses.replace(result, smooth_f=0.5).save(link)
    assert link.is_symlink()
    assert type(result).load(saved).smooth_f == 0.5


def test_standard_output_is_written_to_and_not_replaced(tmp_path):
    """Standard output leads to the file that it is redirected to."""
    code = (
        "from lrfinder import RangeTestResult, StopReason\n"
        "result = RangeTestResult((0.1, 0.2), (1.0, 2.0), 'exp', 0.05, StopReason.COMPLETED)\n"
        "print('before', flush=True); result.to_csv('/dev/stdout'); print('after')"
    )
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    first, *table, last = output.read_text().splitlines()
    assert (first, last) == ("before", "after")
    assert len(table) == 3


def test_a_pipe_is_written_to_and_not_replaced(tmp_path, result):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    result.save(pipe)
    written = os.read(reader, 100_000)
    os.close(reader)
    assert json.loads(written)["lr"] == list(result.lr)
    assert pipe.is_fifo()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="has no /dev/shm")
def test_a_file_in_shared_memory_is_replaced(result):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        for _ in range(2):
            result.save(f"{directory}/result.json")
        assert same(RangeTestResult.load(f"{directory}/result.json"), result)


def test_an_error_names_the_file_that_was_asked_for(tmp_path, result):
    path = tmp_path / "nowhere" / "result.json"
    with pytest.raises(FileNotFoundError) as caught:
        result.save(path)
    assert caught.value.filename == str(path)


def test_results_can_be_kept_in_a_set(result):
    other = dataclasses.replace(result, metrics={"accuracy": (0.1, 0.2, 0.3)})
    assert len({result, other, dataclasses.replace(result)}) == 2
