"""Random number generators: the global ones of torch, numpy and Python, and objects."""

from __future__ import annotations

import random
from functools import partial
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
# The objects behind `random.seed`, `np.random.seed` and `torch.manual_seed`.
GLOBAL_GENERATORS = (
    random.random.__self__,  # type: ignore[attr-defined]
    np.random.rand.__self__,  # type: ignore[attr-defined]
    torch.default_generator,
)


def capture() -> Restore:
    """Return a call that restores every global generator.

    An accelerator that has not been used yet is left alone: asking for its state would start it.
    """
    calls = [capture_generator(generator) for generator in GLOBAL_GENERATORS]
    for module in (torch.cuda, getattr(torch, "xpu", None)):
        if module is not None and module.is_available() and module.is_initialized():
            calls += [partial(module.set_rng_state_all, module.get_rng_state_all())]
    if torch.backends.mps.is_available():
        calls.append(partial(torch.mps.set_rng_state, torch.mps.get_rng_state()))

    def restore() -> None:
        for call in calls:
            call()

    return restore


def capture_generator(generator: Any) -> Restore:
    """Return a call that restores one generator object, of a class in `GENERATORS`."""
    if isinstance(generator, torch.Generator):
        return partial(generator.set_state, generator.get_state())
    if isinstance(generator, np.random.Generator):
        return capture_generator(generator.bit_generator)
    if isinstance(generator, np.random.BitGenerator):
        return partial(setattr, generator, "state", generator.state)
    if isinstance(generator, np.random.RandomState):
        return partial(generator.set_state, generator.get_state(legacy=False))
    if isinstance(generator, random.SystemRandom):
        return lambda: None  # reads the entropy of the system: there is no state
    return partial(generator.setstate, generator.getstate())
