"""The range test in a group of NCCL: of one process, and of two where there are two devices.

A process that is alone in its group exchanges nothing, unless it is told to: then every collective
goes over NCCL, to itself.
"""

import json
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lrfinder import LRFinder
from lrfinder._distributed.process_group import ProcessGroupCommunicator
from tests.gpu.helpers import SWEEP, state

# What a finder asks for the processes that train together, and what it is told here.
EXCHANGING = patch("lrfinder._finder.communicator_for", ProcessGroupCommunicator)


def sweep(rank, processes, wrap, exchanging, folder):
    """Write what one process records, and whether its state came back."""
    torch.cuda.set_device(rank)
    store = f"file://{folder}/store-{processes}-{wrap}-{exchanging}"
    dist.init_process_group("nccl", init_method=store, rank=rank, world_size=processes)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4)).cuda()
    if wrap == "fsdp":
        from torch.distributed.fsdp import fully_shard

        model = fully_shard(model)
    else:
        model = DistributedDataParallel(model, device_ids=[rank])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    whole = [
        (torch.randn(32, 16, generator=generator), torch.randn(32, 4, generator=generator))
        for _ in range(4)
    ]
    part = slice(rank * 32 // processes, (rank + 1) * 32 // processes)
    loader = [(inputs[part].cuda(), targets[part].cuda()) for inputs, targets in whole]
    before = state(model, optimizer)
    with EXCHANGING if exchanging else nullcontext():
        result = LRFinder(model, optimizer, nn.MSELoss()).range_test(loader, loader, **SWEEP)
    kept = state(model, optimizer) == before
    record = json.dumps({"kept": kept, "loss": result.loss, "val_loss": result.val_loss})
    Path(folder, f"{processes}-{wrap}-{rank}.json").write_text(record, encoding="utf-8")
    dist.destroy_process_group()


def records(processes, wrap, folder, exchanging=False):
    mp.spawn(sweep, (processes, wrap, exchanging, str(folder)), nprocs=processes)
    names = [f"{processes}-{wrap}-{rank}.json" for rank in range(processes)]
    return [json.loads((folder / name).read_text(encoding="utf-8")) for name in names]


@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_one_process_has_the_same_curve_and_keeps_its_state_if_it_exchanges(tmp_path, wrap):
    """A mean over one process is exact: the sizes of the batches are powers of two."""
    (alone,) = records(1, wrap, tmp_path)
    (exchanging,) = records(1, wrap, tmp_path, exchanging=True)
    assert alone["kept"]
    assert len(alone["loss"]) == len(alone["val_loss"]) == SWEEP["num_iter"]
    assert exchanging == alone


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_two_processes_have_the_curve_of_one(tmp_path, wrap):
    (alone,) = records(1, wrap, tmp_path)
    first, second = records(2, wrap, tmp_path)
    assert first["kept"]
    assert second["kept"]
    assert first["loss"] == second["loss"]
    assert first["loss"] == pytest.approx(alone["loss"], rel=1e-3)
