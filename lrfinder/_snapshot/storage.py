"""Where a snapshot copies the values of tensors to: host memory, or an unnamed file on disk."""

from __future__ import annotations

import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch

from lrfinder._errors import InvalidInputError, SnapshotError
from lrfinder._snapshot.containers import Restore
from lrfinder._snapshot.tensors import Region

Where = str | os.PathLike[str]

# Bytes copied at once between a tensor and the file; bounds the host memory that is needed.
_CHUNK = 4 * 2**20
_ELSEWHERE = "pass another directory, or snapshot='memory'"


def open_storage(where: Where) -> MemoryStorage | DiskStorage:
    """Return a new, empty storage.

    Args:
        where: `"memory"`, `"disk"` for the temporary directory of the system, or a directory.

    Raises:
        SnapshotError: if the directory does not exist or is not writable.
        InvalidInputError: if `where` is something else.
    """
    if where == "memory":
        return MemoryStorage()
    if where == "disk":
        with _explained("there is no temporary directory for the snapshot"):
            return DiskStorage(Path(tempfile.gettempdir()))
    if isinstance(where, os.PathLike):
        return DiskStorage(Path(where))
    raise InvalidInputError(
        f"snapshot must be 'memory', 'disk' or the pathlib.Path of a directory, got {where!r}"
    )


class MemoryStorage:
    """Keeps copies in host memory, so that they need no accelerator memory.

    The memory is mapped apart from the heap. On the heap it made glibc return the top of the heap
    to the system and ask for it again in every training step, which took up to a fifth of the time
    of a small network on a CPU.
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)
        self._used = 0

    def reserve(self, size: int) -> None:
        """Make room for `size` bytes, or raise before the first is copied."""
        if size:
            problem = f"{size / 2**20:.0f} MiB of memory for the snapshot could not be allocated"
            with _explained(problem, "free some memory or pass snapshot='disk'"):
                self._memory = torch.frombuffer(_mapping(size), dtype=torch.uint8)

    def keep(self, region: Region) -> Restore:
        """Copy the bytes; the returned call copies them back."""
        copied = self._memory[self._used : self._used + region.size]
        copied.copy_(region.bytes())
        self._used += region.size
        return lambda: region.bytes().copy_(copied)

    def close(self) -> None:
        """Free the copies."""
        self._memory = torch.empty(0, dtype=torch.uint8)


def _mapping(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class DiskStorage:
    """Keeps copies in a temporary file without a name.

    The system deletes such a file when it is closed. Nothing is left behind if the process is
    killed, and two processes never share a file.

    Raises:
        SnapshotError: if no file can be created in the directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Reading and writing goes through numpy, and torch does not resize a tensor that was
        # converted to numpy. So only this buffer is converted, never a tensor of the user.
        self._staged = torch.empty(_CHUNK, dtype=torch.uint8, device="cpu")
        with _explained(f"snapshot needs a writable directory, got '{directory}'"):
            self._file: BinaryIO = tempfile.TemporaryFile(  # noqa: SIM115 - closed by close()
                dir=directory, prefix="lrfinder-", buffering=0
            )

    def reserve(self, size: int) -> None:
        """Make room for `size` bytes, or raise before the first is copied."""
        free = shutil.disk_usage(self._directory).free
        if size > free:
            raise SnapshotError(
                f"the snapshot needs {size / 2**20:.0f} MiB, but '{self._directory}' has only "
                f"{free / 2**20:.0f} MiB free; free some space, {_ELSEWHERE}"
            )

    def keep(self, region: Region) -> Restore:
        """Copy the bytes; the returned call copies them back."""
        start = self._file.seek(0, os.SEEK_END)
        with _explained(f"the snapshot could not be written to '{self._directory}'"):
            for piece in region.bytes().split(_CHUNK):
                content = self._staged[: len(piece)].copy_(piece).numpy().data
                while content:
                    content = content[self._file.write(content) :]
        return lambda: self._read_into(region, start)

    def close(self) -> None:
        """Free the copies."""
        self._file.close()

    def _read_into(self, region: Region, start: int) -> None:
        self._file.seek(start)
        for piece in region.bytes().split(_CHUNK):
            staged = self._staged[: len(piece)]
            content = staged.numpy().data
            while content:
                read = self._file.readinto(content)  # type: ignore[attr-defined]
                if not read:
                    raise SnapshotError(
                        "the file of the snapshot was truncated; not all values are restored"
                    )
                content = content[read:]
            piece.copy_(staged)


@contextmanager
def _explained(problem: str, advice: str = _ELSEWHERE) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SnapshotError(f"{problem} ({error.strerror}); {advice}") from error
