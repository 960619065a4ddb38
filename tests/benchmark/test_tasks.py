"""The shipped tasks: each is a real training problem that depends on the seed alone."""

import importlib
import inspect
import math

import pytest
import torch
from torch.utils.data import DataLoader

from lrfinder.benchmark import train, validation_loss
from lrfinder.benchmark.tasks import TASKS, _data, finetuning

if not hasattr(torch.optim, "Muon"):
    pytest.skip("PyTorch without torch.optim.Muon", allow_module_level=True)


@pytest.fixture(autouse=True, scope="module")
def short_pretraining():
    """Pretrained states of 5 steps: what holds here does not depend on how good they are."""

    def train_shortly(problem, lr, schedule, _steps):
        return train(problem, lr, schedule, 5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning, "train", train_shortly)
        yield
    finetuning._trained_on_low_digits.cache_clear()
    finetuning._trained_on_source.cache_clear()


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
    if task.name != "finetune-transformer-adamw":  # it starts from one trained state
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
    (_, labels), validation = _data.with_random_labels(clean, 0.2, classes=10)
    # A random label is right by chance once in ten: 18 % are wrong, give or take 5 sigma.
    assert (labels != 0).float().mean().item() == pytest.approx(0.18, abs=0.02)
    assert validation == (None, None)


def test_text_is_encoded_character_by_character():
    assert _data.encoded(" ~\n\té").tolist() == [0, 94, 95, 96, ord("?") - 32]
    assert _data.encoded("\x00").item() == _data.VOCABULARY - 1


def test_the_target_of_a_language_model_is_the_next_character():
    inputs, targets = _data.source_windows(20)[0]
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_no_module_is_in_both_parts_of_the_source():
    assert not set(_data.MODULES) & set(_data.HELD_OUT_MODULES)


def test_the_source_is_that_of_the_standard_library():
    for name in _data.MODULES + _data.HELD_OUT_MODULES:
        assert _data.source((name,)) == inspect.getsource(importlib.import_module(name))
