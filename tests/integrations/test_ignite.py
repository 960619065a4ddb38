"""The range test with ignite's own Engine."""

from __future__ import annotations

import copy
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("ignite")

from ignite.base import Serializable
from ignite.engine import Engine, Events, create_supervised_trainer
from ignite.handlers import EarlyStopping, EMAHandler, LRScheduler, TerminateOnNan
from ignite.handlers.param_scheduler import (
    LinearCyclicalScheduler,
    PiecewiseLinear,
    ReduceLROnPlateauScheduler,
    create_lr_scheduler_with_warmup,
)
from ignite.metrics import RunningAverage

from lrfinder import InvalidInputError, LRFinder, StopReason
from lrfinder.integrations.ignite import attach
from tests.integrations.helpers import assert_same

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

    def attach(self, **settings):
        return attach(
            self.trainer,
            self.model,
            self.optimizer,
            output_transform=lambda output: output["loss"],
            preserve=[self.scheduler],
            **settings,
        )

    def train(self):
        torch.manual_seed(3)
        state = self.trainer.run(loader(), max_epochs=2)
        assert (state.epoch, state.iteration, state.epoch_length) == (2, 16, 8)
        return [value.clone() for value in self.model.state_dict().values()]


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


@pytest.mark.parametrize("name", ["criterion", "training_step"])
def test_the_validation_loss_is_that_of_a_plain_loop(name):
    def training_step(model, batch):
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    validates = {name: nn.MSELoss() if name == "criterion" else training_step}
    world, same = World(), World()
    batches = list(loader())[:2]
    torch.manual_seed(5)
    with world.attach(**validates) as finder:
        ours = finder.range_test(loader(), batches, val_batches=2, **SWEEP)
    torch.manual_seed(5)
    finder = LRFinder(same.model, same.optimizer, nn.MSELoss())
    plain = finder.range_test(loader(), batches, val_batches=2, **SWEEP)
    assert (ours.loss, ours.val_loss) == (plain.loss, plain.val_loss)


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


@pytest.mark.parametrize("accumulation", [1, 4])
def test_a_step_is_an_optimizer_step_of_ignites_own_trainer(accumulation):
    """Four micro-batches of 8 give the curve and the batch size of one batch of 32."""
    curves = []
    for size, steps in ((8, accumulation), (8 * accumulation, 1)):
        world = World()
        world.model[2].p = 0.0
        trainer = create_supervised_trainer(
            world.model, world.optimizer, nn.MSELoss(), gradient_accumulation_steps=steps
        )
        with attach(trainer, world.model, world.optimizer) as finder:
            data = DataLoader(loader().dataset, size)
            curves.append(finder.range_test(data, num_iter=30, progress=False))
    assert curves[0].batch_size == curves[1].batch_size == 8 * accumulation
    assert curves[0].lr == curves[1].lr
    assert curves[0].loss == pytest.approx(curves[1].loss, rel=1e-4)


@pytest.mark.parametrize("method", ["range_test", "recommend"])
def test_an_accumulation_of_its_own_is_refused(method):
    world = World()
    with world.attach() as finder, pytest.raises(InvalidInputError, match="that of the engine"):
        getattr(finder, method)(loader(), accumulation_steps=2)


def test_accumulated_batches_can_be_held():
    world = World()
    trainer = create_supervised_trainer(
        world.model, world.optimizer, nn.MSELoss(), gradient_accumulation_steps=2
    )
    seen = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.batch[0][0, 0].item())
    )
    with attach(trainer, world.model, world.optimizer) as finder:
        finder.range_test(loader(), cached_batches=3, num_iter=6, progress=False)
    assert len(set(seen[:6])) == 6
    assert seen[:6] == seen[6:12]


def test_a_scheduler_that_runs_before_the_update_does_not_change_the_rate():
    """ignite's own parameter schedulers set the rate when an iteration starts."""
    plain, probed = World(), World()
    used = []
    probed.optimizer.register_step_post_hook(
        lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"])
    )
    for world in (plain, probed):
        schedule = LinearCyclicalScheduler(world.optimizer, "lr", 1e-4, 0.01, 8)
        world.trainer.add_event_handler(Events.ITERATION_STARTED, schedule)
        world.schedule = schedule
    with attach(
        probed.trainer,
        probed.model,
        probed.optimizer,
        output_transform=lambda output: output["loss"],
        preserve=[probed.scheduler, probed.schedule],
    ) as finder:
        result = finder.range_test(loader(), **SWEEP)
    assert used[: len(result)] == list(result.lr)
    assert_same(plain.train(), probed.train())


def scheduled(world):
    handler = PiecewiseLinear(world.optimizer, "lr", [(0, 0.01), (50, 0.0)])
    world.trainer.add_event_handler(Events.ITERATION_STARTED, handler)
    return handler.state_dict


def scheduled_in_parts(world):
    later = PiecewiseLinear(world.optimizer, "lr", [(0, 0.01), (50, 0.0)])
    handler = create_lr_scheduler_with_warmup(later, 1e-4, 8, 0.01)
    world.trainer.add_event_handler(Events.ITERATION_STARTED, partial(handler))
    return handler.state_dict


def scheduled_by_torch(world):
    handler = LRScheduler(torch.optim.lr_scheduler.StepLR(world.optimizer, 5, 0.5))
    world.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), handler)
    return lambda: {**handler.state_dict(), "epoch": handler.lr_scheduler.last_epoch}


def averaged(world):
    handler = EMAHandler(world.model, 0.1, momentum_warmup=0.5, warmup_iters=10)
    handler.attach(world.trainer)
    names = [name for name, _ in handler.ema_model.named_parameters()]
    return lambda: {name: handler.ema_model.get_parameter(name).tolist() for name in names}


def measured(world):
    handler = RunningAverage(output_transform=lambda output: output["loss"])
    handler.attach(world.trainer, "loss")
    return lambda: vars(handler)["_value"]


class Counter(Serializable):
    """A handler that can be saved, as those of ignite."""

    def __init__(self):
        self.count = 0

    def add(self, _):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def counted(world):
    counter = Counter()
    world.trainer.add_event_handler(Events.ITERATION_COMPLETED, counter.add)
    return counter.state_dict


HANDLERS = [scheduled, scheduled_in_parts, scheduled_by_torch, averaged, measured, counted]


@pytest.mark.parametrize("method", ["range_test", "recommend"])
@pytest.mark.parametrize("handler", HANDLERS)
def test_handlers_with_state_are_left_as_they_were(handler, method):
    plain, probed = World(), World()
    states = [handler(world) for world in (plain, probed)]
    before = copy.deepcopy(states[1]())
    options = {"budget": 120} if method == "recommend" else SWEEP
    with probed.attach() as finder:
        getattr(finder, method)(loader(), **{**options, "progress": False})
    assert states[1]() == before
    assert_same(plain.train(), probed.train())
    assert states[0]() == states[1]() != before


def test_every_trial_begins_with_the_handlers_as_they_were():
    world, counter, counts = World(), Counter(), []
    world.trainer.add_event_handler(Events.ITERATION_COMPLETED, counter.add)
    world.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda _: counts.append(counter.count)
    )
    with world.attach() as finder:
        found = finder.recommend(loader(), budget=120, progress=False)
    assert counts.count(1) > len(found.trials)  # the sweep, and the trials that were not kept
    assert all(later in (1, count + 1) for count, later in pairwise(counts))


def test_a_schedule_by_a_metric_still_sets_the_rate_afterwards():
    world, evaluator = World(), Engine(lambda *_: None)
    handler = ReduceLROnPlateauScheduler(
        world.optimizer, metric_name="loss", patience=0, trainer=world.trainer
    )
    evaluator.add_event_handler(Events.COMPLETED, handler)
    world.trainer.add_event_handler(Events.ITERATION_STARTED(every=10**6), handler)
    with world.attach() as finder:
        finder.range_test(loader(), **SWEEP)
    evaluator.state.metrics["loss"] = 1.0
    for _ in range(3):
        evaluator.run([0])
        evaluator.state.metrics["loss"] = 1.0
    assert world.optimizer.param_groups[0]["lr"] < 0.01


def test_a_method_of_the_engine_among_the_handlers_does_not_start_it_again():
    world, starts = World(), []
    world.trainer.add_event_handler(Events.STARTED, lambda _: starts.append(1))
    world.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=10**6), world.trainer.terminate)
    with world.attach() as finder:
        finder.recommend(loader(), budget=120, progress=False)
    assert len(starts) == 1


def test_an_update_that_sets_the_rate_during_the_step_is_refused():
    world = World()

    def update(engine, batch):
        def closure():
            world.optimizer.param_groups[0]["lr"] = 0.5
            loss = world.model(batch[0]).square().mean()
            loss.backward()
            return loss

        return world.optimizer.step(closure).item()

    with (
        pytest.raises(InvalidInputError, match=r"set to 0\.5"),
        attach(Engine(update), world.model, world.optimizer) as finder,
    ):
        finder.range_test(loader(), **SWEEP)
    assert world.optimizer.param_groups[0]["lr"] == 0.01


def test_an_optimizer_that_never_steps_is_refused():
    world = World()
    other = torch.optim.SGD(world.model.parameters(), lr=0.1)
    with (
        pytest.raises(InvalidInputError, match="SGD did not step"),
        attach(
            world.trainer,
            world.model,
            other,
            preserve=[world.optimizer, world.scheduler],
        ) as finder,
    ):
        finder.range_test(loader(), **SWEEP)
    assert_same(World().train(), world.train())


@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.ITERATION_COMPLETED])
def test_a_handler_that_terminates_the_engine_ends_the_sweep(event):
    plain, probed = World(), World()
    world_steps = []

    def stop(engine):
        world_steps.append(1)
        if len(world_steps) == 12:
            engine.terminate()

    handler = probed.trainer.add_event_handler(event, stop)
    with probed.attach() as finder:
        result = finder.range_test(loader(), **SWEEP)
        assert result.stop_reason is StopReason.CALLBACK
        assert 11 <= len(result) <= 13
        assert len(finder.range_test(loader(), **SWEEP)) > 13  # the engine runs again
        world_steps.clear()  # ended in the first of the sweeps that an open start takes
        assert len(finder.range_test(loader(), start_lr=None, progress=False)) > 13
    handler.remove()
    assert_same(plain.train(), probed.train())


def test_a_callback_of_the_user_is_called_at_every_step_and_can_end_the_sweep():
    world, calls = World(), []

    def on_step(*call):
        calls.append(call)
        return len(calls) == 8

    with world.attach() as finder:
        result = finder.range_test(loader(), on_step=on_step, **SWEEP)
    assert result.stop_reason is StopReason.CALLBACK
    assert calls == list(zip(result.lr, result.loss, range(8), strict=True))


@pytest.mark.parametrize("has_callback", [False, True])
def test_an_open_start_takes_as_many_updates_as_with_the_core(has_callback):
    world = World()
    world.model[2].p = 0.0
    options = {"start_lr": None, "cached_batches": 1, "progress": False}
    if has_callback:
        options["on_step"] = lambda *_: None
    updates = []

    def update_step(_, batch):
        updates.append(1)
        return world.update(None, batch)["loss"]

    finder = LRFinder(world.model, world.optimizer, update_step=update_step)
    torch.manual_seed(1)
    plain = finder.range_test(loader(), **options)
    counted = []
    world.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: counted.append(1))
    torch.manual_seed(1)
    with world.attach() as finder:
        assert finder.range_test(loader(), **options).lr == plain.lr
    assert len(counted) == len(updates)


def test_arguments_in_another_order_are_refused():
    world = World()
    with (
        pytest.raises(InvalidInputError, match="class Engine of ignite, got Sequential"),
        attach(world.model, world.trainer, world.optimizer),
    ):
        pass


@pytest.mark.parametrize("value", [5, 0, "stop"])
def test_a_callback_that_cannot_be_called_is_refused(value):
    world = World()
    with world.attach() as finder, pytest.raises(InvalidInputError, match="on_step must be"):
        finder.range_test(loader(), on_step=value, **SWEEP)
    assert world.steps == 0


def test_terminate_on_nan_ends_the_sweep_as_a_loss_that_is_not_finite():
    plain, probed = World(), World()
    probed.trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    real = probed.update

    def update(engine, batch):
        output = real(engine, batch)
        return output if probed.steps != 10 else {"loss": float("nan")}

    probed.trainer._process_function = update
    with probed.attach() as finder:
        result = finder.range_test(loader(), **SWEEP)
    assert (len(result), result.stop_reason) == (10, StopReason.NON_FINITE)
    probed.trainer._process_function = real
    assert_same(plain.train(), probed.train())


def test_early_stopping_ends_the_sweep_and_not_the_training_after_it():
    plain, probed = World(), World()
    for world in (plain, probed):
        stop = EarlyStopping(patience=5, score_function=lambda engine: 0.0, trainer=world.trainer)
        world.trainer.add_event_handler(Events.ITERATION_COMPLETED, stop)
        world.stop = stop
    with attach(
        probed.trainer,
        probed.model,
        probed.optimizer,
        preserve=[probed.scheduler, vars(probed.stop)],
    ) as finder:
        result = finder.range_test(loader(), **SWEEP)
    assert result.stop_reason is StopReason.CALLBACK
    plain.trainer.run(loader(), max_epochs=2)
    probed.trainer.run(loader(), max_epochs=2)
    assert plain.trainer.state.iteration == probed.trainer.state.iteration == 6


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"y": 1.0}, r"a dict with the keys \['y'\]"),
        ((torch.zeros(3), 1.0), "a tuple"),
        (None, "None"),
        (torch.zeros(3), "a Tensor"),
    ],
)
def test_an_output_without_a_loss_is_refused_with_the_way_out(output, says):
    world = World()

    def update(engine, batch):
        world.update(engine, batch)
        return output

    with (
        pytest.raises(InvalidInputError, match=f"{says}.*output_transform"),
        attach(Engine(update), world.model, world.optimizer, preserve=[world.scheduler]) as finder,
    ):
        finder.range_test(loader(), **SWEEP)


def test_a_dict_that_holds_the_loss_is_taken_with_its_other_numbers():
    world = World()

    def update(engine, batch):
        return world.update(engine, batch) | {"accuracy": torch.tensor(0.5), "name": "batch"}

    with attach(Engine(update), world.model, world.optimizer) as finder:
        result = finder.range_test(loader(), **SWEEP)
    assert set(result.metrics) == {"accuracy"}
    assert set(result.metrics["accuracy"]) == {0.5}
