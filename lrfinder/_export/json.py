"""Results as JSON that survives NaN and infinity, with a format version; nothing is unpickled."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from lrfinder._distributed.rank import is_rank_zero
from lrfinder._errors import ResultFileError
from lrfinder._sweep.grid import check_step_mode
from lrfinder._sweep.smoothing import checked_smooth_f
from lrfinder._sweep.stopping import StopReason

FORMAT_VERSION = 1
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
T = TypeVar("T")


def to_dict(fields: Mapping[str, Any], format_name: str) -> dict[str, Any]:
    """Return the fields of a result as plain lists and strings, with a format version."""
    content: dict[str, Any] = _convert(fields, _plain)
    return {"format": format_name, "version": FORMAT_VERSION, **content}


def write_json(content: Mapping[str, Any], path: str | PathLike[str]) -> None:
    """Write plain lists and strings as JSON; the file is replaced as a whole or not at all."""
    write_whole(path, json.dumps(_convert(content, _encode), indent=1, allow_nan=False) + "\n")


def read_json(
    path: str | PathLike[str], format_name: str, parse: Callable[[dict[str, Any]], T]
) -> T:
    """Return what `parse` makes of a file of this format; what it raises is a wrong field.

    Raises:
        ResultFileError: if the file is truncated, of another format version, or not ours.
        OSError: if it cannot be read at all.
    """
    name = repr(os.fspath(path))
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ResultFileError(
            f"{name} is not a complete JSON file ({error}); it may have been cut short: run the "
            "range test again"
        ) from None
    written = str(content.get("format")) if isinstance(content, dict) else ""
    if written != format_name:
        kind = format_name.rpartition(".")[2]
        is_ours = written.startswith("lrfinder.")
        advice = f"read it with {written}.load" if is_ours else "pass a file that was"
        raise ResultFileError(f"{name} was not written by {kind}.save; {advice}")
    if content.get("version") != FORMAT_VERSION:
        raise ResultFileError(
            f"{name} has format version {content.get('version')!r}, not the {FORMAT_VERSION} that "
            "this lrfinder reads; read it with the lrfinder that wrote it"
        )
    try:
        return parse(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ResultFileError(
            f"{name} is not a complete result ({type(error).__name__}: {error}); run the range "
            "test again"
        ) from None


def format_of(path: str | PathLike[str]) -> str:
    """Return the name of the format that a JSON file says it has; empty for any other file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return ""
    return str(content.get("format", "")) if isinstance(content, dict) else ""


def write_whole(path: str | PathLike[str], text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part.

    A pipe or a device such as `/dev/stdout` is written to. Of several processes in a group, which
    all have the same result, rank 0 alone writes.
    """
    if not is_rank_zero():
        return
    target = Path(path).resolve()  # of a link, the file that it leads to
    if _is_stream(Path(path)):
        number = _STANDARD.get(os.fspath(path))
        # What it is redirected to would be written from its beginning again if it were reopened.
        opened = target if number is None else os.dup(number)
        with open(opened, "a", encoding="utf-8") as stream:  # noqa: PTH123 - a number, perhaps
            stream.write(text)
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:  # names the temporary file
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode)  # noqa: PTH101 - mkstemp makes it private
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _is_stream(path: Path) -> bool:
    """Return whether a path is something that can be written to but not replaced."""
    # These lead to the file that the output is redirected to.
    is_descriptor = path.absolute().parts[1:3] in (
        ("dev", "fd"),
        ("dev", "stdout"),
        ("dev", "stderr"),
        ("proc", "self"),
    )
    return is_descriptor or (path.exists() and not path.is_file())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def result_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a range-test result; raises if they cannot be those of one."""
    size = content["batch_size"]
    fields = {
        "lr": floats(content["lr"]),
        "loss": floats(content["loss"]),
        "step_mode": content["step_mode"],
        "smooth_f": float(content["smooth_f"]),
        "stop_reason": StopReason(content["stop_reason"]),
        "group_lrs": tuple(floats(rates) for rates in content["group_lrs"]),
        "val_steps": tuple(int(step) for step in content["val_steps"]),
        "val_loss": floats(content["val_loss"]),
        "metrics": {name: floats(values) for name, values in content["metrics"].items()},
        "repeats": tuple(floats(losses) for losses in content["repeats"]),
        "batch_size": None if size is None else int(size),
        "maximize": bool(content.get("maximize", False)),
        "val_repeats": tuple(floats(losses) for losses in content.get("val_repeats", ())),
    }
    check_step_mode(fields["step_mode"])
    checked_smooth_f(fields["smooth_f"])
    steps, lr = len(fields["lr"]), fields["lr"]
    if not all(math.isfinite(rate) and rate > 0 for rate in lr):
        raise ValueError("learning rates that are not positive and finite")
    if not all(math.isfinite(rate) and rate >= 0 for rate in chain(*fields["group_lrs"])):
        raise ValueError("learning rates of groups that are negative or not finite")
    if any(rate >= following for rate, following in pairwise(lr)):
        raise ValueError("learning rates that do not rise")
    several = (*fields["group_lrs"], *fields["metrics"].values(), *fields["repeats"])
    if any(len(values) != steps for values in (fields["loss"], *several)):
        raise ValueError("columns of different lengths")
    measured = (fields["val_loss"], *fields["val_repeats"])
    if any(len(values) != len(fields["val_steps"]) for values in measured):
        raise ValueError("val_steps and val_loss of different lengths")
    if not set(fields["val_steps"]) <= set(range(steps)):
        raise ValueError("val_steps beyond the last step")
    return fields


def floats(values: Sequence[float | str]) -> tuple[float, ...]:
    """Return numbers, and names of numbers such as `"nan"`, as floats."""
    return tuple(float(value) for value in values)


def _plain(value: Any) -> Any:
    """Return a stop reason as its text, and anything else as it is."""
    return value.value if isinstance(value, StopReason) else value


def _encode(value: Any) -> Any:
    """Replace NaN and infinity, for which JSON has no number, by their names."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _convert(content: Any, leaf: Callable[[Any], Any]) -> Any:
    """Return nested mappings and sequences as dicts and lists, with each leaf converted."""
    if isinstance(content, Mapping):
        return {key: _convert(item, leaf) for key, item in content.items()}
    if isinstance(content, (list, tuple)):
        return [_convert(item, leaf) for item in content]
    return leaf(content)
