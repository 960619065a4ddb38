"""A result as a table, one row per optimizer step: CSV, and pandas where it is there."""

from __future__ import annotations

import csv
import io
from os import PathLike
from typing import TYPE_CHECKING

from lrfinder._distributed.rank import is_rank_zero
from lrfinder._errors import missing_extra
from lrfinder._export.json import write_whole
from lrfinder._result import RangeTestResult

if TYPE_CHECKING:
    from pandas import DataFrame

Cell = float | None


def columns(result: RangeTestResult) -> dict[str, list[Cell]]:
    """Return every recorded number by the name of its column.

    Args:
        result: n steps.

    Returns:
        `lr`, `loss` and `smoothed_loss`; `val_loss`, None at steps without validation;
        `lr_group_0` and on with several parameter groups; `loss_sweep_0` and on with several
        sweeps; and each metric, as `metric_NAME` where the name is taken. Each of length n.
    """
    table: dict[str, list[Cell]] = {
        "lr": [*result.lr],
        "loss": [*result.loss],
        "smoothed_loss": [*result.smoothed_loss],
    }
    if result.val_loss:
        measured = dict(zip(result.val_steps, result.val_loss, strict=True))
        table["val_loss"] = [measured.get(step) for step in range(len(result))]
    if len(result.group_lrs) > 1:
        table |= {f"lr_group_{i}": [*rates] for i, rates in enumerate(result.group_lrs)}
    table |= {f"loss_sweep_{i}": [*losses] for i, losses in enumerate(result.repeats)}
    for name, values in result.metrics.items():
        table[f"metric_{name}" if name in table else name] = [*values]
    return table


def to_csv(result: RangeTestResult, path: str | PathLike[str]) -> None:
    """Write the columns as CSV with a header; the file is replaced as a whole or not at all."""
    table = columns(result)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    if is_rank_zero():
        write_whole(path, text.getvalue())


def to_frame(result: RangeTestResult) -> DataFrame:
    """Return the columns as a pandas frame; raises `MissingExtraError` without pandas."""
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise missing_extra("pandas", "pandas") from error
    return DataFrame(columns(result), dtype=float)
