"""Where the saved tensors of a snapshot live: in host memory, or in a nameless file on disk."""

from __future__ import annotations

import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import torch
from torch import Tensor

from lrfinder._errors import InvalidInputError, SnapshotError
from lrfinder._snapshot.containers import PutBack
from lrfinder._snapshot.tensors import Region

Where = str | os.PathLike[str]

# Bytes moved at once between a tensor and the file: bounds the host memory that disk needs.
_CHUNK = 4 * 2**20
_ELSEWHERE = "name another directory or use snapshot='memory'"


class Storage(Protocol):
    """Keeps copies of memory."""

    def reserve(self, size: int) -> None:
        """Make sure that `size` bytes fit, before the first of them is kept."""

    def keep(self, region: Region) -> PutBack:
        """Copy the bytes now; the returned call copies them back."""

    def close(self) -> None:
        """Forget every copy."""


def open_storage(where: Where) -> Storage:
    """Return the storage that `where` names.

    Args:
        where: `"memory"`, `"disk"` for a temporary directory of the system, or a directory.

    Raises:
        SnapshotError: if the directory does not exist or cannot be written to.
        InvalidInputError: if `where` is another string.
    """
    if where == "memory":
        return MemoryStorage()
    if where == "disk":
        with _explained("expected a temporary directory for the snapshot, got none"):
            return DiskStorage(Path(tempfile.gettempdir()))
    if isinstance(where, os.PathLike):
        return DiskStorage(Path(where))
    raise InvalidInputError(
        f"expected snapshot to be 'memory', 'disk' or a pathlib.Path of a directory, got {where!r}"
    )


class MemoryStorage:
    """Keeps copies in host memory, so that an accelerator needs no room for them.

    The memory is a mapping of its own. Taken from the heap, it lies in the way of the training:
    glibc then gives the top of the heap back to the system, and asks for it again, in every step,
    which was measured to cost a small network on a CPU up to a fifth of its time.
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)
        self._used = 0

    def reserve(self, size: int) -> None:
        """Make sure that `size` bytes fit, before the first of them is kept."""
        if size:
            problem = f"expected {size / 2**20:.0f} MiB of memory for the snapshot, got none"
            with _explained(problem, "free some or use snapshot='disk'"):
                self._memory = torch.frombuffer(_mapping(size), dtype=torch.uint8)

    def keep(self, region: Region) -> PutBack:
        """Copy the bytes now; the returned call copies them back."""
        copied = self._memory[self._used : self._used + region.size]
        copied.copy_(region.bytes())
        self._used += region.size
        return lambda: region.bytes().copy_(copied)

    def close(self) -> None:
        """Forget every copy."""
        self._memory = torch.empty(0, dtype=torch.uint8)


def _mapping(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class DiskStorage:
    """Keeps copies in a temporary file that has no name.

    The system frees such a file when its last handle is closed, so nothing is left behind even
    where the process is killed, and two runs cannot meet in it.

    Args:
        directory: an existing, writable directory.

    Raises:
        SnapshotError: if no file can be made there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Files read and write numpy's memory, and a tensor whose memory numpy has seen can never be
        # resized again: the tensors of the user are not shown to it.
        self._staged = torch.empty(_CHUNK, dtype=torch.uint8)
        with _explained(f"expected a writable directory for the snapshot, got '{directory}'"):
            self._file: BinaryIO = tempfile.TemporaryFile(  # noqa: SIM115 - closed by close()
                dir=directory, prefix="lrfinder-", buffering=0
            )

    def reserve(self, size: int) -> None:
        """Make sure that `size` bytes fit, before the first of them is kept."""
        free = shutil.disk_usage(self._directory).free
        if size > free:
            raise SnapshotError(
                f"expected {size / 2**20:.0f} MiB for the snapshot, got {free / 2**20:.0f} MiB "
                f"free in '{self._directory}'; free some, {_ELSEWHERE}"
            )

    def keep(self, region: Region) -> PutBack:
        """Copy the bytes now; the returned call copies them back."""
        start = self._file.seek(0, os.SEEK_END)
        with _explained(f"expected room for the snapshot in '{self._directory}', got none"):
            for piece in region.bytes().split(_CHUNK):
                self._write(piece)
        return lambda: self._read_into(region, start)

    def close(self) -> None:
        """Forget every copy."""
        self._file.close()

    def _write(self, piece: Tensor) -> None:
        content = self._staged[: len(piece)].copy_(piece).numpy().data
        while content:
            content = content[self._file.write(content) :]

    def _read_into(self, region: Region, start: int) -> None:
        self._file.seek(start)
        for piece in region.bytes().split(_CHUNK):
            staged = self._staged[: len(piece)]
            content = staged.numpy().data
            while content:
                read = self._file.readinto(content)  # type: ignore[attr-defined]
                if not read:
                    raise SnapshotError("expected the whole snapshot on disk, got a truncated file")
                content = content[read:]
            piece.copy_(staged)


@contextmanager
def _explained(problem: str, advice: str = _ELSEWHERE) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SnapshotError(f"{problem} ({error.strerror}); {advice}") from error
