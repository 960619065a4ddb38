"""A result in TensorBoard: the curve, the picture, and the rate as a hyper-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrfinder._errors import NoSuggestionError
from lrfinder._result import RangeTestResult

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def to_tensorboard(result: RangeTestResult, writer: SummaryWriter, tag: str) -> None:
    """Write a result; see `RangeTestResult.to_tensorboard`."""
    from matplotlib.figure import Figure

    for step, (lr, loss) in enumerate(zip(result.lr, result.loss, strict=True)):
        writer.add_scalar(f"{tag}/lr", lr, step)
        writer.add_scalar(f"{tag}/loss", loss, step)
    for step, loss in zip(result.val_steps, result.val_loss, strict=True):
        writer.add_scalar(f"{tag}/val_loss", loss, step)
    figure = Figure(layout="constrained")
    result.plot(ax=figure.subplots())
    writer.add_figure(f"{tag}/curve", figure)
    _write_rate(result, writer, tag)


def _write_rate(result: RangeTestResult, writer: SummaryWriter, tag: str) -> None:
    try:
        suggestion = result.suggest()
    except NoSuggestionError:
        return  # the reason stands in the picture
    writer.add_hparams(
        {"lr": suggestion.lr, "lr_method": suggestion.method},
        {f"{tag}/suggested_lr": suggestion.lr},
        run_name=".",  # beside the curve, not in a run of its own
    )
