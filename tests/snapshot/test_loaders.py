"""Loaders: generators, samplers, worker processes, and the data that must not be copied."""

import contextlib
import functools
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

from lrfinder import LRFinder, preserve_state
from lrfinder._snapshot.snapshot import Snapshot
from tests.snapshot.helpers import bits


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dataset(size: int = 24) -> TensorDataset:
    return TensorDataset(torch.randn(size, 3, generator=generator(0)), torch.zeros(size, 1))


class Shuffled:
    """A batch sampler of nobody's class, with a generator and an epoch of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.epoch = 0

    def __len__(self) -> int:
        return 6

    def __iter__(self) -> Iterator[list[int]]:
        self.epoch += 1
        return iter(self.rng.permutation(24).reshape(6, 4).tolist())


class Noisy(Dataset):
    def __init__(self) -> None:
        self.rng = random.Random(0)

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.full((3,), index + self.rng.random()), torch.zeros(1)


class Loader:
    """A loader of nobody's class."""

    def __init__(self) -> None:
        self.generator = generator(4)
        self.epoch = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.epoch += 1
        for _ in range(6):
            yield torch.randn(4, 3, generator=self.generator), torch.zeros(4, 1)


class Epochs:
    """A sampler of nobody's class, whose order depends on the number of the epoch alone."""

    def __init__(self) -> None:
        self.epoch = 0

    def __len__(self) -> int:
        return 24

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        return iter(np.random.default_rng(self.epoch).permutation(24).tolist())


class Reordering:
    """A loader of nobody's class that shuffles its order in place, and counts in a dict."""

    def __init__(self, order: Any) -> None:
        self.order = order
        self.seen = {"batches": 0}
        self.rng = random.Random(0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.rng.shuffle(self.order)
        for start in range(0, len(self.order), 4):
            self.seen["batches"] += 1
            batch = [float(index) for index in list(self.order)[start : start + 4]]
            yield (
                torch.tensor(batch).outer(torch.ones(3)),
                torch.full((4, 1), float(len(self.seen))),
            )


class Subclass(DataLoader):
    """A loader of torch that has its own order."""

    def __init__(self) -> None:
        super().__init__(dataset(), 4)
        self.order = list(range(6))
        self.rng = random.Random(0)

    def __iter__(self) -> Any:
        self.rng.shuffle(self.order)
        batches = list(super().__iter__())
        return iter([batches[place] for place in self.order])


class Repeating:
    """Draws from a batch sampler for ever."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from self.sampler


class Infinite(DataLoader):
    """Keeps one iterator and its workers for all epochs, as the loader of YOLOv5 does."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        object.__setattr__(self, "batch_sampler", Repeating(self.batch_sampler))
        self.iterator = super().__iter__()

    def __len__(self) -> int:
        return len(self.batch_sampler.sampler)

    def __iter__(self) -> Any:
        for _ in range(len(self)):
            yield next(self.iterator)


class Options(dict):  # type: ignore[type-arg]
    """A loader whose optional attributes raise another exception than AttributeError."""

    __getattr__ = dict.__getitem__

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(LOADERS["a list"]())


class Wrapper:
    """A loader of nobody's class around one of torch."""

    def __init__(self, loader: DataLoader) -> None:
        self.inner = loader

    def __iter__(self) -> Iterator[Any]:
        return iter(self.inner)


LOADERS = {
    "global generator": lambda: DataLoader(dataset(), 4, shuffle=True),
    "own generator": lambda: DataLoader(dataset(), 4, shuffle=True, generator=generator(1)),
    "sampler's generator": lambda: DataLoader(
        dataset(), 4, sampler=RandomSampler(range(24), generator=generator(2))
    ),
    "weighted": lambda: DataLoader(
        dataset(), 4, sampler=WeightedRandomSampler([1.0] * 24, 24, generator=generator(3))
    ),
    "nested batch sampler": lambda: DataLoader(
        dataset(),
        batch_sampler=BatchSampler(RandomSampler(range(24), generator=generator(2)), 4, True),
    ),
    "sampler of nobody's class": lambda: DataLoader(dataset(), batch_sampler=Shuffled()),
    "sampler of nobody's class in a batch sampler": lambda: DataLoader(
        dataset(), batch_sampler=BatchSampler(Epochs(), 4, True)
    ),
    "wrapped": lambda: Wrapper(DataLoader(dataset(), 4, sampler=Epochs())),
    "noisy data": lambda: DataLoader(Noisy(), 4),
    "part of noisy data": lambda: DataLoader(random_split(Noisy(), [12, 12])[0], 4),
    "loader of nobody's class": Loader,
    "order in a list": lambda: Reordering(list(range(24))),
    "order in a deque": lambda: Reordering(deque(range(24))),
    "order in an array": lambda: Reordering(np.arange(24)),
    "order of a subclass": Subclass,
    "kept iterator": lambda: Infinite(dataset(), 4, shuffle=True),
    "kept iterator with a generator": lambda: Infinite(
        dataset(), 4, shuffle=True, generator=generator(1)
    ),
    "a list": lambda: [(torch.ones(4, 3), torch.zeros(4, 1))] * 6,
}


def sweep(loader: Any, **options: Any) -> Any:
    with torch.random.fork_rng():
        model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    finder = LRFinder(model, optimizer, nn.MSELoss())
    return finder.range_test(loader, num_iter=9, end_lr=0.1, progress=False, **options)


@pytest.mark.parametrize("as_validation", [False, True])
@pytest.mark.parametrize("kind", LOADERS)
def test_the_next_epochs_have_the_batches_that_they_would_have_had(
    kind: str, as_validation: bool
) -> None:
    epochs = []
    for with_test in (True, False):
        torch.manual_seed(0)
        loader = LOADERS[kind]()
        list(loader)
        if with_test and as_validation:
            sweep(LOADERS["a list"](), val_loader=loader)
        elif with_test:
            sweep(loader)
        epochs.append(bits([list(loader), list(loader), getattr(loader, "epoch", 0)]))
    assert epochs[0] == epochs[1]


@pytest.mark.parametrize("kind", [kind for kind in LOADERS if kind != "a list"])
def test_without_a_snapshot_the_next_epoch_would_have_other_batches(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Snapshot, "restore", lambda *_, **__: None)
    torch.manual_seed(0)
    loader = LOADERS[kind]()
    sweep(loader)
    after = bits(list(loader))
    torch.manual_seed(0)
    loader = LOADERS[kind]()
    assert bits(list(loader)) != after


def test_a_loader_that_is_named_is_restored() -> None:
    loader = LOADERS["own generator"]()
    with preserve_state(loader):
        first = bits(list(loader))
    assert bits(list(loader)) == first


@pytest.mark.parametrize(
    "data",
    [
        [torch.zeros(1000) for _ in range(10)],
        torch.zeros(10, 1000),
        np.zeros((10, 1000)),
        Subset([torch.zeros(1000) for _ in range(10)], range(10)),
    ],
    ids=["list", "tensor", "array", "subset"],
)
def test_the_data_are_not_copied(data: Any) -> None:
    """A sampler holds on to the data set, which may be larger than memory."""
    with Snapshot(DataLoader(data, 2, shuffle=True), where="disk") as snapshot:
        assert snapshot._storage._file.seek(0, 2) == 0
        assert not any(t.numel() >= 1000 for t in snapshot._state.tensors)


class Data(np.ndarray):
    def copy(self, *_: Any) -> Any:
        raise AssertionError("the data were copied")


@pytest.mark.parametrize(
    "data",
    [
        np.zeros(1000),
        np.zeros((10, 100), dtype=np.int64),
        np.zeros(1000, dtype=np.uint8),
        np.empty(10_000_001, dtype=np.int32),
    ],
    ids=["numbers", "pictures", "bytes", "long"],
)
def test_arrays_that_are_not_an_order_of_the_data_are_not_copied(data: Any) -> None:
    with Snapshot(loaders=[Reordering(data.view(Data))]):
        pass


@pytest.mark.parametrize("as_validation", [False, True])
def test_a_loader_whose_optional_attributes_raise_another_exception(as_validation: bool) -> None:
    loader = Options()
    if as_validation:
        sweep(LOADERS["a list"](), val_loader=loader)
    else:
        sweep(loader)


def workers() -> set[psutil.Process]:
    alive = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                alive.add(child)
    return alive


class Failing(Dataset):
    def __init__(self, at: int) -> None:
        self.at = at

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == self.at:
            raise ValueError("broken item")
        return torch.ones(3), torch.zeros(1)


WITH_WORKERS: dict[str, Callable[..., Any]] = {
    "new workers": DataLoader,
    "persistent workers": functools.partial(DataLoader, persistent_workers=True),
    "kept iterator": functools.partial(Infinite, persistent_workers=True),
}


def end_workers(loader: Any) -> None:
    """End the user's own workers; the garbage collector would wait for each of them."""
    iterator = getattr(loader, "iterator", loader._iterator)
    if iterator is not None:
        iterator._shutdown_workers()


@pytest.mark.parametrize("kind", WITH_WORKERS)
def test_no_worker_process_is_left(kind: str) -> None:
    others = workers()
    loader = WITH_WORKERS[kind](dataset(), 4, num_workers=1)
    before = workers()
    sweep(loader, val_loader=loader)
    assert workers() == before
    end_workers(loader)
    assert workers() <= others


@pytest.mark.parametrize("at", [0, 9], ids=["in the first batch", "in the third batch"])
@pytest.mark.parametrize("kind", WITH_WORKERS)
def test_no_worker_process_is_left_when_the_loader_raises(kind: str, at: int) -> None:
    """Even while the traceback, which holds on to the frames, is alive."""
    loader = WITH_WORKERS[kind](Failing(at), 4, num_workers=1)
    before = workers()
    with pytest.raises(ValueError, match="broken item") as info:
        sweep(loader)
    assert workers() <= before
    assert info.traceback
    end_workers(loader)


@pytest.mark.parametrize("at", [0, 9], ids=["in the first batch", "in the third batch"])
@pytest.mark.parametrize("kind", ["persistent workers", "kept iterator"])
def test_no_worker_process_is_left_when_the_validation_loader_raises(kind: str, at: int) -> None:
    loader = WITH_WORKERS[kind](Failing(at), 4, num_workers=1)
    before = workers()
    with pytest.raises(ValueError, match="broken item") as info:
        sweep(LOADERS["a list"](), val_loader=loader, val_batches=6)
    assert workers() <= before
    assert info.traceback
    end_workers(loader)


class Drawing(Dataset):
    """Its items are what a worker draws, so they tell how much it has drawn before."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, _: int) -> tuple[Tensor, Tensor]:
        return torch.rand(3), torch.zeros(1)


@pytest.mark.parametrize("as_validation", [False, True])
@pytest.mark.parametrize("kind", ["persistent workers", "kept iterator"])
def test_persistent_workers_of_the_user_are_not_drawn_from(kind: str, as_validation: bool) -> None:
    """The same processes, in the same state: mid-epoch, and for the epochs to come."""
    epochs, others = [], workers()
    for with_test in (True, False):
        torch.manual_seed(0)
        loader = WITH_WORKERS[kind](Drawing(), 2, num_workers=1)
        batches = iter(loader)
        first, own = next(batches), workers() - others
        assert len(own) == 1
        if with_test and as_validation:
            sweep(LOADERS["a list"](), val_loader=loader)
        elif with_test:
            sweep(loader)
        assert workers() - others == own
        epochs.append(bits([first, *batches, list(loader)]))
        end_workers(loader)
    assert epochs[0] == epochs[1]


def test_every_trial_begins_at_the_same_batch_of_a_loader_that_keeps_its_iterator() -> None:
    model, first = nn.Linear(3, 1), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def training_step(_: nn.Module, batch: Any) -> Tensor:
        if not optimizer.state:
            first.append(bits(batch[0]))
        return (model.weight - 1).square().mean()

    loader = LOADERS["kept iterator"]()
    next(iter(loader))
    LRFinder(model, optimizer, training_step=training_step).recommend(
        loader, budget=120, progress=False
    )
    assert len(first) > 2
    assert first == first[:1] * len(first)


def test_a_stream_of_data_is_read_by_workers_of_the_sweep() -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return iter([(torch.ones(3), torch.zeros(1))] * 20)

    before = workers()
    assert len(sweep(DataLoader(Stream(), 4, num_workers=1))) == 9
    assert workers() <= before
