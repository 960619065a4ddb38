"""The numbers of a range test as files: JSON, CSV, a data frame, TensorBoard.

It takes results as dicts, so it need not import the classes above it; `result_fields` checks the
fields of a `RangeTestResult`. May import `suggestion` and what lies below; pandas and tensorboard
only inside functions. Read `json.py`, `table.py`, `tensorboard.py`.
"""

from lrfinder._export.json import (
    floats,
    format_of,
    read_json,
    result_fields,
    to_dict,
    write_json,
)
from lrfinder._export.table import columns, to_csv, to_frame
from lrfinder._export.tensorboard import to_tensorboard

__all__ = [
    "columns",
    "floats",
    "format_of",
    "read_json",
    "result_fields",
    "to_csv",
    "to_dict",
    "to_frame",
    "to_tensorboard",
    "write_json",
]
