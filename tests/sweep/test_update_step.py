"""A step of the user's own that updates by itself: adversarial training on digits."""

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.utils.data import DataLoader

from lrfinder import InvalidInputError, LRFinder


class Gan:
    """What a script for adversarial training has at hand."""

    def __init__(self):
        self.generator = nn.Sequential(
            nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid()
        )
        self.critic = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), lr=2e-4)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=3e-4)

    def update(self, generator, batch):
        """Update the critic, then the generator; return the loss of the generator."""
        real, _ = batch
        fake = generator(torch.randn(len(real), 16))
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)

        self.critic_optimizer.zero_grad()
        critic_loss = bce(self.critic(real), ones) + bce(self.critic(fake.detach()), zeros)
        critic_loss.backward()
        self.critic_optimizer.step()

        self.generator_optimizer.zero_grad()
        loss = bce(self.critic(fake), ones)
        loss.backward()
        self.generator_optimizer.step()
        return {"loss": loss, "critic": critic_loss.item()}


@pytest.fixture
def gan():
    return Gan()


def bits(gan):
    models = [
        tensor.clone()
        for model in (gan.generator, gan.critic)
        for tensor in model.state_dict().values()
    ]
    gradients = [p.grad for model in (gan.generator, gan.critic) for p in model.parameters()]
    states = [
        optimizer.state_dict() for optimizer in (gan.generator_optimizer, gan.critic_optimizer)
    ]
    return models, gradients, states


@pytest.fixture
def loader(digits):
    return DataLoader(digits, batch_size=64, shuffle=True)


def test_a_gan_sweeps_one_optimizer_and_puts_both_models_back(gan, loader):
    models, gradients, states = bits(gan)
    finder = LRFinder(
        gan.generator,
        gan.generator_optimizer,
        update_step=gan.update,
        preserve=[gan.critic, gan.critic_optimizer],
    )
    held = []
    result = finder.range_test(
        loader,
        end_lr=1.0,
        progress=False,
        on_step=lambda *_: held.append(gan.critic_optimizer.param_groups[0]["lr"]),
    )
    assert set(held) == {3e-4}, "the other optimizer keeps its rate"
    assert len(result.metrics["critic"]) == len(result)
    now_models, now_gradients, now_states = bits(gan)
    assert all(map(torch.equal, models, now_models))
    assert now_gradients == gradients == [None] * len(gradients)
    assert now_states == states


def test_the_other_optimizer_can_be_swept_as_well(gan, loader):
    def update(critic, batch):
        return gan.update(gan.generator, batch)["critic"]

    finder = LRFinder(
        gan.critic,
        gan.critic_optimizer,
        update_step=update,
        preserve=[gan.generator, gan.generator_optimizer],
    )
    result = finder.range_test(loader, end_lr=1.0, progress=False)
    assert result.loss[0] == pytest.approx(1.386, abs=0.1)  # 2 ln 2: the critic knows nothing yet
    assert 1e-5 < finder.suggest().lr < 1


def test_an_optimizer_that_would_not_be_put_back_is_refused_before_it_steps(gan, loader):
    before = [p.detach().clone() for p in gan.critic.parameters()]
    finder = LRFinder(gan.generator, gan.generator_optimizer, update_step=gan.update)
    with pytest.raises(InvalidInputError, match=r"Adam, that would not be restored; .*preserve="):
        finder.range_test(loader, progress=False)
    assert all(map(torch.equal, gan.critic.parameters(), before))
    assert gan.critic_optimizer.state_dict()["state"] == {}
    gan.update(gan.generator, next(iter(loader)))  # outside of the sweep it may step


def test_alternating_updates_within_one_model(model, digits, loader):
    """One optimizer for the body, another one for the head, taking turns."""
    body = torch.optim.SGD(model[0].parameters(), lr=0.1)
    head = torch.optim.Adam(model[2].parameters(), lr=1e-3)
    turns = []

    def update(model, batch):
        optimizer = (body, head)[len(turns) % 2]
        turns.append(optimizer)
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    finder = LRFinder(model, body, update_step=update, preserve=[head])
    finder.range_test(loader, end_lr=10.0, progress=False)
    assert turns.count(head) > 40
    assert (body.param_groups[0]["lr"], head.param_groups[0]["lr"]) == (0.1, 1e-3)
    assert not head.state


def test_validation_beside_a_step_of_ones_own_uses_the_criterion(gan, loader):
    gan.generator[1].eval()  # so that one step at a rate of almost nothing changes nothing
    flat = [(torch.randn(64, 16), torch.rand(64, 64)) for _ in range(2)]
    finder = LRFinder(
        gan.generator,
        gan.generator_optimizer,
        nn.MSELoss(),
        update_step=gan.update,
        preserve=[gan.critic, gan.critic_optimizer],
    )
    result = finder.range_test(loader, flat, num_iter=5, progress=False)
    expected = nn.functional.mse_loss(gan.generator.eval()(flat[0][0]), flat[0][1]).item()
    assert result.val_loss[0] == pytest.approx(expected, rel=1e-4)
