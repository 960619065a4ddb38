"""`lrfinder plot`."""

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from lrfinder import RangeTestResult, StopReason


@pytest.fixture
def saved(tmp_path):
    """A file with a curve that falls and then explodes."""
    lr = np.geomspace(1e-5, 1.0, 60)
    result = RangeTestResult(
        lr=tuple(lr),
        loss=tuple(2.3 - 2 / (1 + (1e-3 / lr) ** 2) + (lr / 0.3) ** 4),
        step_mode="exp",
        smooth_f=0.05,
        stop_reason=StopReason.COMPLETED,
    )
    result.save(tmp_path / "sweep.json")
    return tmp_path / "sweep.json"


def test_the_picture_lies_beside_the_result_unless_told_otherwise(command, saved, tmp_path):
    status, out, _ = command("plot", saved)
    assert status == 0
    assert out == f"Files: {tmp_path / 'sweep.png'}\n"
    with Image.open(tmp_path / "sweep.png") as picture:
        assert picture.format == "PNG"


def test_the_suffix_chooses_the_format(command, saved, tmp_path):
    assert command("plot", saved, "--output", tmp_path / "curve.svg").status == 0
    assert ElementTree.parse(tmp_path / "curve.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("name", ["curve.docx", "curve"])
def test_a_format_that_cannot_be_written_is_wrong_usage(command, saved, tmp_path, name):
    status, out, err = command("plot", saved, "--output", tmp_path / name)
    assert (status, out) == (2, "")
    assert "png" in err.splitlines()[-1]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "another"}'])
def test_a_file_that_is_no_result_fails_in_one_line(command, write, text):
    status, out, err = command("plot", write("wrong.json", text))
    assert (status, out) == (1, "")
    assert err.startswith("lrfinder: error: ")
    assert "wrong.json" in err
    assert err.count("\n") == 1


def test_a_file_that_is_not_there_fails_in_one_line(command, tmp_path):
    status, out, err = command("plot", tmp_path / "nowhere.json")
    assert (status, out) == (1, "")
    assert err == (
        f"lrfinder: error: could not read {tmp_path / 'nowhere.json'}: No such file or directory\n"
    )


def test_a_picture_that_cannot_be_written_fails_in_one_line(command, saved, tmp_path):
    status, out, err = command("plot", saved, "--output", tmp_path / "nowhere" / "curve.png")
    assert (status, out) == (1, "")
    assert err.startswith("lrfinder: error: could not write ")
    assert err.count("\n") == 1


def test_a_link_to_nowhere_is_found_before_the_picture_is_drawn(command, saved, tmp_path):
    link = tmp_path / "curve.png"
    link.symlink_to(tmp_path / "nowhere" / "curve.png")
    status, _, err = command("plot", saved, "--output", link)
    assert status == 1
    assert f"there is no directory {tmp_path / 'nowhere'}" in err


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_directory_is_not_a_result(command, name):
    status, out, err = command("plot", name)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"lrfinder plot: error: {name} is a directory")


def test_a_directory_is_not_a_picture(command, saved, tmp_path):
    status, out, err = command("plot", saved, "--output", tmp_path)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"lrfinder plot: error: {tmp_path} is a directory")


@pytest.mark.parametrize("link", [False, True])
def test_a_picture_never_overwrites_a_result(command, saved, tmp_path, link):
    """Whether the result itself has the name of its picture, or another result has."""
    result = tmp_path / "sweep.png"
    result.symlink_to(saved) if link else saved.rename(result)
    before = result.read_bytes()
    for arguments in ((result,), (tmp_path / "other.json", "--output", result)):
        status, out, err = command("plot", *arguments)
        assert (status, out) == (2, "")
        assert "holds a saved result" in err.splitlines()[-1]
    assert result.read_bytes() == before
