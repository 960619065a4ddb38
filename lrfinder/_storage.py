"""Where the saved tensors of a snapshot live: in host memory, or in a nameless file on disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import torch
from torch import Tensor

from lrfinder._errors import InvalidInputError, SnapshotError

Where = str | os.PathLike[str]
PutBack = Callable[[], object]

# Bytes moved at once between a tensor and the file: bounds the host memory that disk needs.
_CHUNK = 8 * 2**20


class Storage(Protocol):
    """Keeps copies of tensors."""

    def reserve(self, size: int) -> None:
        """Make sure that `size` bytes fit, before the first of them is kept."""

    def keep(self, tensor: Tensor) -> PutBack:
        """Copy `tensor` now; the returned call copies the values back into the same memory."""

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
        return DiskStorage(Path(tempfile.gettempdir()))
    if isinstance(where, os.PathLike):
        return DiskStorage(Path(where))
    raise InvalidInputError(
        f"expected snapshot to be 'memory', 'disk' or a pathlib.Path of a directory, got {where!r}"
    )


class MemoryStorage:
    """Keeps copies in host memory, so that an accelerator needs no room for them."""

    def reserve(self, size: int) -> None:
        """Accept any size: running out of memory raises by itself, before anything changed."""

    def keep(self, tensor: Tensor) -> PutBack:
        """Copy `tensor` now; the returned call copies the values back into the same memory."""
        copy = tensor.clone() if tensor.device.type == "cpu" else tensor.to("cpu", copy=True)

        def put_back() -> None:
            tensor.copy_(copy)

        return put_back

    def close(self) -> None:
        """Do nothing: the copies go with the calls that hold them."""


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
        self._end = 0
        try:
            self._file: BinaryIO = tempfile.TemporaryFile(  # noqa: SIM115 - closed by close()
                dir=directory, prefix="lrfinder-", buffering=0
            )
        except OSError as error:
            raise SnapshotError(
                f"expected a writable directory for the snapshot, got {str(directory)!r} "
                f"({error.strerror}); name another one or use snapshot='memory'"
            ) from error

    def reserve(self, size: int) -> None:
        """Make sure that `size` bytes fit, before the first of them is kept."""
        free = shutil.disk_usage(self._directory).free
        if size > free:
            self.close()
            raise SnapshotError(
                f"expected {size / 2**20:.0f} MiB for the snapshot, got {free / 2**20:.0f} MiB "
                f"free in {str(self._directory)!r}; free some, name another directory or use "
                "snapshot='memory'"
            )

    def keep(self, tensor: Tensor) -> PutBack:
        """Copy `tensor` now; the returned call copies the values back into the same memory."""
        start = self._end
        try:
            for piece in _pieces(_as_bytes(tensor)):
                self._write(piece.cpu())
        except OSError as error:
            self.close()
            raise SnapshotError(
                f"expected to write the snapshot to {str(self._directory)!r}, got "
                f"{error.strerror}; name another directory or use snapshot='memory'"
            ) from error

        def put_back() -> None:
            self._file.seek(start)
            if tensor.is_contiguous():
                self._read_into(_as_bytes(tensor))
            else:
                values = torch.empty_like(tensor, memory_format=torch.contiguous_format)
                self._read_into(_as_bytes(values))
                tensor.copy_(values)

        return put_back

    def close(self) -> None:
        """Forget every copy."""
        self._file.close()

    def _write(self, piece: Tensor) -> None:
        content = piece.numpy().data
        while content:
            written = self._file.write(content)
            self._end += written
            content = content[written:]

    def _read_into(self, target: Tensor) -> None:
        for piece in _pieces(target):
            host = piece if piece.device.type == "cpu" else torch.empty_like(piece, device="cpu")
            content = host.numpy().data
            while content:
                content = content[self._file.readinto(content) :]  # type: ignore[attr-defined]
            if host is not piece:
                piece.copy_(host)


def _as_bytes(tensor: Tensor) -> Tensor:
    """Return the values as a flat tensor of bytes; no copy where they lie in one piece."""
    return tensor.contiguous().view(-1).view(torch.uint8)


def _pieces(flat: Tensor) -> tuple[Tensor, ...]:
    return flat.split(_CHUNK) if flat.numel() else ()
