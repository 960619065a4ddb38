"""What a step returns beside its loss is recorded, and a callback may end the sweep."""

import numpy as np
import pytest
import torch
from torch import nn

from lrfinder import LRFinder, StopReason


def training_step(model, batch):
    outputs = model(batch[0])
    return {
        "loss": nn.functional.cross_entropy(outputs, batch[1]),
        "accuracy": (outputs.argmax(1) == batch[1]).float().mean(),
        "norm": outputs.norm(),
        "share": np.float32(0.5),
        "phase": torch.tensor(1j),
        "outputs": outputs,
        "name": "digits",
    }


@pytest.fixture
def finder(model, optimizer):
    return LRFinder(model, optimizer, training_step=training_step)


def test_scalars_beside_the_loss_are_recorded_and_nothing_else(finder, batches):
    result = finder.range_test(batches, num_iter=20, end_lr=0.1, progress=False)
    assert result.metrics.keys() == {"accuracy", "norm", "share"}
    assert all(len(values) == 20 for values in result.metrics.values())
    assert set(result.metrics["share"]) == {0.5}
    assert all(0 <= accuracy <= 1 for accuracy in result.metrics["accuracy"])


def test_a_step_may_return_each_metric_in_the_same_memory(model, optimizer, batches):
    buffer = torch.zeros(())

    def in_one_buffer(model, batch):
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        return {"loss": loss, "same": buffer.copy_(loss.detach())}

    finder = LRFinder(model, optimizer, training_step=in_one_buffer, preserve=[[buffer]])
    result = finder.range_test(batches, num_iter=5, accumulation_steps=4, progress=False)
    assert result.metrics["same"] == result.loss


def test_what_is_recorded_is_what_maximising_reads(finder, batches):
    result = finder.range_test(batches, start_lr=1e-4, end_lr=10, progress=False)
    suggestion = finder.suggest(on="accuracy", maximize=True)
    lr, accuracy = np.asarray(result.lr), np.asarray(result.metrics["accuracy"])
    after = accuracy[(lr > suggestion.lr) & (lr < 3 * suggestion.lr)]
    assert after.mean() > accuracy[lr < 1e-3].mean() + 0.2, "it rises at the rate that is named"


def test_a_reward_can_take_the_place_of_the_loss():
    """Policy gradient on a bandit with one good arm: the mean reward is what rises."""
    policy = nn.Linear(1, 8)

    def update(policy, batch):
        chances = torch.distributions.Categorical(logits=policy(batch))
        arms = chances.sample()
        reward = (arms == 3).float()
        optimizer.zero_grad()
        loss = -(chances.log_prob(arms) * (reward - reward.mean())).mean()
        loss.backward()
        optimizer.step()
        return {"loss": loss, "reward": reward.mean()}

    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    finder = LRFinder(policy, optimizer, update_step=update)
    result = finder.range_test(
        [torch.ones(256, 1)], start_lr=1e-4, end_lr=1.0, diverge_th=float("inf"), progress=False
    )
    assert np.mean(result.metrics["reward"][-5:]) > 0.8
    assert 1e-3 < finder.suggest(on="reward", maximize=True).lr < 1


def test_a_metric_that_only_some_steps_return_is_nan_in_the_others(model, optimizer, batches):
    calls = []

    def sometimes(model, batch):
        calls.append(1)
        out = training_step(model, batch)
        if len(calls) % 2 == 0:
            del out["accuracy"]
        return out

    result = LRFinder(model, optimizer, training_step=sometimes).range_test(
        batches, num_iter=4, progress=False
    )
    assert np.isnan(result.metrics["accuracy"]).tolist() == [False, True, False, True]


def test_a_metric_of_some_micro_batches_is_their_mean(model, optimizer, batches):
    """As one that is computed in the last micro-batch of a step only."""
    calls = []

    def training_step(model, batch):
        calls.append(1)
        out = {"loss": nn.functional.cross_entropy(model(batch[0]), batch[1])}
        if len(calls) % 4 in (0, 3):
            out["call"] = len(calls)
        return out

    result = LRFinder(model, optimizer, training_step=training_step).range_test(
        batches, num_iter=3, accumulation_steps=4, end_lr=1e-3, progress=False
    )
    assert result.metrics["call"] == pytest.approx([3.5, 7.5, 11.5])


@pytest.mark.parametrize("val_every", [1, 3])
def test_a_metric_that_first_appears_later_is_kept(model, optimizer, batches, val_every):
    """As accuracies that are computed at every third step; beside validation."""
    step = -1

    def training_step(model, batch):
        nonlocal step
        step += model.training
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        return {"loss": loss, "third": step} if step % 3 == 2 else {"loss": loss}

    finder = LRFinder(model, optimizer, training_step=training_step)
    result = finder.range_test(
        batches, batches, val_every=val_every, num_iter=9, end_lr=1e-3, progress=False
    )
    expected = [np.nan, np.nan, 2, np.nan, np.nan, 5, np.nan, np.nan, 8]
    assert result.metrics["third"] == pytest.approx(expected, nan_ok=True)
    assert result.val_steps == tuple(range(0, 9, val_every))


def test_metrics_hold_no_graph_and_warn_of_nothing(finder, batches, recwarn):
    finder.range_test(batches, num_iter=3, progress=False)
    assert not recwarn.list


def test_the_callback_sees_rate_loss_and_step(finder, batches):
    seen = []
    result = finder.range_test(
        batches, num_iter=9, progress=False, on_step=lambda *step: seen.append(step)
    )
    assert seen == list(zip(result.lr, result.loss, range(9), strict=True))


def test_a_true_answer_ends_the_sweep(finder, batches):
    result = finder.range_test(batches, progress=False, on_step=lambda lr, loss, step: step == 11)
    assert result.stop_reason is StopReason.CALLBACK
    assert len(result) == 12
