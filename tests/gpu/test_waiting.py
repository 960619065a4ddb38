"""The host never waits for the device in a step, and the record is that of a loop which does."""

import pytest
import torch
from torch import nn

from lrfinder import LRFinder
from tests.gpu.helpers import DEVICE, SWEEP, batches, network

OPTIONS = {
    "plain": {},
    "clipped": {"clip_grad": 1.0},
    "bfloat16": {"autocast": torch.bfloat16},
}


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=0.01)


@pytest.mark.parametrize("accumulation_steps", [1, 3])
@pytest.mark.parametrize("with_validation", [False, True], ids=["training", "with validation"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_no_step_waits(options, with_validation, accumulation_steps):
    """torch raises at every operation that waits, from the second step to the last."""
    if "autocast" in options:
        options = {"autocast": torch.autocast(DEVICE, options["autocast"])}
    model, data, forwards = network(), batches(), 0
    last = SWEEP["num_iter"] * accumulation_steps

    def training_step(model, batch):
        nonlocal forwards
        forwards += model.training
        if model.training and forwards in (1 + accumulation_steps, last):
            torch.cuda.set_sync_debug_mode("default" if forwards == last else "error")
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    finder = LRFinder(model, adamw(model), training_step=training_step, **options)
    try:
        result = finder.range_test(
            data, data if with_validation else None, accumulation_steps=accumulation_steps, **SWEEP
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(result) == SWEEP["num_iter"]


def test_waiting_is_seen():
    """The mode that the test above relies on does raise."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchron"):
            torch.ones(1, device=DEVICE).item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_record_is_that_of_reading_each_loss_at_once():
    model, data = network(), batches()
    torch.manual_seed(1)
    result = LRFinder(model, adamw(model), nn.MSELoss()).range_test(data, **SWEEP)
    torch.manual_seed(1)
    optimizer, losses = adamw(model), []
    for i, lr in enumerate(result.lr):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        inputs, targets = data[i % len(data)]
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert list(result.loss) == losses
