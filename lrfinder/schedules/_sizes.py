"""How long a schedule is: one unit, optimizer steps, and one place that resolves it."""

from __future__ import annotations

import torch

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import check_count

# Below float32's spacing relative to the first rate, a step that once moved a weight by its own
# size no longer changes it: training is over, whatever the loop does.
ENDED = torch.finfo(torch.float32).eps


def resolve_total_steps(
    total_steps: int | None, epochs: int | None, steps_per_epoch: int | None
) -> int:
    """Return the length of the training in optimizer steps.

    Args:
        total_steps: the length itself, >= 1.
        epochs: the other way, >= 1, together with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InvalidInputError: if both ways are given, or neither, or half of one.

    >>> resolve_total_steps(None, epochs=10, steps_per_epoch=391)
    3910
    """
    if total_steps is not None and epochs is None and steps_per_epoch is None:
        check_count("total_steps", total_steps)
        return total_steps
    if total_steps is None and epochs is not None and steps_per_epoch is not None:
        check_count("epochs", epochs)
        check_count("steps_per_epoch", steps_per_epoch)
        return epochs * steps_per_epoch
    raise InvalidInputError(
        "expected either total_steps, or epochs with steps_per_epoch, got "
        f"total_steps={total_steps}, epochs={epochs}, steps_per_epoch={steps_per_epoch}"
    )


def require_shorter(name: str, steps: int, total_steps: int, otherwise: str) -> None:
    """Refuse a part of a schedule that fills the whole training.

    Args:
        name: the argument that gave the part's length.
        steps: length of the part, in optimizer steps.
        total_steps: length of the training, in optimizer steps.
        otherwise: what would never happen, for the message.

    Raises:
        InvalidInputError: if `steps >= total_steps`.
    """
    if steps >= total_steps:
        raise InvalidInputError(
            f"expected {name} below the {total_steps} steps of the training, got {name}={steps}: "
            f"{otherwise}; every size is in optimizer steps"
        )


def require_not_ended(setting: str, factor: float, total_steps: int) -> None:
    """Refuse a decay that is over long before the training is.

    The usual cause is a decay meant once per epoch and counted once per step.

    Args:
        setting: the arguments that made the decay, for the message.
        factor: what is left of the first rate at the last step.
        total_steps: length of the training, in optimizer steps.

    Raises:
        InvalidInputError: if `factor` is below float32's relative spacing.
    """
    if factor < ENDED:
        raise InvalidInputError(
            f"expected a decay that lasts for the {total_steps} steps of the training, got "
            f"{setting}, which leaves {factor:.1e} of the rate at the last one and so ends before "
            "it; every size is in optimizer steps, not epochs"
        )
