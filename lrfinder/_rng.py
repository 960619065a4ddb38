"""Random number generators: the global ones of torch, numpy and Python, and single objects."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)


def capture() -> Callable[[], object]:
    """Return a call that puts every global generator back as it is now.

    An accelerator that has not been used yet is left alone: to ask it for its state would start it.
    """
    calls = [_python(), _numpy(), _torch_cpu(), *_accelerator()]

    def put_back() -> None:
        for call in calls:
            call()

    return put_back


def capture_generator(generator: Any) -> Callable[[], object]:
    """Return a call that puts one generator object back as it is now."""
    if isinstance(generator, torch.Generator):
        state = generator.get_state().clone()
        return lambda: generator.set_state(state)
    if isinstance(generator, np.random.Generator):
        bits, numpy_state = generator.bit_generator, generator.bit_generator.state
        return lambda: setattr(bits, "state", numpy_state)
    if isinstance(generator, np.random.RandomState):
        legacy_state = generator.get_state()
        return lambda: generator.set_state(legacy_state)
    python_state = generator.getstate()
    return lambda: generator.setstate(python_state)


def _python() -> Callable[[], object]:
    state = random.getstate()
    return lambda: random.setstate(state)


def _numpy() -> Callable[[], object]:
    state = np.random.get_state()  # noqa: NPY002 - the global generator is what users seed
    return lambda: np.random.set_state(state)  # noqa: NPY002


def _torch_cpu() -> Callable[[], object]:
    state = torch.get_rng_state()
    return lambda: torch.set_rng_state(state)


def _accelerator() -> list[Callable[[], object]]:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return [_devices(torch.cuda)]
    if hasattr(torch, "xpu") and torch.xpu.is_available() and torch.xpu.is_initialized():
        return [_devices(torch.xpu)]
    if torch.backends.mps.is_available():
        state = torch.mps.get_rng_state()
        return [lambda: torch.mps.set_rng_state(state)]
    return []


def _devices(module: Any) -> Callable[[], object]:
    states = module.get_rng_state_all()
    return lambda: module.set_rng_state_all(states)
