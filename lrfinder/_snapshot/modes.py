"""The modes of torch that a context manager sets: gradients on or off, and autocast.

An exception that a signal handler raises just before the context manager exits leaves its mode set.
"""

from __future__ import annotations

import torch

from lrfinder._snapshot.containers import Restore

# Before torch 2.4 each device has functions of its own, and only those of these two always exist.
_DEVICES: tuple[str, ...] = ("cpu", "cuda")
_BY_DEVICE = hasattr(torch, "get_autocast_dtype")
if _BY_DEVICE:
    _DEVICES = tuple(filter(torch.amp.is_autocast_available, ("cpu", "cuda", "xpu", "mps")))


def capture_modes() -> Restore:
    """Return a call that restores the gradient mode and autocast of this thread."""
    grad = torch.is_grad_enabled()
    autocast = [(device, *_autocast(device)) for device in _DEVICES]
    cache, depth = torch.is_autocast_cache_enabled(), _autocast_depth()

    def restore() -> None:
        torch.set_grad_enabled(grad)
        for device, enabled, dtype in autocast:
            if _autocast(device) != (enabled, dtype):
                _set_autocast(device, enabled, dtype)
        torch.set_autocast_cache_enabled(cache)
        left_open = _autocast_depth() - depth
        for _ in range(left_open):
            torch.autocast_decrement_nesting()
        if left_open > 0:
            torch.clear_autocast_cache()  # it holds casts of weights that are no more

    return restore


def _autocast(device: str) -> tuple[bool, torch.dtype]:
    if _BY_DEVICE:
        return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    if device == "cpu":
        return torch.is_autocast_cpu_enabled(), torch.get_autocast_cpu_dtype()
    return torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()


def _set_autocast(device: str, enabled: bool, dtype: torch.dtype) -> None:
    if _BY_DEVICE:
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)
    elif device == "cpu":
        torch.set_autocast_cpu_enabled(enabled)
        torch.set_autocast_cpu_dtype(dtype)
    else:
        torch.set_autocast_enabled(enabled)
        torch.set_autocast_gpu_dtype(dtype)


def _autocast_depth() -> int:
    """Return in how many autocast contexts this thread is; torch tells only by changing it."""
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()
