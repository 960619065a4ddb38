"""A result as a table, one row per optimizer step: CSV, and pandas where it is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from lrfinder._errors import missing_extra
from lrfinder._export.json import write_whole

if TYPE_CHECKING:
    from pandas import DataFrame

Table = dict[str, list[float | None]]


def columns(content: Mapping[str, Any], smoothed_loss: Sequence[float]) -> Table:
    """Return the numbers of a result, as `to_dict` returns it, by the names of their columns.

    Returns:
        `lr`, `loss` and `smoothed_loss`; `val_loss`, None at steps without validation;
        with several parameter groups `lr_group_0`, `lr_group_1`, ...; with several sweeps
        `loss_sweep_0`, `loss_sweep_1`, ...; and each metric, as `metric_NAME` where the name is
        taken.
    """
    table: Table = {
        "lr": [*content["lr"]],
        "loss": [*content["loss"]],
        "smoothed_loss": [*smoothed_loss],
    }
    if content["val_loss"]:
        measured = dict(zip(content["val_steps"], content["val_loss"], strict=True))
        table["val_loss"] = [measured.get(step) for step in range(len(content["lr"]))]
    if len(content["group_lrs"]) > 1:
        table |= {f"lr_group_{i}": [*rates] for i, rates in enumerate(content["group_lrs"])}
    table |= {f"loss_sweep_{i}": [*losses] for i, losses in enumerate(content["repeats"])}
    for name, values in content["metrics"].items():
        table[f"metric_{name}" if name in table else name] = [*values]
    return table


def to_csv(table: Table, path: str | PathLike[str]) -> None:
    """Write columns as CSV with a header; the file is replaced as a whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    write_whole(path, text.getvalue())


def to_frame(table: Table) -> DataFrame:
    """Return columns as a pandas frame; raises `MissingExtraError` without pandas."""
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise missing_extra("pandas", "pandas") from error
    return DataFrame(table, dtype=float)
