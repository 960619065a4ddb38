"""How the best constant rate falls with the length of training, by the kind of optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch.optim import Optimizer

# Without a planned length, training is taken to be this many times as long as a trial.
_DEFAULT_TIMES = 4.0
# The rate is not lowered further beyond this many times the length of a trial: we checked the laws
# for factors of up to some tens.
_MOST_TIMES = 100.0


class LengthLaw(NamedTuple):
    """Powers of the number of steps with which the best constant rate falls, each in [0, 1].

    Attributes:
        usual: where the gradients of single batches stay noisy.
        interpolating: where the loss goes towards zero on every batch.
    """

    usual: float
    interpolating: float


# The laws, by a part of the name of an optimizer: several libraries ship variants of each.
_LAWS = {
    "Adagrad": LengthLaw(0.0, 0.0),
    **dict.fromkeys(("Muon", "Lion", "SignSGD", "Signum"), LengthLaw(0.75, 0.75)),
}
_LAW = LengthLaw(0.4, 0.2)


def length_law(optimizer: Optimizer) -> LengthLaw:
    """Return how the best constant rate falls with the number of steps.

    - Adagrad divides by the root of the summed squares of its gradients, which grows with the
      number of steps by itself: 0.
    - The steps of Muon, of Lion and of other descent by the sign of the gradient have a length that
      the rate alone decides, as those of normalised gradient descent with momentum: 3/4.
    - Elsewhere 0.4: between the 1/2 of stochastic gradient descent where noise decides and the 0
      where curvature does. From trials of 62 steps to runs of 150 to 1600 our tasks ask for
      0.3 to 0.5 on average. Where the loss goes towards zero, the noise of the gradients goes with
      it, and in theory no lower rate is needed: our tasks of that kind ask for 0.1 to 0.2.

    Args:
        optimizer: only the name of its class is looked at.

    References:
        John Duchi, Elad Hazan and Yoram Singer, "Adaptive Subgradient Methods for Online Learning
        and Stochastic Optimization", JMLR 12 (2011), section 1.3; Ashok Cutkosky and Harsh Mehta,
        "Momentum Improves Normalized SGD", ICML 2020, section 3; Tao Sun et al., "Momentum Ensures
        Convergence of SIGNSGD under Weaker Assumptions", ICML 2023; Arkadi Nemirovski et al.,
        "Robust Stochastic Approximation Approach to Stochastic Programming", SIAM J. Optim. 19
        (2009), section 2.2; Siyuan Ma, Raef Bassily and Mikhail Belkin, "The Power of
        Interpolation", ICML 2018, section 3, for a loss that goes to zero.
    """
    wrapped = getattr(optimizer, "optimizer", optimizer)  # as Accelerate wraps it
    name = type(wrapped).__name__
    return next((law for part, law in _LAWS.items() if part in name), _LAW)


def length_scale(trial_steps: int, total_steps: int | None, exponent: float) -> float:
    """Return what the best rate of a trial is multiplied by for a longer run, in (0, 1].

    Args:
        trial_steps: optimizer steps of a trial, >= 1.
        total_steps: optimizer steps of the training; None for four times a trial.
        exponent: power of the number of steps with which the rate falls, in [0, 1].

    Example:
        >>> length_scale(50, 200, 0.5), length_scale(50, 20, 0.5), length_scale(50, None, 0.5)
        (0.5, 1.0, 0.5)
    """
    times = _DEFAULT_TIMES if total_steps is None else total_steps / trial_steps
    return float(min(max(times, 1.0), _MOST_TIMES) ** -exponent)
