"""Schedules that multiply the rate by a factor: fixed, computed by the user, or after a metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    MultiplicativeLR,
    MultiStepLR,
    ReduceLROnPlateau,
    StepLR,
)

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import whole_number
from lrfinder.schedules._starting_rates import (
    group_rates,
    positive,
    real_number,
    relative_floor,
    starting_at,
)
from lrfinder.suggestion import Suggestion

Factor = Callable[[int], float]


def constant(optimizer: Optimizer, lr: Suggestion | float) -> ConstantLR:
    """Hold the rate of each parameter group at `lr`.

    Args:
        optimizer: its rates are set.
        lr: a suggestion (its `lr` is used), or the rate of the largest group, > 0.

    Raises:
        InvalidInputError: if the rate is not > 0, or a suggestion is for other groups.

    References:
        Bengio (2012), Practical recommendations, arXiv:1206.5533, section 3.1.1.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: constant(sgd, 0.5), sgd, 3)
        [[0.5, 0.5, 0.5]]
    """
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return ConstantLR(optimizer, factor=1.0, total_iters=1)


def step(
    optimizer: Optimizer, lr: Suggestion | float, *, step_size: int, gamma: float = 0.1
) -> StepLR:
    """Multiply the rates by `gamma` every `step_size` steps: `lr * gamma ** (t // step_size)`.

    Args:
        optimizer: its rates are set to those of step 0.
        lr: a suggestion (its `lr` is used), or the first rate of the largest group, > 0.
        step_size: optimizer steps between two drops, not epochs, >= 1.
        gamma: factor of each drop, in (0, 1].

    Raises:
        InvalidInputError: if an argument is out of range.

    References:
        He et al. (2016), Deep residual learning for image recognition, section 3.4.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: step(sgd, 1.0, step_size=2, gamma=0.5), sgd, 4)
        [[1.0, 1.0, 0.5, 0.5]]
    """
    step_size = whole_number("step_size", step_size)
    gamma = positive("gamma", gamma, at_most=1)
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return StepLR(optimizer, step_size, gamma)


def multistep(
    optimizer: Optimizer, lr: Suggestion | float, *, milestones: Sequence[int], gamma: float = 0.1
) -> MultiStepLR:
    """Multiply the rates by `gamma` at each milestone: `lr * gamma ** n` after n of them.

    Args:
        optimizer: its rates are set to those of step 0.
        lr: a suggestion (its `lr` is used), or the first rate of the largest group, > 0.
        milestones: the optimizer steps of the drops, not epochs, each >= 1.
        gamma: factor of each drop, in (0, 1].

    Raises:
        InvalidInputError: if an argument is out of range, or there is no milestone.

    References:
        He et al. (2016), Deep residual learning for image recognition, section 4.2.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: multistep(sgd, 1.0, milestones=[1, 3], gamma=0.5), sgd, 4)
        [[1.0, 0.5, 0.5, 0.25]]
    """
    if not isinstance(milestones, Iterable):
        raise InvalidInputError(
            f"expected milestones to be a list of steps, got {milestones!r}; for one drop pass "
            f"[{milestones!r}]"
        )
    milestones = [whole_number("milestones", milestone) for milestone in milestones]
    if not milestones:
        raise InvalidInputError("expected at least one milestone, got none; use `constant` instead")
    gamma = positive("gamma", gamma, at_most=1)
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return MultiStepLR(optimizer, milestones, gamma)


def exponential(optimizer: Optimizer, lr: Suggestion | float, *, gamma: float) -> ExponentialLR:
    """Multiply the rates by `gamma` at every step: `lr * gamma ** t`.

    Args:
        optimizer: its rates are set to those of step 0.
        lr: a suggestion (its `lr` is used), or the first rate of the largest group, > 0.
        gamma: factor of one step, in (0, 1]; for `g` per epoch pass `g ** (1 / steps_per_epoch)`.

    Raises:
        InvalidInputError: if an argument is out of range.

    References:
        Senior et al. (2013), An empirical study of learning rates, ICASSP, section 2.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: exponential(sgd, 1.0, gamma=0.5), sgd, 4)
        [[1.0, 0.5, 0.25, 0.125]]
    """
    gamma = positive("gamma", gamma, at_most=1)
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return ExponentialLR(optimizer, gamma)


class _MultiplicativeLR(MultiplicativeLR):
    """`MultiplicativeLR` that can follow a warm-up.

    `SequentialLR` asks a scheduler that starts later for the closed form at step 0. torch's class
    has none and would continue from the last rate of the warm-up, which is below the full one.
    """

    def _get_closed_form_lr(self) -> list[float | Tensor]:
        return list(self.base_lrs)


def multiplicative(
    optimizer: Optimizer, lr: Suggestion | float, *, lr_lambda: Factor | list[Factor]
) -> MultiplicativeLR:
    """Multiply the rates at every step: `lr * lr_lambda(1) * ... * lr_lambda(t)`.

    Args:
        optimizer: its rates are set to those of step 0.
        lr: a suggestion (its `lr` is used), or the first rate of the largest group, > 0.
        lr_lambda: called with the optimizer step, >= 1; returns what the rate of the step before
            is multiplied by. One function, or a list with one for each parameter group. torch saves
            the attributes of a callable object in `state_dict`, but nothing of a plain function.

    Raises:
        InvalidInputError: if the rate is not > 0, or a suggestion is for other groups.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: multiplicative(sgd, 1.0, lr_lambda=lambda t: t / (t + 1)), sgd, 2)
        [[1.0, 0.5]]
    """
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return _MultiplicativeLR(optimizer, lr_lambda)


def lambda_(
    optimizer: Optimizer, lr: Suggestion | float, *, lr_lambda: Factor | list[Factor]
) -> LambdaLR:
    """Multiply the first rates by a factor at every step: `lr * lr_lambda(t)`.

    Args:
        optimizer: its rates are set to those of step 0.
        lr: a suggestion (its `lr` is used), or the largest group's rate at a factor of 1, > 0.
        lr_lambda: called with the optimizer step, >= 0; returns what `lr` is multiplied by. One
            function, or a list with one for each parameter group. torch saves the attributes of a
            callable object in `state_dict`, but nothing of a plain function.

    Raises:
        InvalidInputError: if the rate is not > 0, or a suggestion is for other groups.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: lambda_(sgd, 1.0, lr_lambda=lambda t: 1 / (1 + t)), sgd, 2)
        [[1.0, 0.5]]
    """
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return LambdaLR(optimizer, lr_lambda)


def reduce_on_plateau(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.1,
    patience: int = 10,
    cooldown: int = 0,
    min_lr: float = 0.0,
) -> ReduceLROnPlateau:
    """Multiply the rates by `factor` when a metric has stopped improving.

    After n reductions the rate is `max(lr * factor ** n, min_lr)`. Call `scheduler.step(metric)`
    once per evaluation, not once per optimizer step.

    Args:
        optimizer: its rates are set to the first ones.
        lr: a suggestion (its `lr` is used), or the first rate of the largest group, > 0.
        mode: whether a lower ("min") or a higher ("max") metric is better.
        factor: factor of each reduction, in (0, 1).
        patience: evaluations without improvement that are accepted, >= 0.
        cooldown: evaluations after a reduction that do not count towards `patience`, >= 0.
        min_lr: lowest rate of the largest group, in [0, lr]; the other groups keep their ratios.

    Raises:
        InvalidInputError: if an argument is out of range.

    References:
        He et al. (2016), Deep residual learning for image recognition, section 3.4.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: reduce_on_plateau(sgd, 1.0, factor=0.5, patience=1), sgd, 4)
        [[1.0, 1.0, 1.0, 0.5]]
    """
    factor = real_number("factor", factor)
    if not 0 < factor < 1:
        raise InvalidInputError(f"expected factor to be between 0 and 1, got {factor:g}")
    patience = whole_number("patience", patience, at_least=0)
    cooldown = whole_number("cooldown", cooldown, at_least=0)
    lrs = group_rates(optimizer, lr)
    lowest = relative_floor("min_lr", min_lr, lr)
    with starting_at(optimizer, lrs):
        return ReduceLROnPlateau(
            optimizer,
            mode=mode,
            factor=factor,
            patience=patience,
            cooldown=cooldown,
            min_lr=[lowest * rate for rate in lrs],
            eps=0.0,  # torch's 1e-8 would leave a group with a small rate behind the others
        )
