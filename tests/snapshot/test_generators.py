"""Random number generators further in: in transforms, collate functions and nested samplers."""

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler, Subset

from lrfinder import LRFinder, preserve_state
from lrfinder._snapshot.generators import search
from lrfinder._snapshot.snapshot import Snapshot
from tests.snapshot.helpers import bits

GLOBAL = np.random.default_rng(0)


class Images(Dataset):
    """Sixteen pictures of noise and a transform."""

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        self.x = np.random.default_rng(1).random((16, 8, 8, 3), dtype=np.float32)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.as_tensor(np.array(self.transform(self.x[index]))), torch.zeros(1)


class Randomizable:
    """As MONAI has it: one generator for all objects, until an object is given its own."""

    R = np.random.RandomState(5)

    def set_random_state(self, seed: int) -> None:
        self.R = np.random.RandomState(seed)

    def __call__(self, x: Any) -> Any:
        return x + self.R.uniform()


class Compose:
    def __init__(self, transforms: list[Any]) -> None:
        self.transforms = transforms

    def __call__(self, x: Any) -> Any:
        return functools.reduce(lambda value, transform: transform(value), self.transforms, x)


class Lazy:
    """Makes its generator at the first call, as Hugging Face's collator does."""

    def __init__(self, given: bool = False) -> None:
        if given:
            self.generator = None

    def __call__(self, batch: Any) -> Any:
        if getattr(self, "generator", None) is None:
            self.generator = torch.Generator().manual_seed(3)
        x, y = torch.utils.data.default_collate(batch)
        return x + torch.rand((), generator=self.generator), y


class Draws:
    __slots__ = ("rng",)

    def __init__(self) -> None:
        self.rng = random.Random(6)

    def __call__(self, x: Any) -> Any:
        return x + self.rng.random()


class Wrapped(Sampler[int]):
    """The order of another object's generator."""

    def __init__(self) -> None:
        self.inner = Randomizable()
        self.inner.set_random_state(4)

    def __len__(self) -> int:
        return 16

    def __iter__(self) -> Any:
        return iter(self.inner.R.permutation(16).tolist())


class Bits(Dataset):
    """Holds a bit generator, reached through a property."""

    def __init__(self) -> None:
        self._bits = np.random.PCG64(8)

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        value = np.random.Generator(self._bits).random()
        return torch.full((8, 8, 3), value, dtype=torch.float32), torch.zeros(1)


def with_closure() -> Callable[[Any], Any]:
    rng = np.random.default_rng(2)
    return lambda x: x + rng.random(dtype=np.float32)


def with_argument(rng: Any, x: Any) -> Any:
    return x + rng.random()


def with_global(x: Any) -> Any:
    return x + GLOBAL.random()


def seeded() -> Randomizable:
    transform = Randomizable()
    transform.set_random_state(1)
    return transform


def monai() -> DataLoader[Any]:
    transforms = pytest.importorskip("monai.transforms")
    first = transforms.RandGaussianNoise(prob=1.0)
    transform = transforms.Compose([first, transforms.RandScaleIntensity(0.5, prob=0.7)])
    transform.set_random_state(3)
    return DataLoader(Images(transform), 4)


def monai_without_a_seed() -> DataLoader[Any]:
    transforms = pytest.importorskip("monai.transforms")
    transform = transforms.RandGaussianNoise(prob=1.0)
    assert "R" not in vars(transform)
    transform.R.seed(0)
    return DataLoader(Images(transform), 4)


def albumentations() -> DataLoader[Any]:
    a = pytest.importorskip("albumentations")
    some = a.OneOf([a.RandomBrightnessContrast(p=1.0), a.GaussNoise(p=1.0)], p=0.9)
    compose = a.Compose([a.HorizontalFlip(), some], seed=3)
    return DataLoader(Images(lambda x: compose(image=x)["image"]), 4)


LOADERS: dict[str, Callable[[], DataLoader[Any]]] = {
    "transforms in a list": lambda: DataLoader(Images(Compose([seeded(), Compose([seeded()])])), 4),
    "generator of a class": lambda: DataLoader(Images(Compose([Randomizable()])), 4),
    "in a slot": lambda: DataLoader(Images(Compose([Draws()])), 4),
    "closure": lambda: DataLoader(Images(with_closure()), 4),
    "partial": lambda: DataLoader(Images(functools.partial(with_argument, random.Random(3))), 4),
    "method": lambda: DataLoader(Images(seeded().__call__), 4),
    "global variable": lambda: DataLoader(Images(with_global), 4),
    "data set in data sets": lambda: DataLoader(
        ConcatDataset([Subset(Images(seeded()), range(8)), Images(Compose([seeded()]))]), 4
    ),
    "collate function": lambda: DataLoader(Images(np.copy), 4, collate_fn=Lazy(given=True)),
    "attribute that was not there": lambda: DataLoader(Images(np.copy), 4, collate_fn=Lazy()),
    "in a sampler": lambda: DataLoader(Images(np.copy), 4, sampler=Wrapped()),
    "bit generator": lambda: DataLoader(Bits(), 4),
    "monai": monai,
    "monai without a seed": monai_without_a_seed,
    "albumentations": albumentations,
}


def finder() -> LRFinder:
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 3, 1))
    return LRFinder(model, torch.optim.SGD(model.parameters(), lr=0.1), nn.MSELoss())


def epochs_after(kind: str, use: Callable[[Any], Any]) -> Any:
    """Return two epochs of a loader that was read for one epoch and then used."""
    torch.manual_seed(0), np.random.seed(0), random.seed(0)  # noqa: NPY002
    Randomizable.R.seed(5)
    GLOBAL.bit_generator.state = np.random.default_rng(0).bit_generator.state
    loader = LOADERS[kind]()
    use(loader)
    return bits([[x for x, _ in loader], [x for x, _ in loader]])


@pytest.mark.parametrize("started", [False, True], ids=["at the start", "after an epoch"])
@pytest.mark.parametrize("kind", LOADERS)
def test_training_after_a_range_test_sees_the_same_batches(kind: str, started: bool) -> None:
    def epoch(loader: Any) -> None:
        if started:
            list(loader)

    def epoch_and_sweep(loader: Any) -> None:
        epoch(loader)
        finder().range_test(loader, num_iter=6, end_lr=0.1, progress=False)

    assert epochs_after(kind, epoch_and_sweep) == epochs_after(kind, epoch)


@pytest.mark.parametrize("kind", LOADERS)
def test_training_after_a_range_test_without_a_snapshot_sees_other_batches(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = epochs_after(kind, lambda _: None)
    monkeypatch.setattr(Snapshot, "restore", lambda *_, **__: None)

    def sweep(loader: Any) -> None:
        finder().range_test(loader, num_iter=6, end_lr=0.1, progress=False)

    assert epochs_after(kind, sweep) != expected


@pytest.mark.parametrize("kind", ["transforms in a list", "collate function", "closure"])
def test_every_trial_of_a_recommendation_sees_the_same_batches(kind: str) -> None:
    """The first batches of the sweep are those of each trial."""
    seen: list[Any] = []
    loader = LOADERS[kind]()

    def training_step(model: nn.Module, batch: Any) -> Tensor:
        seen.append(bits(batch[0]))
        return (model(batch[0]) - 1).square().mean()

    model = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    LRFinder(model, optimizer, training_step=training_step).recommend(
        loader, budget=120, progress=False
    )
    starts = [i for i, batch in enumerate(seen) if batch == seen[0]]
    assert len(starts) > 2
    for start in starts:
        assert seen[start : start + 3] == seen[:3]


def test_the_collator_of_hugging_face_masks_the_same_tokens() -> None:
    transformers = pytest.importorskip("transformers")
    words = {f"w{i}": i for i in range(40)} | {"[MASK]": 40, "[PAD]": 41}
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0")),
        mask_token="[MASK]",
        pad_token="[PAD]",
    )

    def loader() -> DataLoader[Any]:
        collate = transformers.DataCollatorForLanguageModeling(tokenizer, seed=3)
        texts = [{"input_ids": [(i + j) % 40 for j in range(12)]} for i in range(16)]
        return DataLoader(texts, 4, collate_fn=collate)

    def training_step(model: nn.Module, batch: Any) -> Tensor:
        return model(torch.nn.functional.one_hot(batch["input_ids"], 42).float()).square().mean()

    swept, fresh = loader(), loader()
    model = nn.Linear(42, 1)
    LRFinder(
        model, torch.optim.SGD(model.parameters(), lr=0.1), training_step=training_step
    ).range_test(swept, num_iter=6, end_lr=0.1, progress=False)
    first, second = ([batch["input_ids"] for batch in each] for each in (swept, fresh))
    assert bits(first) == bits(second)
    assert any(
        not torch.equal(a, b) for a, b in zip(second, (b["input_ids"] for b in fresh), strict=True)
    )


def test_a_transform_or_loader_of_any_class_can_be_passed_to_preserve_state() -> None:
    transform = Compose([seeded(), Randomizable()])
    with preserve_state(transform):
        first = transform(0.0)
    assert transform(0.0) == first


def test_the_search_does_not_look_at_the_data() -> None:
    """A hundred samples at most, whatever the length of the list."""
    samples = [object() for _ in range(5000)]
    found = list(search(DataLoader(samples, 4)))
    assert sum(type(thing) is object for thing in found) <= 100


def test_the_search_ends_in_a_web_of_objects() -> None:
    nodes = [Compose([]) for _ in range(30_000)]
    for i, node in enumerate(nodes):
        node.transforms = [nodes[(i * 7 + j) % len(nodes)] for j in range(50)]
    assert len(list(search(nodes[0]))) <= 10_000
