"""The command line under `torchrun`, and the same on GPUs where there are two of them."""

import os
import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from lrfinder import LRFinder, RangeTestResult
from tests.distributed.helpers import Shard, everything, network, rank, run, same, size

MSE = nn.MSELoss()

TRAINING = """
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

def setup():
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    inputs = torch.randn(256, 6)
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
    model = nn.parallel.DistributedDataParallel(nn.Linear(6, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data))
    return model, optimizer, nn.MSELoss(), loader
"""


def test_the_command_runs_under_torchrun_and_rank_0_alone_prints_and_writes(tmp_path):
    (tmp_path / "train.py").write_text(TRAINING)
    launch = ["torch.distributed.run", "--nproc-per-node", "2", "--local-addr", "127.0.0.1"]
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    command = ["-m", "lrfinder", "run", "train.py:setup", "--start-lr", "1e-4", "--num-iter", "60"]
    ended = subprocess.run(
        [sys.executable, "-m", *launch, *meeting, *command],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("Suggested lr:") == 1
    assert {path.name for path in tmp_path.glob("lr_finder.*")} == {
        "lr_finder.json",
        "lr_finder.png",
    }
    assert RangeTestResult.load(tmp_path / "lr_finder.json").batch_size == 64


def sweep_on_gpus(wrap):
    device = torch.device("cuda", rank())
    torch.cuda.set_device(device)
    if size() > 1:  # the same processes, over another backend
        store = dist.distributed_c10d._get_default_store()
        number, processes = rank(), size()
        dist.destroy_process_group()
        dist.init_process_group(
            "nccl",
            store=dist.PrefixStore("nccl", store),
            rank=number,
            world_size=processes,
            timeout=timedelta(seconds=60),
        )
    model = network().to(device)
    if size() > 1:
        model = DistributedDataParallel(model) if wrap == "ddp" else fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    before = everything(model, optimizer)
    loader = [Shard().whole(step) for step in range(8)]
    part = slice(rank() * 32 // size(), (rank() + 1) * 32 // size())
    loader = [(inputs[part], targets[part]) for inputs, targets in loader]
    result = LRFinder(model, optimizer, MSE).range_test(
        loader, num_iter=20, start_lr=1e-4, end_lr=0.1, progress=False
    )
    return result, same(before, everything(model, optimizer))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_two_gpus_have_the_curve_of_one_and_all_state_back(wrap):
    ((alone, _),) = run(sweep_on_gpus, 1, wrap)
    (first, first_kept), (second, second_kept) = run(sweep_on_gpus, 2, wrap)
    assert first_kept
    assert second_kept
    assert first == second
    np.testing.assert_allclose(first.loss, alone.loss, rtol=1e-3)
