"""CSV, frames and TensorBoard, each read back by somebody else's reader."""

from __future__ import annotations

import csv
import math
import sys

import pytest

from lrfinder import MissingExtraError, RangeTestResult, StopReason
from tests.plotting.helpers import exploding, falling, rising

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


@pytest.fixture
def read_back(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def write_and_read(sweep, **options):
        with tensorboard.SummaryWriter(tmp_path) as writer:
            sweep.to_tensorboard(writer, **options)
        assert all(path.is_file() for path in tmp_path.iterdir())  # one run, not several
        accumulator = events.EventAccumulator(str(tmp_path), {"scalars": 0, "images": 0})
        return accumulator.Reload()

    return write_and_read


def test_tensorboard_gets_every_step(read_back):
    sweep = falling(val_steps=(0, 50), val_loss=(2.5, 1.5))
    read = read_back(sweep)
    for tag, expected in (("lr", sweep.lr), ("loss", sweep.loss)):
        values = [event.value for event in read.Scalars(f"lr_finder/{tag}")]
        assert values == pytest.approx(expected)
    validation = read.Scalars("lr_finder/val_loss")
    assert [(event.step, event.value) for event in validation] == [(0, 2.5), (50, 1.5)]


def test_tensorboard_gets_the_picture_under_the_tag(read_back):
    (picture,) = read_back(exploding(), tag="before").Images("before/curve")
    assert picture.encoded_image_string.startswith(b"\x89PNG")


def test_tensorboard_gets_the_suggestion_as_a_hyper_parameter(read_back):
    sweep = falling()
    read = read_back(sweep)
    plugin = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    content = read.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    values = plugin.HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["lr"].number_value == sweep.suggest().lr
    assert values["lr_method"].string_value == "steepest"


def test_tensorboard_takes_a_curve_without_a_suggestion(read_back):
    read = read_back(rising())
    assert read.Images("lr_finder/curve")
    assert "_hparams_/session_start_info" not in read.summary_metadata
