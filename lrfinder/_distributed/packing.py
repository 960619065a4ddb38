"""The vector that the ranks add up after each step: float64, shape `(2 * columns + 6,)`.

It holds `columns` scalars times their batch sizes, those `columns` batch sizes, and a `Status`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Status(NamedTuple):
    """What a rank reports beside its scalars; in a sum, how many ranks report it.

    Attributes:
        out_of_data: there are no batches for the step after the next one.
        failed: something went wrong outside the step, in a loader or a callback.
        asked_to_stop: the callback returned a true value.
        new_metrics: there are metrics that no step before this one had; they are not in the vector.
        skipped: the gradient scaler skipped this step.
        non_finite: the loss was infinite or NaN.
    """

    out_of_data: float = 0
    failed: float = 0
    asked_to_stop: float = 0
    new_metrics: float = 0
    skipped: float = 0
    non_finite: float = 0


def pack(
    scalars: Sequence[Tensor | float],
    sizes: Sequence[int | None],
    status: Status,
    columns: int,
    device: torch.device,
) -> Tensor:
    """Return the vector of one step, without making the host wait for an accelerator.

    Args:
        scalars: the loss first; none for a skipped step.
        sizes: number of samples behind each scalar; None, for not known, counts as 1.
        status: of this rank; `skipped` and `non_finite` are filled in here.
        columns: the most scalars that a step has, >= 1.
        device: where the loss is.
    """
    status = status._replace(skipped=not scalars)
    padding = [0.0] * (columns - len(scalars))
    weights = [*(1.0 if size is None else float(size) for size in sizes), *padding]
    if device.type == "cpu":  # a fourth of the time that the same takes in tensors
        values = [*map(float, scalars), *padding]
        sums = [value * weight for value, weight in zip(values, weights, strict=True)]
        status = status._replace(non_finite=not math.isfinite(values[0]))
        return torch.tensor([*sums, *weights, *status], dtype=torch.float64, device="cpu")
    known = torch.tensor([*weights, *status], dtype=torch.float64, device="cpu")
    known = known.pin_memory().to(device, non_blocking=True)
    numbers = (torch.as_tensor(x, dtype=known.dtype, device=device) for x in (*scalars, *padding))
    on_device = torch.stack([number.detach().reshape(()) for number in numbers])
    vector = torch.cat((on_device * known[:columns], known))
    vector[-1] = ~on_device[0].isfinite()
    return vector


def unpack(sums: Sequence[float]) -> tuple[list[float], Status]:
    """Return the mean of each column that has samples, and how many ranks report what."""
    columns = (len(sums) - len(Status._fields)) // 2
    pairs = zip(sums[:columns], sums[columns : 2 * columns], strict=True)
    return [total / weight for total, weight in pairs if weight], Status(*sums[2 * columns :])
