"""Random number generators: the global ones of torch, numpy and Python, and objects."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from lrfinder._snapshot.containers import Restore

GENERATORS = (
    torch.Generator,
    random.Random,
    np.random.Generator,
    np.random.RandomState,
    np.random.BitGenerator,
)


def capture() -> Restore:
    """Return a call that restores every global generator.

    An accelerator that has not been used yet is left alone: asking for its state would start it.
    """
    calls = [_python(), _numpy(), _torch_cpu(), *_accelerators()]

    def restore() -> None:
        for call in calls:
            call()

    return restore


def capture_generator(generator: Any) -> Restore:
    """Return a call that restores one generator object, of a class in `GENERATORS`."""
    if isinstance(generator, torch.Generator):
        state = generator.get_state().clone()
        return lambda: generator.set_state(state)
    if isinstance(generator, np.random.Generator):
        return capture_generator(generator.bit_generator)
    if isinstance(generator, np.random.BitGenerator):
        numpy_state = generator.state
        return lambda: setattr(generator, "state", numpy_state)
    if isinstance(generator, np.random.RandomState):
        legacy_state = generator.get_state(legacy=False)
        return lambda: generator.set_state(legacy_state)
    if isinstance(generator, random.SystemRandom):
        return lambda: None  # reads the entropy of the system: there is no state
    python_state = generator.getstate()
    return lambda: generator.setstate(python_state)


def _python() -> Restore:
    state = random.getstate()
    return lambda: random.setstate(state)


def _numpy() -> Restore:
    state = np.random.get_state(legacy=False)  # noqa: NPY002 - the global one is what users seed
    return lambda: np.random.set_state(state)  # noqa: NPY002


def _torch_cpu() -> Restore:
    state = torch.get_rng_state()
    return lambda: torch.set_rng_state(state)


def _accelerators() -> Iterator[Restore]:
    for module in (torch.cuda, getattr(torch, "xpu", None)):
        if module is not None and module.is_available() and module.is_initialized():
            yield _devices(module)
    if torch.backends.mps.is_available():
        state = torch.mps.get_rng_state()
        yield lambda: torch.mps.set_rng_state(state)


def _devices(module: Any) -> Restore:
    states = module.get_rng_state_all()
    return lambda: module.set_rng_state_all(states)
