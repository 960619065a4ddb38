"""Trials that are compared by their validation loss."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder import (
    Confidence,
    Diagnosis,
    InvalidInputError,
    LRFinder,
    NoSuggestionError,
    Recommendation,
)
from lrfinder._recommend.length import LengthLaw
from lrfinder._recommend.search import Search
from lrfinder._recommend.trial import Trial, TrialStop, overfits_after, tail_mean
from lrfinder._sweep.loop import Record
from tests.recommend.helpers import handwritten_digits
from tests.snapshot.helpers import bits


def few_digits(wrong=0.0, seed=0, count=150):
    """Handwritten digits, a share of the labels drawn at random: a network learns them by heart."""
    images, labels = handwritten_digits()
    generator = torch.Generator().manual_seed(7)
    labels = torch.where(
        torch.rand(len(labels), generator=generator) < wrong,
        torch.randint(10, labels.shape, generator=generator),
        labels,
    )
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    train = DataLoader(TensorDataset(images[:count], labels[:count]), 25, shuffle=True)
    val = DataLoader(TensorDataset(images[count:], labels[count:]), 250)
    return LRFinder(model, optimizer, nn.CrossEntropyLoss()), train, val


def bits_of(finder):
    return bits([finder.model.state_dict(), finder.optimizer.state_dict(), torch.get_rng_state()])


def losses_of_a_bare_loop(finder, loader, lr, steps):
    finder.optimizer.param_groups[0]["lr"] = lr
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    losses = []
    for inputs, targets in itertools.islice(batches, steps):
        finder.optimizer.zero_grad()
        loss = finder.criterion(finder.model(inputs), targets)
        loss.backward()
        finder.optimizer.step()
        losses.append(loss.item())
    return tuple(losses)


def seen_by(model, *, training):
    """Return a list that fills with the inputs that the model is called with in a mode."""
    seen = []
    model.register_forward_pre_hook(
        lambda model, inputs: seen.append(inputs[0]) if model.training is training else None
    )
    return seen


def loss_at(lr, best_lr, step):
    return 1 + math.exp(-step / 5) + 0.3 * math.log10(lr / best_lr) ** 2 * min(step / 10, 1)


def search_with(val_loss, budget):
    """Return a search and its training: best at 1e-2, and in validation a function of the rate."""

    def train(lr, steps, stop, *, validate):
        record = Record()
        for step in range(steps):
            record.losses.append(loss_at(lr, 1e-2, step) + 0.01 * (-1) ** step)
            if validate and step % 2 == 0:
                record.val_losses.append(val_loss(lr, step))
            if stop.update(record.losses[-1]) is not None:
                break
        return record

    untrained = [2 + 0.01 * (-1) ** step for step in range(50)]
    law = LengthLaw(0.4, 0.2)
    search = Search(train, untrained, budget=budget, lr_range=(1e-7, 10), law=law, validated=True)
    return search, train


def test_the_search_goes_to_the_rate_with_the_lowest_validation_loss():
    """In training 1e-2 is best, in validation 2e-3: both losses are known functions."""
    search, train = search_with(lambda lr, step: loss_at(lr, 2e-3, step), budget=900)
    search.run(1e-2)
    assert 1e-3 < search.best_lr < 4e-3
    assert search.best_in_training.lr > 1.5 * search.best.lr
    whole = train(
        search.best.lr, search.trial_steps, TrialStop(search.trial_steps, None), validate=True
    )
    assert search.best.loss == tail_mean(whole.val_losses)
    assert not any(probe.val_losses for probe in search.probes[:3])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*low confidence.*validation loss rises")
@pytest.mark.parametrize("seed", range(3))
def test_of_wrong_labels_less_is_learned_by_heart_at_the_rate_of_the_validation(seed):
    """The oracle is the training itself: the loss on images that it has not seen."""
    losses = []
    for validated in (True, False):
        finder, train, val = few_digits(0.3, seed)
        found = finder.recommend(
            train, val if validated else None, total_steps=300, val_batches=8, progress=False
        )
        found.apply(finder.optimizer)
        for _ in range(50):
            for inputs, targets in train:
                finder.optimizer.zero_grad()
                finder.criterion(finder.model(inputs), targets).backward()
                finder.optimizer.step()
        finder.model.eval()
        images, labels = val.dataset.tensors
        losses.append(finder.criterion(finder.model(images), labels).item())
    assert losses[0] < losses[1]


def test_overfitting_is_reported_and_the_rate_falls_with_the_length_itself():
    finder, train, val = few_digits(0.6, count=50)
    found = finder.recommend(train, val, total_steps=1000, val_batches=8, progress=False)
    (finding,) = [f for f in found.findings if f.diagnosis is Diagnosis.OVERFITTING]
    assert "validation loss rises" in str(finding)
    assert found.confidence is not Confidence.HIGH
    best = min(found.trials, key=lambda trial: trial.loss)
    assert found.lr == pytest.approx(found.best_trial_lr * len(best.losses) / 1000)
    without = few_digits(0.6, count=50)[0].recommend(train, progress=False)
    assert Diagnosis.OVERFITTING not in [f.diagnosis for f in without.findings]


def repeated_data(found):
    return [f for f in found.findings if f.diagnosis is Diagnosis.REPEATED_DATA]


def test_trials_that_go_through_the_data_several_times_ask_for_validation():
    finder, train, val = few_digits(0.3)
    found = finder.recommend(train, progress=False)
    (finding,) = repeated_data(found)
    passes = max(len(trial.losses) for trial in found.trials) / len(train)
    assert f"are {passes:.1f} passes: pass val_loader" in str(finding)
    assert not finding.doubtful
    accumulated = finder.recommend(train, accumulation_steps=2, progress=False)
    assert f"are {2 * passes:.1f} passes" in str(repeated_data(accumulated)[0])
    assert not repeated_data(finder.recommend(train, val, val_batches=8, progress=False))


@pytest.mark.parametrize("length", [1000, TypeError, NotImplementedError])
def test_of_much_data_or_an_unknown_number_of_batches_nothing_is_claimed(length):
    finder, train, _ = few_digits(0.3)

    class Loader:
        def __iter__(self):
            return iter(train)

        def __len__(self):
            if isinstance(length, int):
                return length
            raise length

    assert not repeated_data(finder.recommend(Loader(), progress=False))


def course(function, steps=80):
    """Return a trial whose validation loss is a function of the step, on batches that differ."""
    batches = [0.3 * math.sin(batch) for batch in range(8)]
    losses = [function(step) + batches[step // 2 % 8] for step in range(0, steps, 2)]
    return Trial(0.1, losses[-1], (1.0,) * steps, tuple(losses))


def test_a_rise_is_seen_where_the_course_of_the_validation_loss_turns():
    assert overfits_after(course(lambda step: 1 + ((step - 40) / 40) ** 2)) == 40  # of 80
    assert overfits_after(course(lambda step: 2.0 ** (-step / 10))) is None
    assert overfits_after(course(lambda step: 1 + 0.5 * (step < 20) - 0.001 * step)) is None
    assert overfits_after(course(lambda step: 1 + ((step - 40) / 40) ** 2, steps=16)) is None


@pytest.mark.parametrize("steps", [62, 80, 94])
def test_the_step_of_the_lowest_loss_is_told_within_half_a_round(steps):
    """What does not fill a round is left out at the beginning, but it counts as steps."""
    said = overfits_after(course(lambda step: 1 + ((step - 24) / 20) ** 2, steps))
    assert said == pytest.approx(24, abs=8)


def test_where_a_validation_loss_is_not_finite_no_rise_is_claimed():
    falling = course(lambda step: 2.0 ** (-step / 10))
    broken = (math.nan, *falling.val_losses[1:])
    assert overfits_after(Trial(0.1, falling.loss, falling.losses, broken)) is None


@pytest.mark.parametrize("count", [1, 3, 5, 12, 16])
def test_every_round_measures_the_same_batches_in_the_same_order(count):
    finder, train, val = few_digits()
    images, labels = val.dataset.tensors
    batches = [(images[k * 10 : k * 10 + 10], labels[k * 10 : k * 10 + 10]) for k in range(count)]
    seen = seen_by(finder.model, training=False)
    found = finder.recommend(train, batches, val_batches=count, progress=False)
    in_first_call, a_round = math.ceil(count / 8), max(8, count)
    trial = [images.sum().item() for images in seen[in_first_call:]]
    assert len(set(trial)) == count
    assert len(found.trials[0].val_losses) >= 16
    assert trial[:a_round] == trial[a_round : 2 * a_round]


def test_a_generator_that_both_loaders_share_gives_sweep_and_trials_the_same_batches():
    finder, train, val = few_digits()
    shared = torch.Generator().manual_seed(3)
    train, val = (DataLoader(x.dataset, 25, shuffle=True, generator=shared) for x in (train, val))
    seen = seen_by(finder.model, training=True)
    found = finder.recommend(train, val, progress=False)
    sweep, probe = len(found.result), len(found.probes[0].losses)
    assert all(map(torch.equal, seen[:probe], seen[sweep : sweep + probe]))


def test_rates_whose_validation_is_not_finite_are_left_for_lower_ones():
    """Training falls at any rate, the validation only below 3e-3."""

    def val_loss(lr, step):
        return loss_at(lr, 1e-2, step) if lr < 3e-3 else math.inf

    search, _ = search_with(val_loss, budget=400)
    search.run(1e-2)
    assert math.isfinite(search.best.loss)
    assert search.best.lr < 3e-3


def test_noise_around_a_level_is_hardly_ever_a_rise():
    generator = torch.Generator().manual_seed(0)
    seen = 0
    for _ in range(300):
        noise = torch.randn(80, generator=generator).tolist()
        found = overfits_after(course(lambda s, n=noise: 0.3 + 2 * math.exp(-s / 8) + 0.1 * n[s]))
        seen += found is not None
    assert seen <= 9


def test_the_training_of_a_trial_is_the_same_with_and_without_validation():
    """With batch norm and dropout, to the last bit; and nothing is left behind."""
    finder, train, val = few_digits()
    before = bits_of(finder)
    plain = finder.recommend(train, progress=False)
    beside = finder.recommend(train, val, progress=False)
    assert bits_of(finder) == before
    assert beside.result.loss == plain.result.loss
    assert beside.result.val_loss == plain.result.val_loss  # none: `suggest` reads the training
    assert [probe.losses for probe in beside.probes] == [probe.losses for probe in plain.probes]
    assert not any(trial.val_losses for trial in (*plain.trials, *plain.probes, *beside.probes))
    assert all(trial.val_losses for trial in beside.trials)
    assert beside.steps <= 300
    first = beside.trials[0]
    assert losses_of_a_bare_loop(finder, train, first.lr, len(first.losses)) == first.losses


@pytest.mark.parametrize(("val_batches", "sizes"), [(None, {25}), (2, {250})])
def test_one_batch_is_measured_after_every_second_step(val_batches, sizes):
    """By default it has as many samples as a training batch."""
    finder, train, val = few_digits()
    seen = seen_by(finder.model, training=False)
    found = finder.recommend(train, val, val_batches=val_batches, progress=False)
    assert {len(images) for images in seen} == sizes
    del seen[0]  # in the first step of the sweep, to see that it works at all
    counts = [len(trial.val_losses) for trial in found.trials]
    assert counts == [(len(trial.losses) + 1) // 2 for trial in found.trials]
    assert len(seen) == sum(counts)
    different = {images.sum().item() for images in seen}
    assert len(different) == (val_batches or 8)
    first, second = seen[: counts[0]], seen[counts[0] : counts[0] + counts[1]]
    assert all(map(torch.equal, first, second))  # the same batches in every trial


def test_the_validation_loss_is_in_the_file_the_picture_and_the_reason(tmp_path):
    finder, train, val = few_digits()
    found = finder.recommend(train, val, progress=False)
    assert "with the validation loss at" in found.why
    found.save(tmp_path / "found.json")
    assert repr(vars(Recommendation.load(tmp_path / "found.json"))) == repr(vars(found))
    _, trials = found.plot()
    assert trials.get_ylabel() == "validation loss at the end"
    assert not any("probes" in str(line.get_label()) for line in trials.get_lines())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"val_batches": 0}, "val_batches must be"), ({"val_loader": []}, "val_loader is empty")],
)
def test_what_cannot_be_validated_is_refused_before_the_model_is_called(wrong, says):
    finder, train, val = few_digits()
    finder.model.register_forward_hook(lambda *_: pytest.fail("the model was called"))
    with pytest.raises(InvalidInputError, match=says):
        finder.recommend(train, **({"val_loader": val} | wrong), progress=False)


def test_a_validation_loss_that_is_never_finite_is_refused():
    finder, train, val = few_digits()
    images, labels = val.dataset.tensors
    broken = [(images * math.nan, labels)]
    with pytest.raises(NoSuggestionError, match="check the batches of val_loader"):
        finder.recommend(train, broken, progress=False)


def test_a_batch_that_cannot_be_cut_is_measured_whole():
    finder, train, val = few_digits()
    images, labels = val.dataset.tensors
    seen = seen_by(finder.model, training=False)

    def step(model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    finder = LRFinder(finder.model, finder.optimizer, training_step=step)
    finder.recommend(train, [(images[:90], labels[:90], "a note")], budget=120, progress=False)
    assert {len(images) for images in seen} == {90}


def test_a_validation_that_cannot_be_computed_fails_in_the_first_step():
    finder, train, val = few_digits()
    model, optimizer = finder.model, finder.optimizer
    before, calls = bits_of(finder), []

    def update(model, batch):
        calls.append(model)
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    with pytest.raises(InvalidInputError, match="need a criterion"):
        LRFinder(model, optimizer, update_step=update).recommend(train, val, progress=False)
    assert len(calls) == 1
    assert bits_of(finder) == before


def test_an_optimizer_that_maximizes_is_given_the_rate_with_the_highest_validation_value():
    rates, labels = [], []
    for maximize in (False, True):
        finder, train, val = few_digits(0.3)
        sign = -1 if maximize else 1
        optimizer = torch.optim.AdamW(finder.model.parameters(), lr=1e-3, maximize=maximize)

        def criterion(outputs, targets, sign=sign):
            return sign * nn.functional.cross_entropy(outputs, targets)

        other = LRFinder(finder.model, optimizer, criterion)
        found = other.recommend(train, val, progress=False)
        rates.append(found.lr)
        labels.append(found.plot()[1].get_ylabel())
        quantity = "minus the validation loss" if maximize else "the validation loss"
        lowest = min(trial.loss for trial in found.trials)
        assert f"ended lowest, with {quantity} at {lowest:.4g}" in found.why
    assert rates[0] == pytest.approx(rates[1])
    assert labels == ["validation loss at the end", "minus the validation loss at the end"]
