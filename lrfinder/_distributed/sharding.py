"""Models that lie on several devices or processes: where they compute, and in which groups.

They are recognised by what they can do, so that nothing is imported for a model that has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lrfinder._distributed.rank import has_process_group
from lrfinder._snapshot.sharded import fsdp_modules


def is_sharded(model: nn.Module) -> bool:
    """Return whether the model must not be moved to another device.

    That is so if its parameters are shards, if it was dispatched over devices (`device_map`), if
    it is wrapped in `DistributedDataParallel`, and if it lies on several devices.
    """
    return (
        bool(_meshes(model) or _ddp_modules(model))
        or any(hasattr(module, "hf_device_map") for module in model.modules())
        or len({parameter.device for parameter in model.parameters()}) > 1
    )


def compute_device(model: nn.Module) -> torch.device:
    """Return the device on which the model begins to compute, where its batches go.

    It is the device of the first parameter that is not on "meta". Shards that are offloaded to
    host memory are computed on the device of their mesh.
    """
    parameters = list(model.parameters())
    first = next((p for p in parameters if p.device.type != "meta"), parameters[0])
    mesh: Any = getattr(first, "device_mesh", None)
    if mesh is None or mesh.device_type == first.device.type:
        return first.device
    index = getattr(torch, mesh.device_type).current_device()
    return torch.device(mesh.device_type, index)


@contextmanager
def without_sync(model: nn.Module) -> Iterator[None]:
    """Accumulate gradients in each process, without averaging them yet.

    FSDP still reduces every micro-batch, as it would have to hold whole gradients otherwise.
    """
    with ExitStack() as stack:
        for module in _ddp_modules(model):
            stack.enter_context(module.no_sync())
        yield


def mean_over_processes(model: nn.Module, loss: Tensor, size: int | None) -> Tensor:
    """Return the mean of a scalar loss over the processes that train a model.

    Unlike the sums of a sweep it is waited for. A loss counts as often as it has samples, `size`,
    where that is known.
    """
    if not has_process_group():
        return loss
    weight = 1.0 if size is None else float(size)
    sums = torch.stack((loss * weight, torch.full_like(loss, weight))).double()
    dist.all_reduce(sums, group=group_of(model))
    return (sums[0] / sums[1]).to(loss.dtype)


def group_of(model: nn.Module) -> dist.ProcessGroup:
    """Return the process group in which a model is trained; the default one if it has none."""
    groups: list[dist.ProcessGroup] = [module.process_group for module in _ddp_modules(model)]
    meshes = _meshes(model)
    if len(meshes) == 1 and meshes[0].ndim == 1:
        groups.append(meshes[0].get_group())
    return groups[0] if groups else _default_group()


def groups_in_use(model: nn.Module) -> list[dist.ProcessGroup]:
    """Return the process groups in whose collectives the model may wait."""
    synced = (m for m in model.modules() if isinstance(m, nn.SyncBatchNorm))
    groups = [
        *(module.process_group for module in _ddp_modules(model)),
        *(module.process_group or _default_group() for module in synced),
        *(mesh.get_group(dim) for mesh in _meshes(model) for dim in range(mesh.ndim)),
    ]
    return list(dict.fromkeys(groups))


def copies_of_a_batch(model: nn.Module, processes: int) -> int:
    """Return how many of the processes see the same batch: several under tensor parallelism."""
    if _ddp_modules(model):
        return 1
    sizes: list[int] = [
        group.mesh_info.mesh.size()
        for module in fsdp_modules(model)
        for group in _fsdp_param_groups(module)
    ]
    if sizes:  # experts may be sharded over fewer processes than see different batches
        return max(1, processes // max(sizes))
    return max((int(mesh.size()) for mesh in _meshes(model)), default=1)


def _fsdp_param_groups(module: Any) -> list[Any]:
    state = module._get_fsdp_state()
    if hasattr(state, "_fsdp_param_groups"):  # newer versions of torch allow several
        return list(state._fsdp_param_groups)
    return [] if state._fsdp_param_group is None else [state._fsdp_param_group]


def _default_group() -> dist.ProcessGroup:
    group: dist.ProcessGroup = dist.group.WORLD  # type: ignore[assignment]  # there is one
    return group


def _meshes(model: nn.Module) -> list[Any]:
    meshes = (getattr(parameter, "device_mesh", None) for parameter in model.parameters())
    return list(dict.fromkeys(mesh for mesh in meshes if mesh is not None))


def _ddp_modules(model: nn.Module) -> list[DistributedDataParallel]:
    return [module for module in model.modules() if isinstance(module, DistributedDataParallel)]
