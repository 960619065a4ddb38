"""One rate per optimizer update: accumulated, clipped, or evaluated several times by a closure."""

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_value_

from lrfinder import InvalidInputError, LRFinder
from lrfinder._sweep.grid import learning_rate_grid


def in_double(model, batches):
    return model.double(), [(pixels.double(), labels) for pixels, labels in batches]


def cut(batches, *sizes):
    """Cut every batch into micro-batches of the given sizes."""
    return [
        pair
        for pixels, labels in batches
        for pair in zip(pixels.split(sizes), labels.split(sizes), strict=True)
    ]


@pytest.mark.parametrize("sizes", [(32, 32), (24, 40), (1, 3, 60)])
def test_accumulating_micro_batches_of_any_size_equals_the_whole_batch(
    model, optimizer, batches, sizes
):
    model, batches = in_double(model, batches)
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    settings = {"start_lr": 1e-3, "end_lr": 0.5, "num_iter": 30, "progress": False}
    whole = finder.range_test(batches, **settings)
    parts = finder.range_test(cut(batches, *sizes), accumulation_steps=len(sizes), **settings)
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-10)
    assert parts.lr == whole.lr
    assert parts.batch_size == whole.batch_size == 64


class Replayed(torch.autograd.Function):
    """The loss at the end of a graph on an accelerator, which is replayed into the same memory."""

    memory = torch.zeros(())

    @staticmethod
    def forward(ctx, loss):
        return Replayed.memory.copy_(loss).detach()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_losses_of_a_replayed_graph_are_those_of_their_own_batches(model, optimizer, batches):
    losses = []
    for last in (nn.Identity(), Replayed.apply):

        def criterion(outputs, targets, last=last):
            return last(nn.functional.cross_entropy(outputs, targets))

        result = LRFinder(model, optimizer, criterion).range_test(
            batches, batches, num_iter=5, accumulation_steps=3, val_batches=2, progress=False
        )
        losses.append((result.loss, result.val_loss))
    assert losses[0] == losses[1]


def test_there_is_one_rate_and_one_step_for_each_accumulated_update(model, optimizer, batches):
    used = []
    optimizer.register_step_pre_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))
    result = LRFinder(model, optimizer, nn.CrossEntropyLoss()).range_test(
        batches, num_iter=7, accumulation_steps=3, progress=False
    )
    assert list(result.lr) == used == learning_rate_grid(1e-7, 10.0, 7).tolist()


def test_metrics_are_averaged_over_the_micro_batches_too(model, optimizer, batches):
    def training_step(model, batch):
        outputs = model(batch[0])
        return {
            "loss": nn.functional.cross_entropy(outputs, batch[1]),
            "accuracy": (outputs.argmax(1) == batch[1]).double().mean(),
        }

    finder = LRFinder(model, optimizer, training_step=training_step)
    settings = {"end_lr": 0.01, "num_iter": 8, "progress": False}
    whole = finder.range_test(batches, **settings)
    parts = finder.range_test(cut(batches, 16, 48), accumulation_steps=2, **settings)
    np.testing.assert_allclose(parts.metrics["accuracy"], whole.metrics["accuracy"])


def gradients_at_step(optimizer):
    """Return a list that grows by the flat gradient that each step sees."""
    seen = []
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.register_step_pre_hook(
        lambda *_: seen.append(torch.cat([p.grad.flatten() for p in parameters]).clone())
    )
    return seen


def test_gradients_are_clipped_by_their_norm(model, optimizer, batches):
    clipped = gradients_at_step(optimizer)
    LRFinder(model, optimizer, nn.CrossEntropyLoss(), clip_grad=0.01).range_test(
        batches, num_iter=10, end_lr=1e-3, progress=False
    )
    norms = torch.stack(clipped).norm(dim=1)
    torch.testing.assert_close(norms, torch.full((10,), 0.01), rtol=1e-3, atol=0)


def test_gradients_are_clipped_by_any_function(model, optimizer, batches):
    clipped = gradients_at_step(optimizer)
    by_value = partial(clip_grad_value_, clip_value=1e-3)
    LRFinder(model, optimizer, nn.CrossEntropyLoss(), clip_grad=by_value).range_test(
        batches, num_iter=10, progress=False
    )
    assert torch.stack(clipped).abs().max() == pytest.approx(1e-3)


def test_the_function_gets_the_parameters_once_between_backward_and_step(model, optimizer, batches):
    events = []

    def clip(parameters):
        assert parameters == list(model.parameters())
        events.append("clip")

    model[-1].bias.register_post_accumulate_grad_hook(lambda _: events.append("backward"))
    optimizer.register_step_pre_hook(lambda *_: events.append("step"))
    LRFinder(model, optimizer, nn.CrossEntropyLoss(), clip_grad=clip).range_test(
        batches, num_iter=2, accumulation_steps=2, progress=False
    )
    assert events == ["backward", "backward", "clip", "step"] * 2


def test_lbfgs_is_stepped_with_a_closure_as_by_hand(model, batches):
    model, batches = in_double(model, batches)
    twin = copy.deepcopy(model)
    twins = torch.optim.LBFGS(twin.parameters(), max_iter=4)
    expected = []
    for lr, (pixels, labels) in zip(learning_rate_grid(1e-3, 1.0, 10), batches, strict=True):
        twins.param_groups[0]["lr"] = lr

        def closure(pixels=pixels, labels=labels):
            twins.zero_grad()
            loss = nn.functional.cross_entropy(twin(pixels), labels)
            loss.backward()
            return loss

        expected.append(twins.step(closure).item())

    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    result = LRFinder(model, optimizer, nn.CrossEntropyLoss()).range_test(
        batches, start_lr=1e-3, end_lr=1.0, num_iter=10, progress=False
    )
    assert list(result.loss) == expected


def test_a_closure_may_accumulate(model, batches):
    model, batches = in_double(model, batches)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    settings = {"start_lr": 1e-3, "end_lr": 0.1, "num_iter": 10, "progress": False}
    whole = finder.range_test(batches, **settings)
    parts = finder.range_test(cut(batches, 24, 40), accumulation_steps=2, **settings)
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-8)


def test_a_scaler_for_an_optimizer_with_a_closure_is_refused(model, batches):
    finder = LRFinder(
        model,
        torch.optim.LBFGS(model.parameters()),
        nn.CrossEntropyLoss(),
        scaler=torch.amp.GradScaler("cpu"),
    )
    with pytest.raises(InvalidInputError, match=r"LBFGS takes a closure, .*; leave the scaler out"):
        finder.range_test(batches, progress=False)


def test_an_optimizer_whose_step_a_scheduler_has_wrapped_is_still_known(model, batches):
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    torch.optim.lr_scheduler.StepLR(optimizer, 3)
    result = LRFinder(model, optimizer, nn.CrossEntropyLoss()).range_test(
        batches, end_lr=1.0, num_iter=5, progress=False
    )
    assert len(result) == 5


class SAM(torch.optim.Optimizer):
    """Sharpness-aware minimization in the form that most projects copy (davda54/sam)."""

    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, {"rho": rho, **kwargs})
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self):
        for group in self.param_groups:
            scale = group["rho"] / (self._norm() + 1e-12)
            for p in group["params"]:
                self.state[p]["old_p"] = p.data.clone()
            moves = [p.grad * scale for p in group["params"]]
            for p, move in zip(group["params"], moves, strict=True):
                p.add_(move)
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        self.zero_grad()

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is not None, (
            "Sharpness Aware Minimization requires closure, but it was not provided"
        )
        closure = torch.enable_grad()(closure)
        self.first_step()
        closure()
        self.second_step()

    def _norm(self):
        return torch.stack([p.grad.norm() for g in self.param_groups for p in g["params"]]).norm()


def make_sam(parameters):
    return SAM(parameters, torch.optim.SGD, lr=0.1, momentum=0.9)


def make_pytorch_optimizer_sam(parameters):
    package = pytest.importorskip("pytorch_optimizer")
    return package.SAM(parameters, torch.optim.SGD, lr=0.1, momentum=0.9)


@pytest.mark.parametrize("make", [make_sam, make_pytorch_optimizer_sam])
def test_sam_is_stepped_with_a_closure_as_by_hand(model, batches, make):
    twin = copy.deepcopy(model)
    twins = make(twin.parameters())
    expected = []

    def evaluate(batch):
        loss = nn.functional.cross_entropy(twin(batch[0]), batch[1])
        loss.backward()
        return loss

    for lr, batch in zip(learning_rate_grid(1e-3, 1.0, 10), batches, strict=True):
        twins.param_groups[0]["lr"] = lr
        expected.append(evaluate(batch).item())
        twins.step(partial(evaluate, batch))
        twins.zero_grad()

    before = [p.detach().clone() for p in model.parameters()]
    result = LRFinder(model, make(model.parameters()), nn.CrossEntropyLoss()).range_test(
        batches, start_lr=1e-3, end_lr=1.0, num_iter=10, progress=False
    )
    assert list(result.loss) == expected
    assert all(map(torch.equal, model.parameters(), before))


def test_a_scaler_for_sam_is_refused(model, batches):
    scaler = torch.amp.GradScaler("cpu")
    finder = LRFinder(model, make_sam(model.parameters()), nn.CrossEntropyLoss(), scaler=scaler)
    with pytest.raises(InvalidInputError, match=r"SAM takes a closure, .*; leave the scaler out"):
        finder.range_test(batches, progress=False)


def test_an_error_of_the_optimizer_itself_arrives(model, batches):
    class Broken(torch.optim.SGD):
        def step(self, closure=None):
            raise RuntimeError("mine")

    finder = LRFinder(model, Broken(model.parameters(), lr=0.1), nn.CrossEntropyLoss())
    with pytest.raises(RuntimeError, match="mine"):
        finder.range_test(batches, progress=False)


def fused(model, make):
    """Step an optimizer of its own for each parameter inside backward, as in PyTorch's tutorial."""
    optimizers = {parameter: make([parameter]) for parameter in model.parameters()}

    def step(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    return list(optimizers.values())


@pytest.mark.filterwarnings("ignore:a hook uses")
def test_a_hook_in_another_thread_is_known_by_the_parameters_it_steps(model, batches):
    """On an accelerator, torch calls hooks in backward in a thread of its own."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    other = torch.optim.SGD([model[0].weight], lr=0.1)
    with ThreadPoolExecutor(1) as pool:
        model[0].weight.register_post_accumulate_grad_hook(
            lambda _: pool.submit(other.step).result()
        )
        with pytest.raises(InvalidInputError, match="SGD, steps before"):
            LRFinder(model, optimizer, nn.CrossEntropyLoss()).range_test(batches, progress=False)


@pytest.mark.filterwarnings("ignore:a hook uses")
@pytest.mark.parametrize("settings", [{}, {"scaler": torch.amp.GradScaler("cpu")}])
def test_optimizers_that_step_inside_backward_are_refused_before_they_do(model, batches, settings):
    swept, *others = fused(model, torch.optim.Adam)
    before = [p.detach().clone() for p in model.parameters()]
    finder = LRFinder(model, swept, nn.CrossEntropyLoss(), **settings)
    match = r"Adam, steps before .* would not be restored, .* not swept: .* preserve="
    with pytest.raises(InvalidInputError, match=match):
        finder.range_test(batches, progress=False)
    assert all(map(torch.equal, model.parameters(), before))
    assert not any(other.state for other in others)


@pytest.mark.filterwarnings("ignore:a hook uses")
def test_an_optimizer_with_a_closure_beside_those_inside_backward_is_refused(model, batches):
    fused(model, torch.optim.SGD)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    with pytest.raises(InvalidInputError, match="SGD, steps before"):
        LRFinder(model, optimizer, nn.CrossEntropyLoss()).range_test(batches, progress=False)


def test_preserved_optimizers_may_step_inside_backward(model, batches):
    swept, *others = fused(model, torch.optim.Adam)
    before = [p.detach().clone() for p in model.parameters()]
    finder = LRFinder(model, swept, nn.CrossEntropyLoss(), preserve=others)
    assert len(finder.range_test(batches, num_iter=5, progress=False)) == 5
    assert all(map(torch.equal, model.parameters(), before))
    assert not any(other.state for other in others)


def test_a_step_may_use_an_optimizer_of_its_own_for_an_adversarial_example(model, batches):
    """As the loss of TRADES does in the norm L2."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def training_step(model, batch):
        pixels, labels = batch
        shift = (1e-3 * torch.randn_like(pixels)).requires_grad_()
        attack = torch.optim.SGD([shift], lr=0.1)
        (-nn.functional.cross_entropy(model(pixels + shift), labels)).backward()
        attack.step()
        model.zero_grad()
        return nn.functional.cross_entropy(model(pixels + shift.detach()), labels)

    finder = LRFinder(model, optimizer, training_step=training_step)
    assert len(finder.range_test(batches, num_iter=5, progress=False)) == 5
