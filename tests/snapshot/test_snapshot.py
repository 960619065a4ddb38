"""Every kind of state, in every way that a range test can end."""

import copy
import random
from argparse import Namespace
from collections import UserDict, UserList
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lrfinder import InvalidInputError, StopReason, preserve_state
from lrfinder._snapshot.snapshot import Snapshot
from tests.snapshot.helpers import WITNESSES, World, witness

# The vandal of the world wraps `optimizer.step` after the scheduler was made, on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Seems like `optimizer.step")

STEPS = 8
HOW_TO_END: dict[str, Callable[[World, Any], None]] = {}


class Boom(Exception):
    """Raised on purpose."""


def way(name: str) -> Callable[..., Any]:
    def register(end: Callable[[World, Any], None]) -> Callable[[World, Any], None]:
        HOW_TO_END[name] = end
        return end

    return register


def run(world: World, snapshot: Any, **options: Any) -> Any:
    def on_step(*_: Any) -> None:
        world.vandalize()

    options.setdefault("on_step", on_step)
    settings = {"num_iter": STEPS, "end_lr": 0.1, "progress": False, "diverge_th": 1e9}
    return world.finder(snapshot=snapshot).range_test(world.loader, **{**settings, **options})


@way("success")
def _(world: World, snapshot: Any) -> None:
    assert len(run(world, snapshot)) == STEPS


@way("success with validation")
def _(world: World, snapshot: Any) -> None:
    assert len(run(world, snapshot, val_loader=world.loader).val_loss) == STEPS


@way("the model raises")
def _(world: World, snapshot: Any) -> None:
    fragile(world, snapshot, "model", Boom)


@way("Ctrl-C in the model")
def _(world: World, snapshot: Any) -> None:
    fragile(world, snapshot, "model", KeyboardInterrupt)


@way("the loader raises")
def _(world: World, snapshot: Any) -> None:
    fragile(world, snapshot, "loader", Boom)


@way("Ctrl-C in the loader")
def _(world: World, snapshot: Any) -> None:
    fragile(world, snapshot, "loader", KeyboardInterrupt)


@way("the callback raises")
def _(world: World, snapshot: Any) -> None:
    fragile(world, snapshot, "callback", Boom)


@way("Ctrl-C in the callback")
def _(world: World, snapshot: Any) -> None:
    fragile(world, snapshot, "callback", KeyboardInterrupt)


@way("between unscale_ and update of the scaler")
def _(world: World, snapshot: Any) -> None:
    def clip(_: Any) -> None:
        if world.model.calls >= start + 3:
            raise Boom

    start = world.model.calls
    finder = world.finder(snapshot=snapshot, clip_grad=clip)
    with pytest.raises(Boom):
        finder.range_test(world.loader, num_iter=STEPS, progress=False)


@way("NaN")
def _(world: World, snapshot: Any) -> None:
    def poison(*_: Any) -> None:
        world.vandalize()
        if world.model.calls >= start + 3:
            world.model.last.weight.data.fill_(torch.nan)

    start = world.model.calls
    assert run(world, snapshot, on_step=poison).stop_reason is StopReason.NON_FINITE


@way("the callback stops it")
def _(world: World, snapshot: Any) -> None:
    def stop(*_: Any) -> bool:
        world.vandalize()
        return True

    assert run(world, snapshot, on_step=stop).stop_reason is StopReason.CALLBACK


@way("twice")
def _(world: World, snapshot: Any) -> None:
    assert run(world, snapshot).loss == run(world, snapshot).loss


@way("nested")
def _(world: World, snapshot: Any) -> None:
    inside: list[Any] = []

    def nested(*_: Any) -> None:
        world.vandalize()
        if not inside:
            before = witness(world)
            inside.append(run(world, snapshot))
            assert witness(world) == before

    run(world, snapshot, on_step=nested)
    assert len(inside) == 1


def fragile(world: World, snapshot: Any, where: str, error: type[BaseException]) -> None:
    """Sweep until the third call of a part, which raises."""
    calls = 0

    def tick() -> None:
        nonlocal calls
        calls += 1
        if calls == (20 if where == "loader" else 3):  # by sample; by batch
            raise error

    def on_step(*_: Any) -> None:
        world.vandalize()
        if where == "callback":
            tick()

    handle = None
    if where == "model":
        handle = world.model.drop.register_forward_pre_hook(lambda *_: tick())
    if where == "loader":
        world.dataset.before_item = tick
    try:
        with pytest.raises(error):
            run(world, snapshot, on_step=on_step)
    finally:
        world.dataset.before_item = lambda: None
        if handle is not None:
            handle.remove()


@cache
def before_and_after(end: str, started: int, snapshot: str) -> tuple[Any, Any]:
    world = World()
    world.train(started)
    before = witness(world)
    HOW_TO_END[end](world, snapshot)
    return before, witness(world)


@cache
def untouched(started: int) -> tuple[Any, list[float], Any]:
    world = World()
    world.train(started)
    return world.train(20), witness(world)


@pytest.mark.parametrize("kind", WITNESSES)
@pytest.mark.parametrize("started", [0, 5], ids=["at the start", "mid-training"])
@pytest.mark.parametrize("end", HOW_TO_END)
def test_each_kind_of_state_is_as_before(end: str, started: int, kind: str) -> None:
    before, after = before_and_after(end, started, "memory")
    assert after[kind] == before[kind]


@pytest.mark.parametrize("started", [0, 5], ids=["at the start", "mid-training"])
@pytest.mark.parametrize("end", HOW_TO_END)
def test_each_kind_of_state_is_as_before_from_disk(end: str, started: int) -> None:
    before, after = before_and_after(end, started, "disk")
    assert after == before


@pytest.mark.parametrize("started", [0, 5], ids=["at the start", "mid-training"])
@pytest.mark.parametrize("end", HOW_TO_END)
def test_training_goes_on_bit_for_bit_as_without(end: str, started: int) -> None:
    """The next 20 losses, and all the state after them, are those of a run without a range test."""
    world = World()
    world.train(started)
    HOW_TO_END[end](world, "memory")
    losses, state = world.train(20), witness(world)
    expected_losses, expected_state = untouched(started)
    assert losses == expected_losses
    for kind in set(WITNESSES) - {"identity", "patched methods"}:  # these are two worlds
        assert state[kind] == expected_state[kind], kind


@pytest.mark.parametrize("kind", WITNESSES)
def test_without_a_snapshot_each_kind_of_state_changes(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each witness can tell: where nothing is restored, it sees the difference."""
    monkeypatch.setattr(Snapshot, "restore", lambda *_, **__: None)
    before, after = before_and_after.__wrapped__("success", 5, "memory")
    assert after[kind] != before[kind]


class Average:
    """Keeps state in attributes, without `state_dict`, and in an object of another class."""

    def __init__(self) -> None:
        self.shadow = {"weight": torch.zeros(2)}
        self.steps = 0
        self.inner = SimpleNamespace(history=[1.0], rng=random.Random(0), tensor=torch.ones(3))


def test_an_object_with_attributes_is_restored_with_all_that_it_refers_to() -> None:
    average = Average()
    shadow, inner, tensor = average.shadow["weight"], average.inner, average.inner.tensor
    with preserve_state(average):
        drawn = inner.rng.random()
        average.shadow["weight"] += 1
        average.shadow["bias"] = torch.ones(1)
        average.steps += 1
        average.new = 1
        inner.history.append(2.0)
        inner.tensor.zero_()
        inner.tensor = None
        average.inner = None
    assert vars(average) == {"shadow": {"weight": shadow}, "steps": 0, "inner": inner}
    assert shadow.eq(0).all()
    assert inner.tensor is tensor
    assert tensor.eq(1).all()
    assert inner.history == [1.0]
    assert inner.rng.random() == drawn


class Counter:
    """Has an attribute of its own only once it has counted."""

    count = 0

    def __init__(self, inner: object = None) -> None:
        if inner is not None:
            self.inner = inner


@pytest.mark.parametrize("depth", [0, 1])
def test_an_object_whose_attributes_are_still_those_of_its_class_is_restored(depth: int) -> None:
    counter = Counter()
    with preserve_state(counter if depth == 0 else Counter(counter)):
        counter.count += 1
    assert vars(counter) == {}


class Slotted:
    __slots__ = ("__count", "later")  # the first under a name of this class alone

    def __init__(self) -> None:
        self.__count = [0]

    def change(self) -> None:
        self.__count.append(1)
        self.__count = [*self.__count, 2]
        self.later = True

    def state(self) -> Any:
        return self.__count, hasattr(self, "later")


class PartlySlotted(Slotted):
    def __init__(self) -> None:
        super().__init__()
        self.own = 0

    def change(self) -> None:
        super().change()
        self.own += 1

    def state(self) -> Any:
        return *super().state(), self.own


@dataclass(slots=True, frozen=True)
class Frozen:
    tensor: torch.Tensor = field(default_factory=lambda: torch.zeros(2))
    single: Slotted = field(default_factory=Slotted)

    def change(self) -> None:
        self.tensor.add_(1)
        self.single.change()
        object.__setattr__(self, "tensor", torch.ones(2))

    def state(self) -> Any:
        return self.tensor.tolist(), self.single.state()


class OneSlot:
    __slots__ = "count"  # noqa: PLC0205 - allowed in Python, and people write it

    def __init__(self) -> None:
        self.count = 0

    def change(self) -> None:
        self.count += 1

    def state(self) -> Any:
        return self.count


class Table(UserDict):  # type: ignore[type-arg]
    def change(self) -> None:
        self["changed"] = True

    def state(self) -> Any:
        return dict(self)


class Holding:
    """Keeps another object in an object of the standard library."""

    def __init__(self) -> None:
        self.table = UserDict({"a": OneSlot()})
        self.items = UserList([1])
        self.options = Namespace(step=1)

    def change(self) -> None:
        self.table["a"].change()
        self.table["b"] = 1
        self.items.append(2)
        self.options.step = 2

    def state(self) -> Any:
        return self.table["a"].count, [*self.table], [*self.items], vars(self.options).copy()


WAYS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda thing: thing,
    "in an object": lambda thing: SimpleNamespace(inner=thing),
    "in a list": lambda thing: [thing],
    "in containers": lambda thing: ({"a": [1, thing]}, "name", print),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Slotted, PartlySlotted, Frozen, OneSlot, Table, Holding])
def test_an_object_is_restored_wherever_it_keeps_its_state_and_is_kept(kind: Any, way: str) -> None:
    thing = kind()
    before = copy.deepcopy(thing.state())
    with preserve_state(WAYS[way](thing)):
        thing.change()
        assert thing.state() != before
    assert thing.state() == before


def test_objects_in_a_container_that_was_captured_before_are_restored() -> None:
    module, counter = torch.nn.Identity(), Counter()
    module.counters = [counter]
    with preserve_state(module, (module.counters,)):
        counter.count += 1
        module.counters.clear()
    assert module.counters == [counter]
    assert vars(counter) == {}


def test_the_attributes_of_an_object_can_be_restored_without_the_objects_in_them() -> None:
    average = Average()
    with preserve_state(vars(average)):
        average.steps += 1
        average.inner.other = 1
    assert average.steps == 0
    assert average.inner.other == 1


class WithMethod:
    """Its state has a method of its own, as that of ignite's plateau scheduler."""

    def __init__(self) -> None:
        self.count, self.method = 0, self.add

    def add(self) -> None:
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "method": self.method}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def test_a_method_in_a_state_stays_that_of_its_object() -> None:
    thing = WithMethod()
    with preserve_state(thing):
        thing.method()
    thing.method()
    assert thing.count == 1


def test_an_object_that_refers_to_half_the_program_is_refused() -> None:
    average = Average()
    average.others = [Average() for _ in range(600)]
    for thing in (average, [average]):
        with (
            pytest.raises(InvalidInputError, match=r"Average .* refers to more than 1000 other"),
            preserve_state(thing),
        ):
            pass


def test_a_snapshot_can_be_entered_again_and_captures_anew() -> None:
    model = torch.nn.Linear(1, 1)
    guard = preserve_state(model)
    for value in (1.0, 2.0):
        model.weight.data.fill_(value)
        with guard:
            model.weight.data.fill_(9.0)
        assert model.weight.item() == value


def test_preserve_state_serves_a_loop_of_ones_own() -> None:
    world = World()
    world.train(5)
    before = witness(world)
    with preserve_state(
        world.model,
        world.criterion,
        world.optimizer,
        world.scaler,
        world.ema,
        world.metric,
        world.scheduler,
        world.loader,
    ):
        world.train(10)
        world.vandalize()
        assert witness(world) != before
    assert witness(world) == before
