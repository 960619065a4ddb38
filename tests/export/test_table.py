"""CSV and frames, read back by somebody else's reader."""

from __future__ import annotations

import csv
import math
import sys

import pytest

from lrfinder import MissingExtraError, RangeTestResult, StopReason
from tests.plotting.helpers import falling

FULL = RangeTestResult(
    lr=(0.1, 0.2, 0.3),
    loss=(1.0, 1 / 3, math.inf),
    step_mode="linear",
    smooth_f=0.5,
    stop_reason=StopReason.NON_FINITE,
    group_lrs=((0.1, 0.2, 0.3), (0.01, 0.02, 0.03)),
    val_steps=(0, 2),
    val_loss=(2.0, math.nan),
    metrics={"accuracy": (0.5, 0.75, 0.1), "lr": (7.0, 8.0, 9.0)},
    repeats=((1.0, 0.0, 1.0), (1.0, 2 / 3, math.inf)),
)


def test_csv_has_a_row_per_step_and_keeps_every_digit(tmp_path):
    FULL.to_csv(tmp_path / "curve.csv")
    with (tmp_path / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in rows] == [0.1, 0.2, 0.3]
    assert [float(row["loss"]) for row in rows] == [1.0, 1 / 3, math.inf]
    assert [float(row["smoothed_loss"]) for row in rows] == [1.0, 2 / 3, math.inf]
    assert [row["val_loss"] for row in rows] == ["2.0", "", "nan"]
    assert [float(row["lr_group_1"]) for row in rows] == [0.01, 0.02, 0.03]
    assert [float(row["loss_sweep_1"]) for row in rows] == [1.0, 2 / 3, math.inf]
    assert [float(row["accuracy"]) for row in rows] == [0.5, 0.75, 0.1]
    assert [float(row["metric_lr"]) for row in rows] == [7.0, 8.0, 9.0]


def test_columns_that_say_nothing_new_are_left_out(tmp_path):
    sweep = falling(group_lrs=(falling().lr,))
    sweep.to_csv(tmp_path / "curve.csv")
    header = (tmp_path / "curve.csv").read_text().splitlines()[0]
    assert header == "lr,loss,smoothed_loss"


def test_a_failed_write_leaves_the_old_csv(tmp_path, monkeypatch):
    path = tmp_path / "curve.csv"
    FULL.to_csv(path)
    before = path.read_text()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        falling().to_csv(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_frame_equals_what_pandas_reads_from_the_csv(tmp_path):
    pandas = pytest.importorskip("pandas")
    FULL.to_csv(tmp_path / "curve.csv")
    read = pandas.read_csv(tmp_path / "curve.csv", dtype=float)
    pandas.testing.assert_frame_equal(FULL.to_frame(), read, rtol=1e-15)


def test_without_pandas_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"lrfinder\[pandas\]"):
        falling().to_frame()
