"""Where a snapshot is kept: nothing is left there, what does not fit is refused in time."""

import errno
import gc
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lrfinder import InvalidInputError, LRFinder, SnapshotError
from lrfinder._snapshot.snapshot import Snapshot
from tests.snapshot.helpers import bits

DATA = [(torch.randn(4, 6), torch.zeros(4, 2))] * 3


class Boom(Exception):
    """Raised on purpose."""


class Training:
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.steps = 0

    def range_test(self, snapshot: Any, **options: Any) -> Any:
        finder = LRFinder(self.model, self.optimizer, nn.MSELoss(), snapshot=snapshot)
        self.model.register_forward_pre_hook(self._count)
        return finder.range_test(DATA, num_iter=5, progress=False, **options)

    def _count(self, *_: Any) -> None:
        self.steps += 1

    def witness(self) -> Any:
        state = [self.model.state_dict(), self.optimizer.state_dict()["param_groups"]]
        return bits([*state, dict(self.optimizer.state), [p.grad for p in self.model.parameters()]])


@pytest.fixture
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that takes the place of the system's temporary one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_default_device_of_torch_is_not_that_of_the_copies() -> None:
    training = Training()
    # Adam would make its counters of steps there.
    training.optimizer = torch.optim.SGD(training.model.parameters(), lr=0.1)
    before = training.witness()
    with torch.device("meta"):  # a stand-in for an accelerator
        training.range_test("disk")
    assert training.steps == 5
    assert training.witness() == before


@pytest.fixture(params=["disk", "path"])
def where(request: pytest.FixtureRequest, own_tmp: Path) -> Any:
    return "disk" if request.param == "disk" else own_tmp


def files_below(directory: Path) -> list[Path]:
    return list(directory.rglob("*"))


def open_files_below(directory: Path) -> list[str]:
    handles = Path("/proc/self/fd")
    if not handles.exists():
        pytest.skip("cannot list open files on this system")
    links = [handle.readlink() for handle in handles.iterdir() if os.path.lexists(handle)]
    return [str(link) for link in links if str(link).startswith(str(directory))]


def test_while_it_runs_the_copies_are_in_that_directory(where: Any, own_tmp: Path) -> None:
    seen: list[list[str]] = []
    Training().range_test(where, on_step=lambda *_: seen.append(open_files_below(own_tmp)))
    assert [len(files) for files in seen] == [1] * 5


@pytest.mark.parametrize("end", ["success", "raise", "interrupt"])
def test_nothing_is_left_on_disk_or_open(where: Any, own_tmp: Path, end: str) -> None:
    training = Training()
    before = training.witness()

    def on_step(*_: Any) -> None:
        if end != "success":
            raise Boom if end == "raise" else KeyboardInterrupt

    if end == "success":
        training.range_test(where, on_step=on_step)
    else:
        with pytest.raises((Boom, KeyboardInterrupt)):
            training.range_test(where, on_step=on_step)
    assert training.witness() == before
    assert files_below(own_tmp) == []
    assert open_files_below(own_tmp) == []


def test_a_snapshot_holds_no_copy_after_it_was_left() -> None:
    """Also while a traceback refers to it."""
    model = nn.Linear(2, 2)
    model.weight.grad = torch.zeros(2, 2)
    alive = weakref.ref(model.weight.grad)
    with Snapshot(model) as snapshot:
        pass
    model.weight.grad = None
    gc.collect()
    assert alive() is None
    assert snapshot


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_nothing_is_left_by_a_killed_process_and_the_next_run_is_unharmed(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import os, pathlib, signal, torch
        from lrfinder import preserve_state
        with preserve_state(torch.nn.Linear(500, 500), snapshot=pathlib.Path({str(tmp_path)!r})):
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    run = subprocess.run([sys.executable, "-c", script], check=False)
    assert run.returncode == -signal.SIGKILL
    assert files_below(tmp_path) == []
    training = Training()
    before = training.witness()
    training.range_test(tmp_path)
    assert training.witness() == before


def test_runs_at_once_in_one_directory_do_not_meet(tmp_path: Path) -> None:
    trainings = [Training() for _ in range(4)]
    for i, training in enumerate(trainings):
        with torch.no_grad():
            training.model[0].weight.fill_(i)
    together = threading.Barrier(len(trainings), timeout=60)

    def in_step(*_: Any) -> None:
        together.wait()

    with ThreadPoolExecutor(len(trainings)) as pool:
        results = list(pool.map(lambda t: t.range_test(tmp_path, on_step=in_step), trainings))
    assert [len(result) for result in results] == [5] * len(trainings)
    for i, training in enumerate(trainings):
        assert training.model[0].weight.eq(i).all()


def full_by_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))


def full_while_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    make = tempfile.TemporaryFile

    def temporary_file(**options: Any) -> Any:
        file = make(**options)
        return Full(file)

    class Full:
        def __init__(self, file: Any) -> None:
            self._file = file
            self._left = 60

        def write(self, content: Any) -> int:
            if not self._left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written: int = self._file.write(content[: self._left])
            self._left -= written
            return written

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    monkeypatch.setattr(tempfile, "TemporaryFile", temporary_file)


def no_temporary_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)


@pytest.mark.parametrize("harm", [full_by_usage, full_while_writing, no_temporary_directory])
def test_a_full_disk_is_told_before_the_first_step_and_nothing_is_changed(
    own_tmp: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Any], None]
) -> None:
    training = Training()
    training.model.eval()
    before = training.witness()
    with monkeypatch.context() as context:
        harm(context)
        with pytest.raises(SnapshotError, match="snapshot='memory'"):
            training.range_test("disk")
    assert training.steps == 0
    assert training.witness() == before
    assert not training.model.training
    assert files_below(own_tmp) == open_files_below(own_tmp) == []


def test_memory_that_runs_out_is_told_before_the_first_step_and_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    training = Training()
    before = training.witness()
    with monkeypatch.context() as context:
        context.setattr("mmap.mmap", none)
        with pytest.raises(SnapshotError, match="snapshot='disk'"):
            training.range_test("memory")
    assert training.steps == 0
    assert training.witness() == before


@pytest.mark.parametrize("kind", ["missing", "a file", "not writable"])
def test_a_directory_that_cannot_be_written_to_is_told_before_the_first_step(
    tmp_path: Path, kind: str
) -> None:
    directory = {"missing": tmp_path / "none", "a file": tmp_path / "file"}.get(kind, Path("/proc"))
    if kind == "a file":
        directory.touch()
    if kind == "not writable" and not directory.exists():
        pytest.skip("no directory that is not writable to everyone")
    training = Training()
    before = training.witness()
    with pytest.raises(SnapshotError, match="writable directory") as info:
        training.range_test(directory)
    assert str(directory) in str(info.value)
    assert training.steps == 0
    assert training.witness() == before


def test_a_file_that_was_cut_short_is_told(tmp_path: Path) -> None:
    training = Training()

    def cut(*_: Any) -> None:
        for handle in Path("/proc/self/fd").iterdir():
            if os.path.lexists(handle) and str(handle.readlink()).startswith(str(tmp_path)):
                os.truncate(handle, 10)

    if not Path("/proc/self/fd").exists():
        pytest.skip("cannot list open files on this system")
    with pytest.raises(SnapshotError, match="truncated"):
        training.range_test(tmp_path, on_step=cut)


@pytest.mark.parametrize("where", ["/tmp", "ram", 3, None])
def test_a_place_of_another_kind_is_refused(where: Any) -> None:
    training = Training()
    with pytest.raises(InvalidInputError, match="snapshot must be"):
        training.range_test(where)
    assert training.steps == 0


def test_values_larger_than_one_piece_come_back(tmp_path: Path) -> None:
    """The file is written and read a few megabytes at a time."""
    from lrfinder import preserve_state

    model = nn.Linear(1500, 1500)
    expected = model.weight.detach().clone()
    with preserve_state(model, snapshot=tmp_path):
        model.weight.data.zero_()
    assert torch.equal(model.weight, expected)
