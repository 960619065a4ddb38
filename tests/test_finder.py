"""Bad input says what was expected, what came and what to do, and leaves everything untouched."""

import inspect
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lrfinder import (
    InvalidInputError,
    LRFinder,
    NoResultError,
    NoSuggestionError,
    RangeTestResult,
    StopReason,
)
from lrfinder._sweep.grid import END_LR, START_LR


@pytest.fixture
def refused(model, optimizer, bits):
    """A call that runs a range test and checks that it is refused and nothing has changed."""

    def check(loader, match, criterion=None, **settings):
        before, held = bits(), [(p, p.data_ptr()) for p in model.parameters()]
        finder = LRFinder(model, optimizer, criterion or nn.MSELoss())
        with pytest.raises(InvalidInputError, match=f"(?s){match}.*"):
            finder.range_test(loader, progress=False, **settings)
        assert bits() == before
        now = zip(model.parameters(), held, strict=True)
        assert all(p is q and p.data_ptr() == pointer for p, (q, pointer) in now)
        with pytest.raises(NoResultError):
            _ = finder.result

    return check


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"start_lr": 0.0}, "start_lr must be a positive, finite number, got"),
        ({"start_lr": -1e-3}, "start_lr must be a positive, finite number, got"),
        ({"start_lr": math.nan}, "start_lr must be a positive, finite number, got"),
        ({"start_lr": "1e-3"}, "start_lr must be a positive, finite number, got"),
        ({"start_lr": torch.tensor(1e-3)}, "start_lr must be a positive, finite number, got"),
        ({"end_lr": math.inf}, "end_lr must be a positive, finite number, got"),
        ({"start_lr": 1.0, "end_lr": 0.1}, "start_lr must be below end_lr, got"),
        ({"start_lr": 1.0, "end_lr": 1.0}, "start_lr must be below end_lr, got"),
        ({"start_lr": [1e-3, 1e-2]}, "start_lr must list one rate for each"),
        ({"end_lr": []}, "end_lr must list one rate for each"),
        ({"num_iter": 1}, "num_iter must be a whole number >= 2"),
        ({"num_iter": 10.0}, "num_iter must be a whole number >= 2"),
        ({"smooth_f": 1.0}, r"smooth_f must be a number in \[0, 1\), got"),
        ({"smooth_f": -0.1}, r"smooth_f must be a number in \[0, 1\), got"),
        ({"step_mode": "cosine"}, "step_mode must be one of"),
        ({"diverge_th": 1}, "diverge_th must be a number > 1, got"),
        ({"accumulation_steps": 0}, "accumulation_steps must be a whole number"),
        ({"cached_batches": 0}, "cached_batches must be a whole number"),
        ({"val_batches": 0}, "val_batches must be a whole number"),
        ({"val_every": 0}, "val_every must be a whole number"),
        ({"groups": []}, "groups must list some of the 1 .*, got"),
        ({"groups": [1]}, "groups must list some of the 1 .*, got"),
        ({"groups": [0, 0]}, "groups must list some of the 1 .*, got"),
    ],
)
def test_settings_that_cannot_work_are_refused(batches, refused, settings, match):
    refused(batches, match, **settings)


def pair():
    return torch.randn(16, 4), torch.randn(16, 1)


@pytest.mark.parametrize(
    ("loader", "match"),
    [
        ([], "the loader is empty, but at least one batch"),
        (iter([]), "the loader is empty, but at least one batch"),
        ([torch.randn(16, 4)], r"a batch is a tensor .*, not a pair \(inputs, targets\)"),
        ([{"x": torch.randn(16, 4)}], r"a pair \(inputs, targets\)"),
        ([(torch.randn(16, 4),)], r"a pair \(inputs, targets\)"),
        ([(*pair(), torch.ones(16))], r"a batch has 3 parts, but forward\(.*pass training_step=f"),
    ],
)
def test_an_empty_loader_or_a_batch_that_is_no_pair_is_refused(refused, loader, match):
    refused(loader, match)


class Decaying:
    """A criterion that is no module, and changes its attributes at each call."""

    def __init__(self):
        self.calls, self.weight, self.history = 0, torch.ones(()), []
        self.scale = nn.BatchNorm1d(1)

    def __call__(self, outputs, targets):
        self.calls += 1
        self.weight *= 0.9
        self.history.append(self.calls)
        return self.weight * (self.scale(outputs) - targets).square().mean()


@pytest.mark.filterwarnings("error")
def test_the_attributes_of_any_criterion_are_restored(model, optimizer, batches):
    criterion = Decaying()
    LRFinder(model, optimizer, criterion).range_test(batches, num_iter=5, progress=False)
    assert (criterion.calls, criterion.weight.item(), criterion.history) == (0, 1.0, [])
    assert criterion.scale.num_batches_tracked == 0


def test_an_empty_validation_loader_is_refused(batches, refused):
    refused(batches, "val_loader is empty, but at least one batch", val_loader=[])


@pytest.mark.parametrize("loader", [None, 5, nn.MSELoss(), DataLoader])
def test_what_cannot_be_iterated_is_no_loader(model, optimizer, batches, refused, loader):
    refused(loader, "train_loader must be an iterable of batches, got .*; pass a DataLoader")
    finder = LRFinder(model, optimizer, nn.MSELoss())
    with pytest.raises(InvalidInputError, match="train_loader must be an iterable"):
        finder.recommend(loader, progress=False)
    if loader is not None:
        refused(batches, "val_loader must be an iterable of batches, got", val_loader=loader)


class Sequence:
    """Has what a loop needs, by the protocol older than iterators."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class StartsAgain:
    """Its own iterator, which starts again whenever one is asked for."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        self.rest = list(self.batches)
        return self

    def __next__(self):
        if not self.rest:
            raise StopIteration
        return self.rest.pop(0)


@pytest.mark.parametrize("kind", [Sequence, StartsAgain])
def test_any_loader_that_starts_again_is_taken(model, optimizer, batches, kind):
    batches = [(inputs, inputs.sum(1, keepdim=True)) for inputs, _ in batches]
    finder = LRFinder(model, optimizer, nn.MSELoss())
    for loaders in ([kind(batches)], [kind(batches), kind(batches)]):
        listed = [batches for _ in loaders]
        expected = finder.range_test(*listed, num_iter=10, progress=False)
        assert finder.range_test(*loaders, num_iter=10, progress=False) == expected
    assert finder.recommend(kind(batches), progress=False).lr > 0


@pytest.mark.parametrize(
    "iterate",
    [iter, itertools.cycle, lambda data: (x for x in data), lambda data: iter(DataLoader(data))],
)
def test_an_iterator_cannot_give_every_trial_the_same_batches(
    model, optimizer, batches, bits, iterate
):
    loader, before = iterate(batches), bits()
    finder = LRFinder(model, optimizer, nn.MSELoss())
    with pytest.raises(
        InvalidInputError,
        match=r"train_loader is a .* which cannot start again, .*; pass the loader its",
    ):
        finder.recommend(loader, progress=False)
    assert bits() == before


@pytest.mark.parametrize(
    "criterion", [nn.MSELoss(reduction="none"), lambda out, target: "0.5", lambda out, target: None]
)
def test_a_loss_that_is_no_scalar_is_refused(batches, refused, criterion):
    refused(batches, "the loss must be a scalar, got", criterion)


@pytest.mark.parametrize(
    "criterion",
    [
        lambda out, target: (out - target).square().mean().detach(),
        lambda out, target: (out - target).square().mean().item(),
        lambda out, target: (out.argmax(1) == target[:, 0]).float().mean(),
    ],
)
def test_a_loss_that_is_not_differentiable_is_refused(batches, refused, criterion):
    refused(batches, "the loss must be differentiable, got", criterion)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def test_a_model_without_trainable_parameters_is_refused(model):
    optimizer = sgd(model)
    model.requires_grad_(False)
    with pytest.raises(InvalidInputError, match=r"the model's 6 parameters .*; unfreeze"):
        LRFinder(model, optimizer, nn.MSELoss())


def test_the_optimizer_of_another_model_is_refused(model):
    with pytest.raises(InvalidInputError, match=r"model's trainable parameters; create it"):
        LRFinder(model, sgd(nn.Linear(4, 1)), nn.MSELoss())


def test_a_lazy_model_that_has_not_seen_a_batch_is_refused():
    model = nn.Sequential(nn.Linear(4, 8), nn.LazyLinear(1))
    with pytest.raises(InvalidInputError, match=r"parameters have no values yet; call the model"):
        LRFinder(model, sgd(model), nn.MSELoss())


def test_arguments_in_the_wrong_order_are_refused(model, optimizer):
    with pytest.raises(InvalidInputError, match="got Sequential and MSELoss"):
        LRFinder(model, nn.MSELoss(), optimizer)


def a_step(model, batch):
    return model(batch[0]).mean()


@pytest.mark.parametrize(
    "arguments",
    [
        {"criterion": nn.MSELoss(), "training_step": a_step},
        {"update_step": a_step, "clip_grad": 1.0},
        {"update_step": a_step, "scaler": torch.amp.GradScaler("cpu")},
    ],
)
def test_an_argument_whose_work_another_one_does_is_refused(model, optimizer, arguments):
    with pytest.raises(InvalidInputError, match=r"got both; leave .* out"):
        LRFinder(model, optimizer, **arguments)


@pytest.mark.parametrize("clip_grad", [0, -1.0, math.nan, "norm", True])
def test_a_norm_that_is_not_positive_is_refused(model, optimizer, clip_grad):
    with pytest.raises(InvalidInputError, match=r"clip_grad must be a norm > 0 .*, got"):
        LRFinder(model, optimizer, nn.MSELoss(), clip_grad=clip_grad)


def test_accumulation_beside_a_step_that_updates_by_itself_is_refused(model, optimizer, batches):
    finder = LRFinder(model, optimizer, update_step=a_step)
    with pytest.raises(InvalidInputError, match="update_step replaces accumulation_steps, got 2"):
        finder.range_test(batches, accumulation_steps=2, progress=False)


def test_pairs_without_a_criterion_are_refused(model, optimizer, batches):
    with pytest.raises(InvalidInputError, match=r"a criterion, got None; pass training_step=f"):
        LRFinder(model, optimizer).range_test(batches, progress=False)


def test_every_refusal_is_a_value_error_too(model, optimizer, batches):
    with pytest.raises(ValueError, match="num_iter"):
        LRFinder(model, optimizer, nn.MSELoss()).range_test(batches, num_iter=0)


@pytest.mark.parametrize("read", ["suggest", "plot"])
def test_a_curve_that_was_not_recorded_yet_cannot_be_read(model, optimizer, read):
    finder = LRFinder(model, optimizer, nn.MSELoss())
    with pytest.raises(NoResultError, match=r"no range test yet; call range_test"):
        getattr(finder, read)()
    assert finder.history == {"lr": [], "loss": []}


def test_a_curve_of_two_points_names_no_rate_and_says_what_to_change(model, optimizer, batches):
    finder = LRFinder(model, optimizer, nn.MSELoss())
    finder.range_test(batches, num_iter=2, progress=False)
    with pytest.raises(NoSuggestionError, match=r"need at least .* got 2 of 2.*; .*num_iter"):
        finder.suggest()


def test_an_unknown_method_or_quantity_is_refused_with_the_known_ones(model, optimizer, batches):
    finder = LRFinder(model, optimizer, nn.MSELoss())
    finder.range_test(batches, num_iter=10, progress=False)
    with pytest.raises(InvalidInputError, match=r"method must be .*steepest.*, got 'fastest'"):
        finder.suggest("fastest")
    with pytest.raises(InvalidInputError, match="one of 'loss', got 'accuracy'"):
        finder.suggest(on="accuracy")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"criterion": nn.MSELoss}, r"the class MSELoss; pass an instance, MSELoss\(\)"),
        ({"criterion": "mse"}, "criterion must be a function .*, got 'mse'"),
        ({"training_step": 5}, "training_step must be a function .*, got 5"),
        ({"update_step": 5}, "update_step must be a function .*, got 5"),
        ({"autocast": True}, "autocast must be a context .*, got True"),
        ({"autocast": torch.autocast}, "autocast must be a context .*, got <class"),
        ({"scaler": True}, r"scaler must be a gradient scaler, got True; pass torch.amp"),
        ({"device": "gpu"}, "device must be a device of this machine.*, got 'gpu' .Expected one"),
        ({"device": 3.5}, "device must be a device of this machine.*, got 3.5 "),
        ({"criterion": [torch.randn(1000)] * 100}, r"criterion must be .{,300}; leave it out"),
        ({"preserve": "sgd"}, "preserve must be a list of objects, got str"),
        ({"preserve": nn.Sequential(nn.Linear(2, 2))}, "a list of objects, got Sequential"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_refused(model, optimizer, arguments, match):
    with pytest.raises(InvalidInputError, match=match):
        LRFinder(model, optimizer, **arguments)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"smooth_f": None}, "smooth_f must be a number in .*, got None"),
        ({"smooth_f": "0.05"}, "smooth_f must be a number in .*, got '0.05'"),
        ({"diverge_th": None}, "diverge_th must be a number > 1, got None"),
        ({"groups": 0}, r"groups must list .*, got 0; pass \[0\]"),
        ({"start_lr": np.array(1e-3)}, "start_lr must be a positive, finite number, got array"),
        ({"start_lr": np.array([1e-3, 1e-2])}, "start_lr must list one rate for each"),
        ({"groups": ["body"]}, "groups must list .*, got .'body'."),
        ({"on_step": 5}, "on_step must be a function .*, got 5"),
        ({"steps_per_decade": "20"}, "steps_per_decade must be a number > 0, got '20'"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused(batches, refused, settings, match):
    refused(batches, match, **settings)


def test_an_optimizer_that_maximizes_has_the_curve_of_its_mirror_image():
    """Raising minus the loss is lowering the loss, bit for bit."""
    found = []
    for sign, maximize in ((1, False), (-1, True)):
        torch.manual_seed(0)
        inputs = torch.randn(64, 3)
        model = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, maximize=maximize)

        def criterion(outputs, targets, sign=sign):
            return sign * (outputs - targets).square().mean()

        loader = [(inputs, inputs.sum(1, keepdim=True))]
        finder = LRFinder(model, optimizer, criterion)
        result = finder.range_test(loader, loader, progress=False)
        assert result.maximize is maximize
        losses = [[sign * loss for loss in each] for each in (result.loss, result.val_loss)]
        on = [finder.suggest(on=on).lr for on in ("loss", "val_loss")]
        recommended = finder.recommend(loader, progress=False)
        found.append((losses, result.stop_reason, on, recommended.lr, recommended.interval))
    assert found[0] == found[1]
    assert found[0][1] is StopReason.DIVERGED


def test_what_was_maximized_survives_a_file(model, batches, tmp_path):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, maximize=True)
    finder = LRFinder(model, optimizer, lambda out, target: -(out - target).square().mean())
    result = finder.range_test(batches, num_iter=5, progress=False)
    result.save(tmp_path / "result.json")
    assert RangeTestResult.load(tmp_path / "result.json") == result


def test_whole_numbers_of_numpy_are_taken_as_ints(model, optimizer, batches, tmp_path):
    batches = [(inputs, inputs.sum(1, keepdim=True)) for inputs, _ in batches]
    finder = LRFinder(model, optimizer, nn.MSELoss())
    ten, one = np.int64(10), np.int64(1)
    result = finder.range_test(
        batches, batches, num_iter=ten, repeats=one, val_every=one, val_batches=one, progress=False
    )
    assert result == finder.range_test(batches, batches, num_iter=10, val_batches=1, progress=False)
    result.save(tmp_path / "result.json")
    answer = finder.recommend(
        batches, budget=np.int32(300), total_steps=np.int64(500), progress=False
    )
    answer.save(tmp_path / "answer.json")
    assert answer.total_steps == 500


def test_a_bool_is_no_whole_number(model, optimizer, batches):
    with pytest.raises(InvalidInputError, match="budget must be a whole number >= 120, got True"):
        LRFinder(model, optimizer, nn.MSELoss()).recommend(batches, budget=True)


@pytest.mark.parametrize("method", [LRFinder.range_test, LRFinder.recommend])
def test_the_default_range_is_the_one_that_integrations_and_commands_assume(method):
    parameters = inspect.signature(method).parameters
    assert (parameters["start_lr"].default, parameters["end_lr"].default) == (START_LR, END_LR)
