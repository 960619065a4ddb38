"""A result in TensorBoard: the curve, the picture, and the rate as a hyper-parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lrfinder.suggestion import Suggestion

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


def to_tensorboard(
    content: Mapping[str, Any],
    figure: Figure,
    suggestion: Suggestion | None,
    *,
    writer: SummaryWriter,
    tag: str,
) -> None:
    """Write a result, as `to_dict` returns it; see `RangeTestResult.to_tensorboard`."""
    for step, (lr, loss) in enumerate(zip(content["lr"], content["loss"], strict=True)):
        writer.add_scalar(f"{tag}/lr", lr, step)
        writer.add_scalar(f"{tag}/loss", loss, step)
    for step, loss in zip(content["val_steps"], content["val_loss"], strict=True):
        writer.add_scalar(f"{tag}/val_loss", loss, step)
    writer.add_figure(f"{tag}/curve", figure)
    if suggestion is not None:
        writer.add_hparams(
            {"lr": suggestion.lr, "lr_method": suggestion.method},
            {f"{tag}/suggested_lr": suggestion.lr},
            run_name=".",  # beside the curve, not in a run of its own
        )
