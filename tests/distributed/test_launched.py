"""The command line under `torchrun`."""

import os
import subprocess
import sys

import pytest

from lrfinder import Recommendation

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


@pytest.mark.usefixtures("unmeasured")
def test_the_command_runs_under_torchrun_and_rank_0_alone_prints_and_writes(tmp_path):
    (tmp_path / "train.py").write_text(TRAINING)
    launch = ["torch.distributed.run", "--nproc-per-node", "2", "--local-addr", "127.0.0.1"]
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    command = ["-m", "lrfinder", "run", "train.py:setup", "--start-lr", "1e-4", "--budget", "150"]
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
    assert ended.stdout.count("Recommended lr:") == 1
    assert {path.name for path in tmp_path.glob("lr_finder.*")} == {
        "lr_finder.json",
        "lr_finder.png",
    }
    assert Recommendation.load(tmp_path / "lr_finder.json").batch_size == 64
