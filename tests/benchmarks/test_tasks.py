"""The shipped tasks: each is a real training problem that depends on the seed alone."""

import importlib
import inspect
import math

import pytest
import torch
from torch.utils.data import DataLoader

from tests.benchmarks.suggestions.task import train, validation_loss
from tests.benchmarks.suggestions.tasks import (
    DEVELOPMENT,
    HELD_OUT,
    ONCE_HELD_OUT,
    TASKS,
    data,
    finetuning,
    models,
    photos,
)

if not hasattr(torch.optim, "Muon"):
    pytest.skip("this PyTorch has no torch.optim.Muon", allow_module_level=True)

FROM_ONE_STATE = {name for name in TASKS if name.startswith("finetune-")} - {
    "finetune-cnn-momentum"  # its last layer is new
}


@pytest.fixture(autouse=True, scope="module")
def short_pretraining():
    """Pretrained states of 5 steps: what holds here does not depend on how good they are."""

    def train_shortly(problem, lr, schedule, _steps):
        return train(problem, lr, schedule, 5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning, "train", train_shortly)
        yield
    for name in dir(finetuning):
        if name.startswith("_trained_on"):
            getattr(finetuning, name).cache_clear()


every_task = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))


def fingerprint(problem, batches=2):
    weights = [p.detach().clone() for p in problem.model.parameters()]
    loader = iter(problem.train_loader)
    return weights + [t for _ in range(batches) for t in next(loader)]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@every_task
def test_a_seed_fixes_weights_and_batches_and_another_seed_changes_both(task):
    first, again, other = (fingerprint(task.problem(seed)) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first[-4:], other[-4:])
    if task.name not in FROM_ONE_STATE:
        assert not same(first[:-4], other[:-4])


@every_task
def test_training_twice_gives_the_same_loss(task):
    losses = []
    for _ in range(2):
        problem = task.problem(3)
        assert train(problem, 10.0 ** ((task.low + task.high) / 2), "constant", 3)
        losses.append(validation_loss(problem))
    assert losses[0] == losses[1]
    assert math.isfinite(losses[0])


@every_task
def test_a_dataloader_yields_pairs_of_the_stated_batch_size(task):
    loader = task.problem(0).train_loader
    assert isinstance(loader, DataLoader)
    inputs, targets = next(iter(loader))
    assert len(inputs) == len(targets) == task.batch_size


@every_task
def test_the_validation_set_does_not_depend_on_the_seed(task):
    first, other = (list(task.problem(seed).val_loader) for seed in (0, 1))
    for a, b in zip(first, other, strict=True):
        assert same(a, b)


def test_a_pretrained_start_does_not_depend_on_what_ran_before():
    task = TASKS["finetune-cnn-momentum"]
    cached = fingerprint(task.problem(0))
    finetuning._trained_on_low_digits.cache_clear()
    assert same(cached, fingerprint(task.problem(0)))


def test_random_labels_touch_the_stated_share_of_training_labels_only():
    clean = (torch.zeros(10_000, 1), torch.zeros(10_000, dtype=torch.long)), (None, None)
    (_, labels), validation = data.with_random_labels(clean, 0.2, classes=10)
    # A random label is right by chance once in ten: 18 % are wrong, give or take 5 sigma.
    assert (labels != 0).float().mean().item() == pytest.approx(0.18, abs=0.02)
    assert validation == (None, None)


def test_text_is_encoded_character_by_character():
    assert data.encoded(" ~\n\té").tolist() == [0, 94, 95, 96, ord("?") - 32]
    assert data.encoded("\x00").item() == data.VOCABULARY - 1


def test_the_target_of_a_language_model_is_the_next_character():
    inputs, targets = data.source_windows(20)[0]
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_no_module_is_in_both_parts_of_the_source():
    assert not set(data.MODULES) & set(data.HELD_OUT_MODULES)


def test_the_source_is_that_of_the_standard_library():
    for name in data.MODULES + data.HELD_OUT_MODULES:
        assert data.source((name,)) == inspect.getsource(importlib.import_module(name))


def test_the_reference_is_split_by_pages():
    first, rest = data.prose()
    assert 0.85 < len(first) / (len(first) + len(rest)) < 0.97
    assert rest[:500] not in first


def test_there_are_enough_tasks_to_choose_on_and_to_judge_by():
    assert len(TASKS) >= 34
    assert len(HELD_OUT) >= 12
    assert not set(DEVELOPMENT) & set(HELD_OUT)
    assert set(ONCE_HELD_OUT) <= set(DEVELOPMENT)


def test_photographs_have_no_patch_in_both_parts():
    (x, _), (u, _) = photos._places()
    assert len(x) > 2 * len(u) > 1000
    assert not set(map(hash, map(bytes, x.numpy()))) & set(map(hash, map(bytes, u.numpy())))


def test_the_validation_patches_come_from_rows_that_no_training_patch_touches(monkeypatch):
    height = min(data.photo(name).shape[1] for name in ("china.jpg", "flower.jpg"))
    rows = torch.arange(float(height))[None, :, None].expand(3, height, 40)
    monkeypatch.setattr(data, "photo", lambda _: rows)
    train, held = (x * 0.27 + 0.45 for x in data.photo_patches.__wrapped__(12))
    assert train.max() < held.min() - 0.5
    assert train.shape == (8000, 3, 12, 12)
    assert held.shape == (2000, 3, 12, 12)


def test_a_shift_moves_whole_images_while_training_and_cuts_a_square():
    torch.manual_seed(0)
    images = torch.rand(200, 1, 8, 8) + 1
    shift = models.Shift(1, cut=3)
    moved = shift(images)
    assert ((moved == 0).sum(dim=(1, 2, 3)) == 9).all()
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    windows = padded.unfold(2, 8, 1).unfold(3, 8, 1).flatten(2, 3)[:, 0]  # 9 shifts of each
    kept = (moved != 0).squeeze(1)[:, None]
    fits = ((windows == moved) | ~kept).all(dim=(2, 3))
    assert fits.any(dim=1).all()
    assert (fits.float().mean(dim=0) > 0.02).all()  # each of the nine shifts occurs
    shift.eval()
    assert torch.equal(shift(images), images)
