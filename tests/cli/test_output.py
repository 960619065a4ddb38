"""What a command prints and where its files go, also when that fails."""

import contextlib
import functools
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from lrfinder import Recommendation
from tests.cli.conftest import SHORT, installed, saved_sweep

TASK = """
    import time
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    inputs = torch.randn(16, 4)
    batches = [(inputs, inputs.sum(1, keepdim=True))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    calls = []

    def setup():
        calls.append(1)
        return model, optimizer, nn.MSELoss(), batches

    def slow():
        def endless():
            while True:
                time.sleep(0.05)
                yield batches[0]
        print("ready", flush=True)
        return model, optimizer, nn.MSELoss(), endless()
"""


@pytest.fixture
def task(write):
    return write("user_task.py", TASK)


@pytest.mark.parametrize("output", ["/proc", "/proc/nowhere"])
def test_a_directory_that_cannot_be_written_to_is_found_before_the_sweep(command, task, output):
    status, out, err = command("run", f"{task}:setup", "--output", output)
    assert (status, out) == (1, "")
    assert err.startswith(f"lrfinder: error: could not write to {output}: ")
    assert err.count("\n") == 1  # no progress bar either


@contextlib.contextmanager
def no_file_larger_than(size):
    """Let no file of this process grow any further, as on a disk with no more room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_directory_is_found_before_the_sweep(command, task):
    with no_file_larger_than(100_000):
        status, out, err = command("run", f"{task}:setup")
    assert (status, out) == (1, "")
    assert err == "lrfinder: error: could not write to .: File too large\n"


@pytest.mark.parametrize("name", ["lr_finder.json", "lr_finder.png"])
def test_a_directory_with_the_name_of_a_file_is_found_before_the_sweep(
    command, task, tmp_path, name
):
    (tmp_path / name).mkdir()
    status, out, err = command("run", f"{task}:setup")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"lrfinder run: error: {name} is a directory")


def test_the_picture_of_a_sweep_never_overwrites_a_result(command, task, tmp_path):
    command("run", f"{task}:setup", *SHORT)
    (tmp_path / "lr_finder.json").rename(tmp_path / "lr_finder.png")
    assert command("run", f"{task}:setup", *SHORT).status == 2
    assert len(saved_sweep(tmp_path / "lr_finder.png")) == 14


def test_the_rate_is_printed_where_the_files_cannot_be_written_after_all(
    command, task, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Recommendation, "save", full)
    status, out, err = command("run", f"{task}:setup")
    assert status == 1
    assert out.startswith("Recommended lr:")
    assert err.splitlines()[-1] == (
        "lrfinder: error: could not write lr_finder.json: No space left on device"
    )


def without_reader():
    """A stream into a pipe whose reader has gone, as in `| head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def test_a_reader_that_goes_is_no_failure_and_loses_nothing(command, task, tmp_path):
    with without_reader() as stdout, contextlib.redirect_stdout(stdout):
        status, _, err = command("run", f"{task}:setup", *SHORT)
    assert status == 0
    assert "error" not in err
    assert (tmp_path / "lr_finder.json").is_file()
    assert (tmp_path / "lr_finder.png").is_file()


def test_the_process_ends_in_peace_when_its_reader_has_gone(tmp_path):
    """Although the interpreter prints at its end what is left in the buffer."""
    with without_reader() as stdout:
        done = subprocess.run(
            installed("--help"),
            check=False, stdout=stdout, stderr=subprocess.PIPE, timeout=120, cwd=tmp_path,
            env=os.environ | {"PYTHONUNBUFFERED": ""},
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


def test_output_that_cannot_be_printed_is_a_failure_but_the_files_are_written(
    command, task, tmp_path
):
    with Path("/dev/full").open("w") as stdout, contextlib.redirect_stdout(stdout):
        status, _, err = command("run", f"{task}:setup", *SHORT)
    assert status == 1
    assert err.splitlines()[-1] == (
        "lrfinder: error: could not print the result: No space left on device"
    )
    assert (tmp_path / "lr_finder.json").is_file()
    assert (tmp_path / "lr_finder.png").is_file()


def test_ctrl_c_ends_with_one_line_and_status_130(task, tmp_path):
    process = subprocess.Popen(
        installed("run", f"{task}:slow", "--sweep-only"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        # Where these tests run in the background, Ctrl-C is ignored, and children inherit that.
        preexec_fn=functools.partial(  # noqa: PLW1509 - no thread runs here
            signal.signal, signal.SIGINT, signal.SIG_DFL
        ),
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "lrfinder: interrupted"
    assert "Traceback" not in err
    assert not (tmp_path / "lr_finder.json").exists()


def test_a_wrong_backend_is_no_obstacle_and_plot_draws_what_run_has_drawn(task, tmp_path):
    """Each in a process of its own, because the backend is read where matplotlib is imported."""
    code = """
        import os, sys
        from lrfinder.cli import main
        if os.fork() == 0:
            sys.exit(main(["run", "user_task.py:setup"]))
        os.wait()
        sys.exit(main(["plot", "lr_finder.json", "--output", "again.png"]))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        check=False, capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "nonsense"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "lr_finder.png").read_bytes()


def test_a_script_shadows_no_module_that_is_imported_later(command, write, tmp_path):
    write("random.py", "raise AssertionError('random.py shadows the standard library')")
    write("user_neighbour.py", TASK)
    write("tqdm.py", "import random\nfrom user_neighbour import setup\n")
    done = command.process("run", "tqdm.py:setup", *SHORT)
    assert done.returncode == 0, done.stderr
    assert len(saved_sweep(tmp_path / "lr_finder.json")) == 14


@pytest.mark.parametrize("name", ["json", "lrfinder"])
def test_a_script_shadows_no_module_that_is_imported_already(command, write, tmp_path, name):
    before = sys.modules[name]
    write("user_neighbour.py", TASK)
    write(f"{name}.py", "import json\nfrom user_neighbour import setup\nassert json.dumps(1)\n")
    assert command("run", f"{name}.py:setup", *SHORT).status == 0
    assert sys.modules[name] is before
    assert len(saved_sweep(tmp_path / "lr_finder.json")) == 14


def test_a_script_that_reads_options_does_not_read_those_of_the_command(command, write):
    write(
        "user_options.py",
        """
        import argparse
        from user_task import setup
        print("epochs:", argparse.ArgumentParser().parse_args())
        """,
    )
    write("user_task.py", TASK)
    status, out, _ = command("run", "user_options.py:setup", *SHORT)
    assert out.startswith("epochs: Namespace()\n")
    assert status == 0
