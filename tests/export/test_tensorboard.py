"""What TensorBoard reads of a result."""

from __future__ import annotations

import pytest

from tests.plotting.helpers import exploding, falling, rising


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
