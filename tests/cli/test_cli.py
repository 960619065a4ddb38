"""What holds for the command line as a whole."""

import subprocess
import sys

import pytest

import lrfinder


def test_the_version_is_that_of_the_package(command):
    assert command("--version") == (0, f"lrfinder {lrfinder.__version__}\n", "")


def test_the_help_names_every_command_and_shows_examples(command):
    status, out, _ = command("--help")
    assert status == 0
    for name in ("demo", "run", "plot"):
        assert f"\n    {name}" in out
    assert "examples:" in out


@pytest.mark.parametrize("name", ["demo", "run", "plot"])
def test_every_option_of_a_command_is_explained_with_its_default(command, name):
    status, out, _ = command(name, "--help")
    assert status == 0
    assert f"lrfinder {name} " in out.partition("examples:")[2]
    for option in out.partition("options:")[2].partition("examples:")[0].split("\n  --")[1:]:
        assert "(default:" in option, option


@pytest.mark.parametrize(
    "argv", [(), ("train",), ("demo", "--dataset", "imagenet"), ("run",), ("plot",)]
)
def test_wrong_usage_ends_with_status_2_and_says_so_on_stderr(command, argv):
    status, out, err = command(*argv)
    assert status == 2
    assert out == ""
    assert "error: " in err.splitlines()[-1]


def test_python_m_is_the_same_command_and_an_error_of_the_user_has_its_traceback(tmp_path):
    (tmp_path / "user_script.py").write_text("def setup():\n    raise KeyError('mine')\n")
    done = subprocess.run(
        [sys.executable, "-m", "lrfinder", "run", "user_script.py:setup"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "user_script.py" in done.stderr
    assert done.stderr.splitlines()[-1] == "KeyError: 'mine'"
