"""Sharded models: each rank keeps and restores its own shards, in place, and gathers nothing."""

import gc
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FullyShardedDataParallel,
    MixedPrecisionPolicy,
    fully_shard,
)
from torch.distributed.fsdp._fully_shard import _fsdp_common
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from lrfinder import LRFinder, SweepError, preserve_state
from lrfinder._distributed.sharding import compute_device, is_sharded
from tests.distributed.helpers import (
    Raised,
    Shard,
    everything,
    network,
    rank,
    run,
    same,
    size,
    train,
    trained,
)

MSE = nn.MSELoss()
HAS_SEVERAL_MESHES = pytest.mark.skipif(
    not hasattr(_fsdp_common, "ShardPlacementResult"), reason="this torch has one mesh per module"
)
PLAN = {"0": ColwiseParallel(), "2": RowwiseParallel()}


def sharded(kind):
    """Return the network, sharded in one of several ways, and the loader that suits it."""
    model = network()
    if kind == "plain":
        return model, Shard()
    if kind == "tensor parallel":
        parallelize_module(model, init_device_mesh("cpu", (size(),)), PLAN)
        return model, SameBatch(0, 1)
    options = {"mesh": init_device_mesh("cpu", (size(),))}
    loader = Shard()
    if kind == "mixed precision":
        options["mp_policy"] = MixedPrecisionPolicy(torch.bfloat16, torch.float32)
    elif kind == "offloaded":
        options["offload_policy"] = CPUOffloadPolicy(pin_memory=False)
    elif kind == "hybrid":
        options["mesh"] = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicas", "shards"))
    elif kind == "tensor parallel within":
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
        parallelize_module(model, mesh["tensor"], PLAN)
        options["mesh"] = mesh["data"]
        loader = SameBatch(rank() // 2, 2)
    elif kind == "several meshes":
        options["shard_placement_fn"] = biases_on_a_mesh_of_their_own
    fully_shard(model[0], **options)
    fully_shard(model, **options)
    return model, loader


def biases_on_a_mesh_of_their_own(parameter):
    if parameter.ndim > 1:
        return None
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicas", "shards"))
    info = _fsdp_common.HSDPMeshInfo(mesh, shard_mesh_dim=1, replicate_mesh_dim=0)
    return _fsdp_common.ShardPlacementResult(None, info)


class SameBatch(Shard):
    """What one of `groups` groups of ranks sees, each rank of it the same."""

    def __init__(self, group, groups):
        super().__init__()
        self.part = slice(group * self.samples // groups, (group + 1) * self.samples // groups)

    def __iter__(self):
        whole = (self.whole(step) for step in range(self.steps))
        return ((inputs[self.part], targets[self.part]) for inputs, targets in whole)


def sweep_of(kind, evaluated=False):
    warnings.filterwarnings("ignore", "FSDP2-wrapped module")
    model, loader = sharded(kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    inputs, targets = next(iter(loader))
    MSE(model(inputs), targets).backward()
    optimizer.step()
    before = everything(model, optimizer)
    if evaluated:  # leaves the parameters of the root gathered
        with torch.no_grad():
            model(inputs)
    result = validated_sweep(model, optimizer, loader)
    return result, same(before, everything(model, optimizer)), is_sharded(model)


def validated_sweep(model, optimizer, loader):
    return LRFinder(model, optimizer, MSE).range_test(
        loader, loader, num_iter=12, start_lr=1e-4, end_lr=0.1, progress=False
    )


@pytest.fixture(scope="module")
def alone():
    return run(sweep_of, 1, "plain")[0][0]


@pytest.mark.parametrize(
    ("kind", "processes", "tolerance"),
    [
        ("fully sharded", 2, 1e-4),
        ("mixed precision", 2, 5e-2),
        ("offloaded", 2, 1e-4),
        ("hybrid", 4, 1e-4),
        ("tensor parallel", 2, 1e-4),
        ("tensor parallel within", 4, 1e-4),
        pytest.param("several meshes", 4, 1e-4, marks=HAS_SEVERAL_MESHES),
    ],
)
def test_a_sharded_model_has_the_curve_of_a_whole_one_and_its_shards_back(
    kind, processes, tolerance, alone
):
    answers = run(sweep_of, processes, kind)
    for result, kept, spread in answers:
        assert kept
        assert spread
        assert result == answers[0][0]
        assert result.batch_size == 32
        np.testing.assert_allclose(result.loss, alone.loss, rtol=tolerance)
        np.testing.assert_allclose(result.val_loss, alone.val_loss, rtol=tolerance)


def test_parameters_that_are_gathered_at_the_beginning_are_kept_as_shards():
    assert [kept for _, kept, _ in run(sweep_of, 2, "fully sharded", True)] == [True, True]


def trained_with_flat_parameters(steps, use_orig_params, evaluated, swept):
    warnings.filterwarnings("ignore", category=FutureWarning)  # "is in maintenance mode"
    cpu = torch.device("cpu")
    model = FullyShardedDataParallel(network(), device_id=cpu, use_orig_params=use_orig_params)
    optimizer = trained(model, steps)
    before = everything(model, optimizer)
    if evaluated:  # leaves the parameters of the root gathered
        with torch.no_grad():
            model(Shard().whole(0)[0])
    if swept:
        validated_sweep(model, optimizer, Shard())
    kept = evaluated or same(before, everything(model, optimizer))
    train(model, optimizer)
    return kept, everything(model, optimizer)[:3]


@pytest.mark.parametrize("use_orig_params", [False, True])
@pytest.mark.parametrize(("steps", "evaluated"), [(0, False), (3, False), (3, True)])
def test_training_with_flat_parameters_goes_on_bit_for_bit(steps, evaluated, use_orig_params):
    training = (trained_with_flat_parameters, 2, steps, use_orig_params, evaluated)
    for (kept, state), (_, expected) in zip(
        run(*training, True), run(*training, False), strict=True
    ):
        assert kept
        assert same(state, expected)


def new_model(kind):
    model, loader = sharded(kind)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    result = validated_sweep(model, optimizer, loader)
    return result, all(map(torch.equal, model.parameters(), before))


def test_a_model_that_has_never_done_a_forward_pass_can_be_validated():
    ((alone, _),) = run(new_model, 1, "plain")
    for result, kept in run(new_model, 2, "fully sharded"):
        assert kept
        np.testing.assert_allclose(result.loss, alone.loss, rtol=1e-4)
        np.testing.assert_allclose(result.val_loss, alone.val_loss, rtol=1e-4)


def failing_within_the_forward():
    model, loader = sharded("fully sharded")
    optimizer = trained(model)
    before = everything(model, optimizer)
    calls = []

    def fail(module, inputs):
        calls.append(1)
        if len(calls) == 5 and (rank() == 1 or not failing_within_the_forward.alone):
            raise ArithmeticError("within the forward")

    hook = model[1].register_forward_pre_hook(fail)
    try:
        LRFinder(model, optimizer, MSE).range_test(loader, num_iter=12, progress=False)
    except (ArithmeticError, SweepError) as error:
        ended = Raised(error)
    hook.remove()
    return ended, same(before, everything(model, optimizer)), model, optimizer


failing_within_the_forward.alone = True


def failure_of_one():
    return failing_within_the_forward()[:2]


def failure_of_all():
    failing_within_the_forward.alone = False
    ended, kept, model, optimizer = failing_within_the_forward()
    train(model, optimizer)
    untouched, _ = sharded("fully sharded")
    other = trained(untouched)
    train(untouched, other)
    return ended, kept, same(everything(model, optimizer)[0], everything(untouched, other)[0])


def test_shards_are_back_when_a_forward_fails_on_one_rank_with_modules_gathered():
    (first, first_kept), (second, second_kept) = run(failure_of_one, 2)
    assert first_kept
    assert second_kept
    assert first.kind is SweepError
    assert "rank 1 failed with ArithmeticError" in first.message
    assert second.kind is ArithmeticError


def test_training_goes_on_after_a_forward_has_failed_on_every_rank_with_modules_gathered():
    for ended, kept, trains_on in run(failure_of_all, 2):
        assert ended.kind is ArithmeticError
        assert kept
        assert trains_on


def bytes_of_a_snapshot():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(256, 256) for _ in range(4)))
    for layer in model:
        fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.ones(2, 256)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    state = [value for of in optimizer.state.values() for value in of.values()]
    local = sum(_bytes(tensor) for tensor in (*model.parameters(), *state))
    before = _bytes_of_all_tensors()
    with preserve_state(model, optimizer):
        return (_bytes_of_all_tensors() - before) / local


def _bytes_of_all_tensors():
    gc.collect()
    tensors = (thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, nn.Parameter))
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _bytes(tensor):
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local.numel() * local.element_size()


def test_a_snapshot_takes_the_memory_of_the_local_shards_and_no_more():
    for share in run(bytes_of_a_snapshot, 4):
        assert 0.98 < share <= 1.02


def test_a_model_on_several_devices_is_recognised_and_others_are_not():
    assert not is_sharded(network())
    spread = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2, device="meta")])
    assert is_sharded(spread)
    assert compute_device(nn.ModuleList(reversed(list(spread)))) == torch.device("cpu")


class Dispatched(nn.Module):
    """Like a model that was dispatched over devices: it refuses to be moved."""

    def __init__(self):
        super().__init__()
        self.hf_device_map = {"": "cpu"}
        self.layer = nn.Linear(6, 1)

    def forward(self, inputs):
        return self.layer(inputs)

    def _apply(self, *arguments, **options):
        raise AssertionError("was moved")


def test_a_dispatched_model_is_never_moved():
    model = Dispatched()
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=0.1), MSE, "cpu:0")
    result = finder.range_test([Shard(shares=[32]).whole(0)], num_iter=3, progress=False)
    assert len(result) == 3
