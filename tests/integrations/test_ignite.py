"""The range test with ignite's own Engine."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("ignite")

from ignite.engine import Engine, Events
from ignite.handlers import LRScheduler

from lrfinder import InvalidInputError, LRFinder
from lrfinder.integrations.ignite import attach

SWEEP = {"num_iter": 40, "progress": False}


def loader():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(64, 4, generator=generator)
    return DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), 8, shuffle=True)


class World:
    """A model with dropout, its optimizer and scheduler, and an engine that trains it."""

    def __init__(self, fail_at=None):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 5, 0.5)
        self.trainer = Engine(self.update)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, LRScheduler(self.scheduler))
        self.steps, self.fail_at = 0, fail_at

    def update(self, engine, batch):
        self.steps += 1
        if self.steps == self.fail_at:
            raise ZeroDivisionError("mine")
        inputs, targets = batch
        self.optimizer.zero_grad()
        loss = nn.functional.mse_loss(self.model(inputs), targets)
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item()}

    def attach(self):
        return attach(
            self.trainer,
            self.model,
            self.optimizer,
            output_transform=lambda output: output["loss"],
            preserve=[self.scheduler],
        )

    def train(self):
        torch.manual_seed(3)
        state = self.trainer.run(loader(), max_epochs=2)
        assert (state.epoch, state.iteration, state.epoch_length) == (2, 16, 8)
        return [value.clone() for value in self.model.state_dict().values()]


def assert_same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_training_afterwards_equals_training_without():
    plain, probed = World(), World()
    with probed.attach() as finder:
        finder.range_test(loader(), **SWEEP)
    assert_same(plain.train(), probed.train())
    assert plain.scheduler.state_dict() == probed.scheduler.state_dict()


def test_a_training_that_has_ended_can_be_tested_and_begun_again():
    plain, probed = World(), World()
    plain.train()
    probed.train()
    with probed.attach() as finder:
        finder.range_test(loader(), **SWEEP)
    assert probed.trainer.state.iteration == plain.trainer.state.iteration == 16
    assert_same(plain.train(), probed.train())


def test_the_curve_is_that_of_a_plain_loop():
    world, same = World(), World()
    torch.manual_seed(5)
    with world.attach() as finder:
        ours = finder.range_test(loader(), **SWEEP)
    torch.manual_seed(5)
    plain = LRFinder(same.model, same.optimizer, nn.MSELoss()).range_test(loader(), **SWEEP)
    assert (ours.lr, ours.loss) == (plain.lr, plain.loss)


def test_the_handlers_of_the_range_test_are_gone_afterwards():
    world = World()
    with world.attach() as finder:
        finder.range_test(loader(), **SWEEP)
        assert world.trainer.has_event_handler(world.trainer.interrupt)
    assert not world.trainer.has_event_handler(world.trainer.interrupt)


def test_handlers_of_the_user_run_and_see_no_end_of_a_training():
    world, seen = World(), []
    for event in (Events.STARTED, Events.ITERATION_COMPLETED, Events.COMPLETED):
        world.trainer.add_event_handler(event, lambda _, event=event: seen.append(event))
    with world.attach() as finder:
        result = finder.range_test(loader(), **SWEEP)
    assert seen == [Events.STARTED] + [Events.ITERATION_COMPLETED] * len(result)


def test_repeated_sweeps_work_within_one_block():
    with World().attach() as finder:
        assert len(finder.range_test(loader(), repeats=2, **SWEEP).repeats) == 2


def test_a_failing_update_arrives_unchanged_and_leaves_the_engine_usable():
    plain, probed = World(), World(fail_at=10)
    with pytest.raises(ZeroDivisionError, match="mine"), probed.attach() as finder:
        finder.range_test(loader(), **SWEEP)
    assert_same(plain.train(), probed.train())


def test_a_block_without_a_range_test_leaves_the_engine_as_it_was():
    plain, probed = World(), World()
    with pytest.raises(InvalidInputError), probed.attach() as finder:
        finder.range_test(loader(), num_iter=1)
    assert_same(plain.train(), probed.train())
