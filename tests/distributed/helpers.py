"""Several processes on this machine, and what they train."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing leaves the machine

# They are imported once, by a server that has started no thread, and each process is its child.
_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload(
    [
        "torch.distributed.fsdp",
        "torch.distributed.tensor.parallel",
        "lrfinder.suggestion",
        "lrfinder._distributed.process_group",
        "torch._dynamo",  # every optimizer imports it at its first step
        "tqdm.auto",
    ]
)


class Raised:
    """An exception that ended a process, as it can be sent to another one."""

    def __init__(self, error: BaseException) -> None:
        self.kind = type(error)
        self.message = str(error)
        self.traceback = "".join(traceback.format_exception(error))

    def __repr__(self) -> str:
        return self.traceback


def run(function: Callable[..., Any], processes: int, *arguments: Any) -> list[Any]:
    """Call a function in several processes of one gloo group; return what each call returns."""
    answers = run_to_any_end(function, processes, *arguments)
    raised = [answer.traceback for answer in answers if isinstance(answer, Raised)]
    assert not raised, "\n".join(raised)
    return answers


def run_to_any_end(
    function: Callable[..., Any],
    processes: int,
    *arguments: Any,
    seconds: float = 60,
    timeout: float = 30,
) -> list[Any]:
    """The same, where some of the calls may raise or be killed.

    Args:
        function: a function of a module.
        processes: how many, each with rank and size in the environment.
        *arguments: passed to it.
        seconds: after which everything is ended and the test has failed.
        timeout: timeout of the process group in seconds.

    Returns:
        For each rank its answer, a `Raised`, or None if it was killed.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    pipes = [_forkserver.Pipe(duplex=False) for _ in range(processes)]
    children = [
        _forkserver.Process(
            target=_child,
            args=(function, arguments, rank, processes, store.port, timeout, pipes[rank][1]),
        )
        for rank in range(processes)
    ]
    for child, (_, answer) in zip(children, pipes, strict=True):
        child.start()
        answer.close()
    try:
        answers = []
        for pipe, _ in pipes:
            answers.append(_receive(pipe, seconds))
            if answers[-1] is None:
                store.add("answers", 1)  # nobody has to wait for that of a killed process
        return answers
    finally:
        for child in children:
            child.join(5)
            child.kill()


def _receive(pipe: Any, seconds: float) -> Any:
    assert pipe.poll(seconds), f"a process has not answered for {seconds} s"
    try:
        return pickle.loads(pipe.recv_bytes())
    except EOFError:
        return None


def _child(function, arguments, rank, processes, port, timeout, answer) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    if processes > 1:
        dist.init_process_group(
            "gloo",
            store=store,
            rank=rank,
            world_size=processes,
            timeout=timedelta(seconds=timeout),
        )
    try:
        returned = function(*arguments)
    except BaseException as error:
        returned = Raised(error)
    answer.send_bytes(pickle.dumps(returned))
    # Connections stay open until every process has answered: the end of one must not be what
    # sets another free.
    store.add("answers", 1)
    end = time.monotonic() + 4
    while store.add("answers", 0) < processes and time.monotonic() < end:
        time.sleep(0.02)
    os._exit(0)


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


class Shard:
    """A loader that gives this process its share of each of `steps` global batches.

    Args:
        steps: batches in an epoch.
        samples: of the global batch, divisible by the number of processes.
        shares: how the samples are dealt out, one number per rank; None for equally.
    """

    def __init__(self, steps: int = 8, samples: int = 32, shares: list[int] | None = None) -> None:
        self.steps = steps
        self.samples = samples
        self.shares = shares or [samples // size()] * size()

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        begin = sum(self.shares[: rank()])
        for step in range(self.steps):
            inputs, targets = self.whole(step)
            part = slice(begin, begin + self.shares[rank()])
            yield inputs[part], targets[part]

    def whole(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(self.samples, 6, generator=generator)
        return inputs, inputs.sum(1, keepdim=True)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))


def in_parallel(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model) if dist.is_initialized() else model


def trained(model: nn.Module, steps: int = 3) -> torch.optim.Optimizer:
    """Return an optimizer that has taken some steps, so that there is state to lose."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    train(model, optimizer, steps)
    return optimizer


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 4) -> None:
    for _, (inputs, targets) in zip(range(steps), Shard(), strict=False):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    """Return a copy of all state of this process: values, gradients, moments, flags, randomness."""
    parameters = list(model.parameters())
    return [
        [_local(parameter.detach()).clone() for parameter in parameters],
        [None if p.grad is None else _local(p.grad).clone() for p in parameters],
        [_local(buffer).clone() for buffer in model.buffers()],
        [_local(parameter.detach()).data_ptr() for parameter in parameters],
        [id(parameter) for parameter in parameters],
        [module.training for module in model.modules()],
        [
            {key: _local(value).clone() for key, value in optimizer.state[parameter].items()}
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter in optimizer.state
        ],
        [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups],
        torch.get_rng_state(),
        random.getstate(),
        np.random.get_state()[1].copy(),  # noqa: NPY002 - the one that users seed
    ]


def same(one: Any, other: Any) -> bool:
    """Return whether two nested structures are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def _local(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
