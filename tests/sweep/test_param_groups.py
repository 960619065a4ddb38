"""Parameter groups: one multiplier that keeps their ratios, or a range for each."""

import numpy as np
import pytest
import torch
from torch import nn

from lrfinder import LRFinder
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
