"""Results as files: JSON that survives NaN and infinity, with a format version."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from lrfinder._distributed.rank import is_rank_zero
from lrfinder._errors import ResultFileError
from lrfinder._result import RangeTestResult
from lrfinder._sweep.grid import check_step_mode
from lrfinder._sweep.stopping import StopReason

FORMAT = "lrfinder.RangeTestResult"
FORMAT_VERSION = 1


def to_dict(result: RangeTestResult) -> dict[str, Any]:
    """Return every number of a result as plain lists and strings, with a format version."""
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "step_mode": result.step_mode,
        "smooth_f": result.smooth_f,
        "stop_reason": result.stop_reason.value,
        "batch_size": result.batch_size,
        "lr": list(result.lr),
        "loss": list(result.loss),
        "group_lrs": [list(rates) for rates in result.group_lrs],
        "val_steps": list(result.val_steps),
        "val_loss": list(result.val_loss),
        "metrics": {name: list(values) for name, values in result.metrics.items()},
        "repeats": [list(losses) for losses in result.repeats],
    }


def save(result: RangeTestResult, path: str | PathLike[str]) -> None:
    """Write a result as JSON; the file is replaced as a whole or not at all.

    Of several processes in a group, which all have the same result, rank 0 alone writes.
    """
    if is_rank_zero():
        write_whole(path, json.dumps(_encode(to_dict(result)), indent=1, allow_nan=False) + "\n")


def load(path: str | PathLike[str]) -> RangeTestResult:
    """Read a result that `save` wrote; raises `ResultFileError` for any other file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultFileError(
            f"expected a complete JSON file, got {os.fspath(path)!r} which is not ({error}); "
            "it may have been cut short: run the range test again"
        ) from None
    _check_format(content, path)
    try:
        return _from_dict(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultFileError(
            f"expected every field of a range-test result, got {os.fspath(path)!r} with "
            f"{type(error).__name__}: {error}; run the range test again"
        ) from None


def write_whole(path: str | PathLike[str], text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part.

    Args:
        path: file to write; its directory must exist.
        text: the whole content.
    """
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o666 & ~_umask())  # noqa: PTH101 - mkstemp makes it private
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _check_format(content: Any, path: str | PathLike[str]) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ResultFileError(
            f"expected a file written by RangeTestResult.save, got {os.fspath(path)!r} which is "
            "JSON of another kind"
        )
    if content.get("version") != FORMAT_VERSION:
        raise ResultFileError(
            f"expected format version {FORMAT_VERSION}, got {content.get('version')!r} in "
            f"{os.fspath(path)!r}; read it with the lrfinder that wrote it"
        )


def _from_dict(content: dict[str, Any]) -> RangeTestResult:
    size = content["batch_size"]
    result = RangeTestResult(
        lr=_floats(content["lr"]),
        loss=_floats(content["loss"]),
        step_mode=content["step_mode"],
        smooth_f=float(content["smooth_f"]),
        stop_reason=StopReason(content["stop_reason"]),
        group_lrs=tuple(_floats(rates) for rates in content["group_lrs"]),
        val_steps=tuple(int(step) for step in content["val_steps"]),
        val_loss=_floats(content["val_loss"]),
        metrics={name: _floats(values) for name, values in content["metrics"].items()},
        repeats=tuple(_floats(losses) for losses in content["repeats"]),
        batch_size=None if size is None else int(size),
    )
    _check_columns(result)
    return result


def _check_columns(result: RangeTestResult) -> None:
    check_step_mode(result.step_mode)
    every_step = (result.loss, *result.group_lrs, *result.metrics.values(), *result.repeats)
    if any(len(values) != len(result) for values in every_step):
        raise ValueError("columns of different lengths")
    if len(result.val_steps) != len(result.val_loss):
        raise ValueError("val_steps and val_loss of different lengths")
    if not set(result.val_steps) <= set(range(len(result))):
        raise ValueError("val_steps beyond the last step")


def _floats(values: Sequence[float | str]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _encode(value: Any) -> Any:
    """Replace NaN and infinity, for which JSON has no number, by their names."""
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        return str(value)
    return value
