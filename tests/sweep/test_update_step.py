"""A step of the user's own that updates by itself: adversarial training on digits."""

import threading

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.utils.data import DataLoader

from lrfinder import InvalidInputError, LRFinder, LRFinderWarning, StopReason

SHORT = {"num_iter": 5, "progress": False}


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


def test_optimizers_inside_a_preserved_object_may_step(gan, loader):
    models, _, states = bits(gan)
    finder = LRFinder(
        gan.generator, gan.generator_optimizer, update_step=gan.update, preserve=[gan]
    )
    assert len(finder.range_test(loader, **SHORT)) == 5
    now_models, _, now_states = bits(gan)
    assert all(map(torch.equal, models, now_models))
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
    with (
        pytest.warns(LRFinderWarning, match=r"self.critic .* self.critic_optimizer"),
        pytest.raises(InvalidInputError, match=r"Adam, that would not be restored; .*preserve="),
    ):
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


@pytest.mark.parametrize("name", ["criterion", "training_step"])
def test_validation_beside_a_step_of_ones_own(gan, loader, name):
    def reconstruct(generator, batch):
        return nn.functional.mse_loss(generator(batch[0]), batch[1])

    gan.generator[1].eval()  # so that one step at a rate of almost nothing changes nothing
    flat = [(torch.randn(64, 16), torch.rand(64, 64)) for _ in range(2)]
    finder = LRFinder(
        gan.generator,
        gan.generator_optimizer,
        update_step=gan.update,
        preserve=[gan.critic, gan.critic_optimizer],
        **{name: nn.MSELoss() if name == "criterion" else reconstruct},
    )
    result = finder.range_test(loader, flat, num_iter=5, progress=False)
    expected = nn.functional.mse_loss(gan.generator.eval()(flat[0][0]), flat[0][1]).item()
    assert result.val_loss[0] == pytest.approx(expected, rel=1e-4)


def cross_entropy(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def plain_update(optimizer, after_backward=lambda: None):
    """Return an update step; the call between backward and step may set the rate."""

    def update(model, batch):
        optimizer.zero_grad()
        loss = cross_entropy(model, batch)
        loss.backward()
        after_backward()
        optimizer.step()
        return loss

    return update


def test_a_step_that_sets_the_rate_itself_is_refused(model, optimizer, batches):
    """The loop of nanoGPT decays the rate in each iteration."""

    def schedule():
        for group in optimizer.param_groups:
            group["lr"] = 6e-4

    finder = LRFinder(model, optimizer, update_step=plain_update(optimizer, schedule))
    with pytest.raises(InvalidInputError, match=r"set to 1e-07, but the optimizer used 0\.0006"):
        finder.range_test(batches, progress=False)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_training_step_that_sets_the_rate_itself_is_refused(model, optimizer, batches):
    def training_step(model, batch):
        optimizer.param_groups[0]["lr"] = 6e-4
        return cross_entropy(model, batch)

    finder = LRFinder(model, optimizer, training_step=training_step)
    with pytest.raises(InvalidInputError, match=r"used 0\.0006; leave out what sets the rate"):
        finder.range_test(batches, progress=False)


def test_a_scheduler_that_steps_after_the_optimizer_does_no_harm(model, optimizer, batches):
    """The rate that counts is the one at the optimizer's step, and that is the grid's."""
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    used = []
    optimizer.register_step_post_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))
    update = plain_update(optimizer)

    def update_and_schedule(model, batch):
        loss = update(model, batch)
        scheduler.step()
        return loss

    finder = LRFinder(model, optimizer, update_step=update_and_schedule, preserve=[scheduler])
    result = finder.range_test(batches, num_iter=20, progress=False)
    assert used == list(result.lr)


def test_a_step_that_never_steps_before_the_data_end_is_refused(model, optimizer, batches):
    finder = LRFinder(model, optimizer, update_step=cross_entropy)
    with pytest.raises(InvalidInputError, match=r"never called step\(\) of SGD.* on 3 batches"):
        finder.range_test(iter(batches[:3]), progress=False)


def test_validation_batches_are_cut_also_if_the_first_call_only_accumulates(
    model, optimizer, batches
):
    (update, _), sizes = accumulating_update(optimizer, 2), []

    def validate(model, batch):
        sizes.append(len(batch[0]))
        return cross_entropy(model, batch)

    inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    finder = LRFinder(model, optimizer, update_step=update, training_step=validate)
    finder.range_test(batches, [(inputs, targets)], num_iter=4, progress=False)
    assert set(sizes) == {len(batches[0][0])}


def test_a_step_that_never_steps_is_refused(model, optimizer, batches):
    before = [p.detach().clone() for p in model.parameters()]
    finder = LRFinder(model, optimizer, update_step=cross_entropy)
    match = r"never called step\(\) of SGD.* on 64 batches.*training_step=f"
    with pytest.raises(InvalidInputError, match=match):
        finder.range_test(batches, num_iter=5, progress=False)
    assert all(map(torch.equal, model.parameters(), before))


def accumulating_update(optimizer, count):
    """Return an update step that steps at every `count`-th call, as loops with `if` do."""
    calls = []

    def update(model, batch):
        loss = cross_entropy(model, batch)
        (loss / count).backward()
        calls.append(loss.item())
        if len(calls) % count == 0:
            optimizer.step()
            optimizer.zero_grad()
        return {"loss": loss, "same": loss.item()}

    return update, calls


def test_each_rate_is_that_of_an_optimizer_step_also_if_the_step_accumulates(
    model, optimizer, batches
):
    optimizer.zero_grad()
    update, calls = accumulating_update(optimizer, 5)
    used = []
    optimizer.register_step_pre_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))
    result = LRFinder(model, optimizer, update_step=update).range_test(
        batches, end_lr=1.0, num_iter=20, progress=False
    )
    assert used == list(result.lr)
    means = torch.tensor(calls, dtype=torch.float64).reshape(-1, 5).mean(dim=1)
    assert result.loss == pytest.approx(means.tolist(), rel=1e-6)
    assert result.metrics["same"] == pytest.approx(means.tolist())
    assert result.batch_size is None
    accumulated = LRFinder(model, optimizer, nn.CrossEntropyLoss()).range_test(
        batches, end_lr=1.0, num_iter=20, accumulation_steps=5, progress=False
    )
    assert result.loss == pytest.approx(accumulated.loss, rel=1e-5)


def test_recommend_with_a_step_that_accumulates(model, optimizer, batches):
    """A probe of ten steps is ten optimizer steps, not ten batches."""
    update, calls = accumulating_update(optimizer, 16)
    finder = LRFinder(model, optimizer, update_step=update)
    found = finder.recommend(batches, budget=120, progress=False)
    assert len(calls) == 16 * found.steps


def test_a_loss_that_becomes_nan_ends_the_sweep_also_if_a_scaler_in_the_step_skips_it(
    model, optimizer, batches
):
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)

    def update(model, batch):
        optimizer.zero_grad()
        loss = cross_entropy(model, batch)
        if optimizer.param_groups[0]["lr"] > 1e-3:
            loss = loss * float("nan")
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    finder = LRFinder(model, optimizer, update_step=update, preserve=[scaler])
    result = finder.range_test(batches, progress=False)
    assert result.stop_reason is StopReason.NON_FINITE
    assert result.lr[-2] <= 1e-3 < result.lr[-1]


def test_a_rate_that_is_a_tensor_may_be_used_unseen_as_by_a_replayed_graph(model, batches):
    """Written out here, as a graph does it: torch's hooks hear nothing of such a step."""
    rate = torch.tensor(0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    used = []

    def replay(model, batch):
        pixels, labels = batch
        loss = nn.functional.cross_entropy(model(pixels), labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        used.append(rate.item())
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(rate * gradient)
        return loss

    finder = LRFinder(model, optimizer, update_step=replay)
    result = finder.range_test(batches, num_iter=30, progress=False)
    assert used[: len(result)] == pytest.approx(result.lr)
    usual = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    expected = usual.range_test(batches, num_iter=30, progress=False)
    assert result.loss == pytest.approx(expected.loss)


def test_an_optimizer_that_loads_its_state_in_the_step_is_still_known(model, optimizer, batches):
    """It has another list of groups from then on, as when its state is moved to a device."""
    update = plain_update(optimizer)

    def reload_and_update(model, batch):
        optimizer.load_state_dict(optimizer.state_dict())
        return update(model, batch)

    sweeps = [
        LRFinder(model, optimizer, update_step=step).range_test(batches, **SHORT)
        for step in (update, reload_and_update)
    ]
    assert sweeps[0].loss == sweeps[1].loss


# What it cannot know: that the inner finder restores its own model.
@pytest.mark.filterwarnings("ignore:.*which the range test does not restore")
def test_a_finder_inside_a_step(model, optimizer, batches):
    """As for a network that is trained again now and then; its own state is restored."""
    inner_model = nn.Linear(64, 10)
    inner_optimizer = torch.optim.SGD(inner_model.parameters(), lr=0.1)
    update = plain_update(optimizer)
    lengths = []
    for settings in (
        {"criterion": nn.CrossEntropyLoss()},
        {"update_step": plain_update(inner_optimizer)},
    ):

        def update_and_sweep(model, batch, settings=settings):
            inner = LRFinder(inner_model, inner_optimizer, **settings)
            lengths.append(len(inner.range_test([batch], num_iter=5, progress=False)))
            return update(model, batch)

        alone = LRFinder(model, optimizer, update_step=update)
        nested = LRFinder(model, optimizer, update_step=update_and_sweep)
        sweeps = [each.range_test(batches, num_iter=5, progress=False) for each in (alone, nested)]
        assert sweeps[0].loss == sweeps[1].loss
    assert lengths == [5] * 10
    with pytest.raises(InvalidInputError, match="SGD, that would not be restored"):
        LRFinder(model, optimizer, update_step=plain_update(inner_optimizer)).range_test(
            batches, progress=False
        )


def test_finders_and_training_in_other_threads(batches):
    """Only the thread of a range test is watched."""
    done, failed, sweeping = [], [], threading.Event()

    def work(sweeps):
        model = nn.Linear(64, 10)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        update = plain_update(optimizer)
        try:
            if sweeps:
                finder = LRFinder(model, optimizer, update_step=update)
                sweeping.set()
                for _ in range(3):
                    finder.range_test(batches, end_lr=1e-3, num_iter=50, progress=False)
            else:
                sweeping.wait(timeout=10)
                for _ in range(20):
                    for batch in batches:
                        update(model, batch)
            done.append(sweeps)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(sweeps,)) for sweeps in (True, True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not failed
    assert sorted(done) == [False, True, True]


@pytest.mark.parametrize("name", ["update_step", "criterion"])
def test_no_hook_stays_behind(model, optimizer, batches, name):
    step = plain_update(optimizer) if name == "update_step" else nn.CrossEntropyLoss()
    LRFinder(model, optimizer, **{name: step}).range_test(batches, num_iter=3, progress=False)
    assert not _global_optimizer_pre_hooks
    assert not _global_optimizer_post_hooks


def test_a_compiled_step_is_seen_to_step(model, optimizer, batches):
    torch._dynamo.reset()
    optimizer.step = torch.compile(optimizer.step, backend="eager")
    finder = LRFinder(model, optimizer, update_step=plain_update(optimizer))
    assert len(finder.range_test(batches, num_iter=10, progress=False)) == 10
