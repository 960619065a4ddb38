"""What Accelerate has prepared is used as it is: its precision, its accumulation, its loaders."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder import InvalidInputError, LRFinder
from tests.distributed.helpers import Shard, network, run, same, size

accelerate = pytest.importorskip("accelerate")

MSE = nn.MSELoss()


@pytest.fixture(autouse=True)
def _fresh_state():
    """Let no test see the precision of another's Accelerator, or of a Trainer before them."""
    _reset_state()
    yield
    _reset_state()


def _reset_state():
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


def data(**options):
    inputs, targets = (
        torch.cat(part) for part in zip(*map(Shard(samples=32).whole, range(4)), strict=True)
    )
    return DataLoader(TensorDataset(inputs, targets), batch_size=8, **options)


def prepared(accelerator, loader, optimizer=torch.optim.SGD):
    model = network()
    return accelerator.prepare(model, optimizer(model.parameters(), lr=0.1), loader)


def test_accumulation_is_that_of_the_accelerator_unless_another_is_given():
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=4)
    model, optimizer, loader = prepared(accelerator, data())
    evaluated = []

    def criterion(outputs, targets):
        evaluated.append(len(targets))
        return MSE(outputs, targets)

    finder = LRFinder(model, optimizer, criterion)
    options = {"num_iter": 5, "start_lr": 1e-3, "end_lr": 0.1, "progress": False}
    result = finder.range_test(loader, **options)
    assert (len(evaluated), result.batch_size) == (5 * 4, 32)
    assert finder.range_test(loader, accumulation_steps=2, **options).batch_size == 16
    # The same updates with the same batches in one piece, by torch alone.
    plain = network()
    whole = DataLoader(loader.dataset, batch_size=32)
    expected = LRFinder(plain, torch.optim.SGD(plain.parameters(), lr=0.1), MSE)
    np.testing.assert_allclose(result.loss, expected.range_test(whole, **options).loss, rtol=1e-5)


def test_precision_is_that_of_the_accelerator():
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    model, optimizer, loader = prepared(accelerator, data())
    within = []
    model[0].register_forward_hook(lambda module, inputs, outputs: within.append(outputs.dtype))
    LRFinder(model, optimizer, MSE).range_test(loader, num_iter=3, progress=False)
    assert set(within) == {torch.bfloat16}


def test_a_step_that_the_scaler_of_the_accelerator_skips_is_repeated_with_the_same_rate():
    accelerate.Accelerator(cpu=True)
    model = network()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=10**6)
    optimizer = accelerate.optimizer.AcceleratedOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.1), scaler=scaler
    )
    evaluated = []

    def criterion(outputs, targets):
        evaluated.append(1)
        return MSE(outputs, targets)

    result = LRFinder(model, optimizer, criterion).range_test(data(), num_iter=4, progress=False)
    assert len(result) == 4
    assert len(evaluated) > 4  # 2**127 overflows: some steps were skipped
    assert scaler.get_scale() == 2.0**127


@pytest.mark.parametrize("workers", [0, 1])
def test_prepared_objects_are_as_before(workers):
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    order = torch.Generator().manual_seed(3)
    options = {"shuffle": True, "generator": order, "num_workers": workers}
    loader = data(**options, persistent_workers=bool(workers))
    model, optimizer, loader = prepared(accelerator, loader, torch.optim.AdamW)
    MSE(model(torch.ones(2, 6)), torch.ones(2, 1)).backward()
    optimizer.step()

    def state():
        return copy.deepcopy(
            [
                list(model.parameters()),
                [parameter.grad for parameter in model.parameters()],
                optimizer.state_dict()["state"],
                order.get_state(),
                vars(optimizer.gradient_state),
                [loader.iteration, loader.end_of_dataloader, loader.remainder],
                optimizer.step_was_skipped,
            ]
        )

    before = state()
    LRFinder(model, optimizer, MSE).range_test(loader, loader, num_iter=20, progress=False)
    assert same(before, state())


def test_an_optimizer_whose_engine_steps_in_its_place_is_refused():
    class Wrapper(accelerate.optimizer.AcceleratedOptimizer):
        __module__ = "accelerate.utils.deepspeed"

    accelerate.Accelerator(cpu=True)
    model = network()
    optimizer = Wrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(InvalidInputError, match="update_step"):
        LRFinder(model, optimizer, MSE)
    LRFinder(model, optimizer, update_step=lambda model, batch: None)  # as the message advises


def accelerated_on_several():
    import os

    if size() > 1:
        rank = torch.distributed.get_rank()
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size())}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "ACCELERATE_USE_CPU": "true"}
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=4 // size())
    model, optimizer, loader = prepared(accelerator, data())
    result = LRFinder(model, optimizer, MSE).range_test(
        loader, num_iter=8, start_lr=1e-3, end_lr=0.1, progress=False
    )
    return result, type(model).__name__


def test_two_prepared_processes_have_the_curve_of_one():
    ((alone, _),) = run(accelerated_on_several, 1)
    (first, wrapper), (second, _) = run(accelerated_on_several, 2)
    assert wrapper == "DistributedDataParallel"
    assert first == second
    assert first.batch_size == alone.batch_size == 32
    np.testing.assert_allclose(first.loss, alone.loss, rtol=1e-4)
