"""What is recommended depends on no timing, costs what it says, and leaves no trace."""

import torch
from torch import nn

from lrfinder import LRFinder
from tests.gpu.helpers import batches, network, state, train


class Counting:
    """A training step that counts its calls; it may wait until all of the last one has arrived."""

    def __init__(self, waits):
        self.waits = waits
        self.calls = 0

    def __call__(self, model, batch):
        self.calls += model.training
        if self.waits:
            torch.cuda.synchronize()
        inputs = batch[0]
        return nn.functional.mse_loss(model(inputs), inputs[:, :4])  # which can be learned


def recommended(model, optimizer, waits=False):
    """Return what is recommended, and how many steps were really taken for it."""
    torch.manual_seed(1)
    counting = Counting(waits)
    finder = LRFinder(model, optimizer, training_step=counting)
    return finder.recommend(batches(), progress=False), counting.calls


def runs(found):
    return found.lr, found.result.loss, found.probes, found.trials


def started():
    """A training that is under way."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    train(model, optimizer, 3)
    return model, optimizer


def test_the_same_is_recommended_however_late_the_losses_are_read():
    model, optimizer = started()
    first, _ = recommended(model, optimizer)
    again, _ = recommended(model, optimizer)
    at_once, _ = recommended(model, optimizer, waits=True)
    assert runs(first) == runs(again) == runs(at_once)


def test_the_state_comes_back_bit_for_bit():
    model, optimizer = started()
    torch.manual_seed(1)
    before = state(model, optimizer)
    recommended(model, optimizer)
    assert state(model, optimizer) == before


def test_the_steps_that_were_taken_are_those_it_tells():
    """But for one that is under way when the loss arrives which ends a run before its length."""
    found, taken = recommended(*started(), waits=True)
    ended_early = 1 + count_short(found.probes) + count_short(found.trials)  # 1: perhaps the sweep
    assert found.steps <= 300
    assert found.steps <= taken <= found.steps + ended_early


def count_short(runs):
    lengths = [len(run.losses) for run in runs]
    return sum(length < max(lengths) for length in lengths)
