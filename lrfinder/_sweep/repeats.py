"""Combines several sweeps, each with another order of the data, into one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lrfinder._sweep.loop import Record


def average(records: Sequence[Record]) -> Record:
    """Return the mean of one or more records over the steps that all of them have.

    The shortest sweep diverged first, so its stop reason is that of the mean.
    """
    shortest = min(records, key=lambda record: len(record.losses))
    if len(records) == 1:
        return shortest
    return replace(
        shortest,
        losses=_mean([record.losses for record in records]),
        val_losses=_mean([record.val_losses for record in records]),
        metrics={
            name: _mean([record.metrics[name] for record in records])
            for name in shortest.metrics
            if all(name in record.metrics for record in records)
        },
    )


def common_steps(rows: Sequence[list[float]]) -> list[list[float]]:
    """Return the values of each sweep over the steps that all of them have."""
    length = min(map(len, rows))
    return [row[:length] for row in rows]


def _mean(rows: list[list[float]]) -> list[float]:
    mean: list[float] = np.mean(common_steps(rows), axis=0).tolist()
    return mean
