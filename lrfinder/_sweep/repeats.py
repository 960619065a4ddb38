"""Several sweeps from one snapshot, with other orders of the data, as one recording."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrfinder._sweep.loop import Recording


def average(recordings: Sequence[Recording]) -> Recording:
    """Return the mean of some recordings over the steps that all of them have.

    The shortest sweep is the one that diverged first, so its stop reason is that of the whole.

    Args:
        recordings: one for each sweep, at least one.
    """
    shortest = min(recordings, key=lambda recording: len(recording.losses))
    if len(recordings) == 1:
        return shortest
    return Recording(
        losses=_mean([recording.losses for recording in recordings]),
        val_steps=shortest.val_steps,
        val_losses=_mean([recording.val_losses for recording in recordings]),
        metrics={
            name: _mean([recording.metrics[name] for recording in recordings])
            for name in shortest.metrics
        },
        stop_reason=shortest.stop_reason,
        batch_size=shortest.batch_size,
    )


def common_losses(recordings: Sequence[Recording]) -> list[list[float]]:
    """Return the raw losses of each sweep over the steps that all of them have."""
    length = min(len(recording.losses) for recording in recordings)
    return [recording.losses[:length] for recording in recordings]


def _mean(rows: list[list[float]]) -> list[float]:
    length = min(map(len, rows))
    mean: list[float] = np.mean([row[:length] for row in rows], axis=0).tolist()
    return mean
