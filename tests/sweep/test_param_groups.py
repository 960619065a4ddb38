"""Parameter groups: one multiplier that keeps their ratios, or a range for each."""

import copy
import gc
import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from lrfinder import InvalidInputError, LRFinder, LRFinderWarning, Suggestion
from lrfinder._sweep.grid import learning_rate_grid


@pytest.fixture
def grouped(model):
    """The body at a tenth of the rate of the head."""
    return torch.optim.AdamW(
        [
            {"params": model[0].parameters(), "lr": 1e-4},
            {"params": model[2].parameters(), "lr": 1e-3},
        ]
    )


def sweep(model, optimizer, batches, **settings):
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    finder.range_test(batches, num_iter=60, progress=False, **settings)
    return finder


def test_one_multiplier_sweeps_all_groups_and_keeps_their_ratios(model, grouped, batches):
    result = sweep(model, grouped, batches, start_lr=1e-5, end_lr=1.0).result
    body, head = map(np.asarray, result.group_lrs)
    np.testing.assert_allclose(body / head, 0.1)
    assert tuple(head) == result.lr, "reported for the largest"
    assert (result.lr[0], result.lr[-1]) == (1e-5, 1.0)


def test_the_suggestion_has_a_rate_for_every_group_and_sets_them_all(model, grouped, batches):
    suggestion = sweep(model, grouped, batches).suggest()
    assert suggestion.lrs == pytest.approx((0.1 * suggestion.lr, suggestion.lr))
    suggestion.apply(grouped)
    assert tuple(group["lr"] for group in grouped.param_groups) == suggestion.lrs


def test_lists_give_each_group_its_own_range(model, grouped, batches):
    finder = sweep(model, grouped, batches, start_lr=[1e-6, 1e-5], end_lr=[1e-2, 1.0])
    body, head = finder.result.group_lrs
    assert body == tuple(learning_rate_grid(1e-6, 1e-2, 60).tolist())
    assert head == tuple(learning_rate_grid(1e-5, 1.0, 60).tolist())
    suggestion = finder.suggest()
    step = np.interp(np.log(suggestion.lr), np.log(head), np.arange(60))
    assert suggestion.lrs[0] == pytest.approx(np.exp(np.interp(step, range(60), np.log(body))))


def test_one_list_shares_the_other_bound(model, grouped, batches):
    body, head = sweep(model, grouped, batches, end_lr=(0.1, 1.0)).result.group_lrs
    assert (body[0], body[-1], head[0], head[-1]) == (1e-7, 0.1, 1e-7, 1.0)


def test_bounds_may_be_arrays(model, grouped, batches):
    lists, arrays = (
        sweep(model, grouped, batches, start_lr=kind([1e-6, 1e-5]), end_lr=kind([1e-2, 1.0]))
        for kind in (list, np.array)
    )
    assert arrays.result == lists.result


def test_only_the_named_groups_are_swept_and_the_others_are_held(model, grouped, batches):
    finder = sweep(model, grouped, batches, groups=[0], end_lr=1.0)
    body, head = finder.result.group_lrs
    assert body == finder.result.lr == tuple(learning_rate_grid(1e-7, 1.0, 60).tolist())
    assert set(head) == {1e-3}
    assert finder.suggest().lrs == pytest.approx((finder.suggest().lr, 1e-3))


def test_lists_name_the_swept_groups_only(model, grouped, batches):
    result = sweep(model, grouped, batches, groups=[1], start_lr=[1e-4], end_lr=[1e-2]).result
    assert set(result.group_lrs[0]) == {1e-4}
    assert result.group_lrs[1] == tuple(learning_rate_grid(1e-4, 1e-2, 60).tolist())


def test_a_group_whose_rate_is_zero_stays_frozen(model, grouped, batches):
    grouped.param_groups[0]["lr"] = 0.0
    moved = []
    frozen = model[0].weight.detach().clone()
    finder = LRFinder(model, grouped, nn.CrossEntropyLoss())
    finder.range_test(
        batches,
        progress=False,
        on_step=lambda *_: moved.append(not torch.equal(model[0].weight, frozen)),
    )
    assert len(moved) == len(finder.result)
    assert not any(moved)
    assert finder.suggest().lrs == (0.0, finder.suggest().lr)


def test_groups_that_a_warm_up_has_all_at_zero_are_swept_alike(model, batches):
    optimizer = torch.optim.SGD(
        [{"params": model[0].parameters()}, {"params": model[2].parameters()}], lr=0.1
    )
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 100)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]
    body, head = sweep(model, optimizer, batches).result.group_lrs
    assert body == head


def test_a_tensor_rate_is_filled_in_place_and_put_back(model, batches):
    rate = torch.tensor(0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    seen = []
    result = LRFinder(model, optimizer, nn.CrossEntropyLoss()).range_test(
        batches,
        num_iter=10,
        end_lr=0.1,
        progress=False,
        on_step=lambda *_: seen.append(rate.item()),
    )
    assert optimizer.param_groups[0]["lr"] is rate
    assert seen == pytest.approx(result.lr)
    assert rate.item() == pytest.approx(0.05)


def test_groups_that_share_a_tensor_rate_get_one_each(model, batches):
    """torch gives the same tensor to every group that has no rate of its own."""
    shared = torch.tensor(0.05)
    optimizer = torch.optim.SGD(
        [{"params": model[0].parameters()}, {"params": model[2].parameters()}], lr=shared
    )
    used = []
    optimizer.register_step_pre_hook(
        lambda opt, *_: used.append([group["lr"].item() for group in opt.param_groups])
    )
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    result = finder.range_test(batches, groups=[0], num_iter=60, progress=False)
    np.testing.assert_allclose(used, np.transpose(result.group_lrs)[: len(used)], rtol=1e-6)
    assert all(group["lr"] is shared for group in optimizer.param_groups)
    assert shared.item() == pytest.approx(0.05)
    suggestion = finder.suggest()
    suggestion.apply(optimizer)
    applied = [group["lr"].item() for group in optimizer.param_groups]
    assert applied == pytest.approx(suggestion.lrs)
    assert applied[0] != applied[1]


@pytest.mark.parametrize("lr", [None, torch.tensor(0.1, requires_grad=True), torch.tensor(1)])
def test_a_rate_that_cannot_be_set_is_refused(model, batches, lr):
    """Hugging Face's Adafactor computes its own rate and says lr=None."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.param_groups[0]["lr"] = lr
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    with pytest.raises(InvalidInputError, match=r"SGD has a .*(pass|give)"):
        finder.range_test(batches, progress=False)
    assert optimizer.param_groups[0]["lr"] is lr


def test_adafactor_with_its_own_rate_says_which_argument_to_change(model, batches):
    transformers = pytest.importorskip("transformers")
    optimizer = transformers.Adafactor(model.parameters())
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    with pytest.raises(InvalidInputError, match=r"Adafactor .*lr=1e-3.*relative_step=False"):
        finder.range_test(batches, progress=False)


class Forgetful(torch.optim.SGD):
    """Builds its groups at each access, so that a rate written into them is lost."""

    @property
    def param_groups(self):
        return [dict(group) for group in self._groups]

    @param_groups.setter
    def param_groups(self, groups):
        self._groups = groups

    def add_param_group(self, group):
        self._groups.append(self.defaults | group)


def test_an_optimizer_that_forgets_its_rate_is_refused(model, batches):
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = Forgetful(list(model.parameters()), lr=0.1)
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    with pytest.raises(InvalidInputError, match=r"was set to 1e-07, but the optimizer used 0\.1"):
        finder.range_test(batches, progress=False)
    assert all(map(torch.equal, model.parameters(), before))


def test_a_group_that_is_added_during_the_sweep_is_refused(model, optimizer, batches):
    extra = nn.Parameter(torch.zeros(1))
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())

    def on_step(lr, loss, step):
        if step == 2:
            optimizer.add_param_group({"params": [extra]})

    with pytest.raises(InvalidInputError, match="has 2 parameter groups, but there are rates for"):
        finder.range_test(batches, progress=False, on_step=on_step)
    assert len(optimizer.param_groups) == 1


def by_hand(model, batches, lrs, optimizer):
    losses = []
    for lr, (inputs, targets) in zip(lrs, itertools.cycle(batches)):
        optimizer.set_hyper("lr", lr)
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("kind", ["Adam", "SGD", "OptimWrapper"])
def test_optimizers_of_fastai_are_swept_restored_and_set(model, batches, kind):
    """Their groups are made again at each access; their rates are set by set_hyper."""
    fastai = pytest.importorskip("fastai.optimizer")

    def make(model):
        halves = [list(model[0].parameters()), list(model[2].parameters())]
        if kind == "OptimWrapper":
            groups = [{"params": half} for half in halves]
            return fastai.OptimWrapper(opt=torch.optim.AdamW(groups, lr=0.1))
        return getattr(fastai, kind)(halves, lr=0.1)

    def trained(model, optimizer):
        by_hand(model, batches, [0.01] * 5, optimizer)
        return [p.detach().clone() for p in model.parameters()]

    twin, plain = copy.deepcopy(model), copy.deepcopy(model)
    optimizer = make(model)
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    result = finder.range_test(batches, num_iter=60, progress=False)
    assert list(result.loss) == by_hand(twin, batches, result.lr, make(twin))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1]
    finder.suggest().apply(optimizer)
    assert tuple(group["lr"] for group in optimizer.param_groups) == finder.suggest().lrs
    assert all(map(torch.equal, trained(model, optimizer), trained(plain, make(plain))))


def lambda_lr(optimizer):
    return lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)


def warmed_up(optimizer):
    rise = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3)
    following = lr_scheduler.ExponentialLR(optimizer, 0.9)
    scheduler = lr_scheduler.SequentialLR(optimizer, [rise, following], [3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older versions of torch warn of what they do themselves
        for _ in range(4):
            optimizer.step()
            scheduler.step()
    return scheduler


class DoublingLR(lr_scheduler.LRScheduler):
    """One of the user's own, from the rate at its creation."""

    def get_lr(self):
        return [lr * 2**self.last_epoch for lr in self.base_lrs]


SUGGESTION = Suggestion(0.3, "steepest", "", min_lr=0.1, max_lr=0.3, lrs=(0.3,))
OVERRIDING = [
    lambda_lr,
    lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=9),
    lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.1, 1.0),
    lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 5),
    lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.01, total_iters=10),
    lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.1, total_iters=1),
    lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.ConstantLR(optimizer, 1.0), lr_scheduler.ExponentialLR(optimizer, 0.9)],
        [1],
    ),
    DoublingLR,
]
CHAINABLE = [
    lambda optimizer: lr_scheduler.StepLR(optimizer, 3),
    lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    lr_scheduler.ReduceLROnPlateau,
    lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, 0.1),
    lambda optimizer: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(optimizer, 3)]),
    warmed_up,
]


def test_a_suggestion_warns_when_it_is_applied_for_another_batch_size(optimizer):
    suggestion = replace(SUGGESTION, batch_size=64)
    with pytest.warns(LRFinderWarning, match="expected 64 samples .* got 128") as warned:
        suggestion.apply(optimizer, batch_size=128)
    assert warned[0].filename == __file__
    suggestion.apply(optimizer, batch_size=64)
    suggestion.apply(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.3


@pytest.mark.parametrize("make_scheduler", [lambda_lr, CHAINABLE[0], OVERRIDING[3]])
def test_a_scheduler_made_after_apply_begins_at_the_applied_rate(optimizer, make_scheduler):
    make_scheduler(optimizer)  # leaves an initial_lr behind
    gc.collect()
    SUGGESTION.apply(optimizer)
    assert make_scheduler(optimizer).get_last_lr() == [0.3]


@pytest.mark.parametrize("make_scheduler", OVERRIDING)
def test_a_scheduler_that_will_undo_the_rate_is_warned_of(optimizer, make_scheduler):
    scheduler = make_scheduler(optimizer)
    before = {name: value for name, value in vars(scheduler).items() if name != "optimizer"}
    with pytest.warns(LRFinderWarning, match=f"a {type(scheduler).__name__} is attached"):
        SUGGESTION.apply(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert before == {name: vars(scheduler)[name] for name in before}
    optimizer.step()
    scheduler.step()
    assert abs(optimizer.param_groups[0]["lr"] - 0.3) > 0.01, "as the warning says"


def test_the_function_of_a_scheduler_is_neither_called_nor_copied(optimizer):
    class Trainer:
        calls = 0

        def factor(self, step):
            self.calls += 1
            return 0.5**step

        def __deepcopy__(self, memo):
            raise AssertionError("copied")

    trainer = Trainer()
    scheduler = lr_scheduler.LambdaLR(optimizer, trainer.factor)
    with pytest.warns(LRFinderWarning, match="a LambdaLR is attached"):
        SUGGESTION.apply(optimizer)
    assert trainer.calls == 1
    assert scheduler.get_last_lr() == [0.1]


def test_after_its_warm_up_a_scheduler_is_not_warned_of(optimizer, recwarn):
    scheduler = lr_scheduler.LinearLR(optimizer, 0.01, total_iters=2)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    SUGGESTION.apply(optimizer)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert not [each for each in recwarn if issubclass(each.category, LRFinderWarning)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make_scheduler", CHAINABLE)
def test_a_scheduler_that_multiplies_the_rate_it_finds_is_not_warned_of(optimizer, make_scheduler):
    scheduler = make_scheduler(optimizer)
    SUGGESTION.apply(optimizer)
    del scheduler
