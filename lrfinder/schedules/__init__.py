"""From a suggested learning rate to a ready scheduler of `torch.optim.lr_scheduler`.

```python
scheduler = cosine(optimizer, finder.suggest(), total_steps=1000)
for batch in batches:
    ...
    optimizer.step()
    scheduler.step()  # once per optimizer step
```

| schedule | takes from the suggestion | returns |
|---|---|---|
| `constant` | `lr`, held | `ConstantLR` |
| `step`, `multistep` | `lr`, the first rate | `StepLR`, `MultiStepLR` |
| `exponential` | `lr`, the first rate | `ExponentialLR` |
| `multiplicative` | `lr`, the first rate | `MultiplicativeLR` |
| `lambda_` | `lr`, the rate where the factor is 1 | `LambdaLR` |
| `cosine` | `lr`, the first rate | `CosineAnnealingLR` |
| `cosine_warm_restarts` | `lr`, the rate at each restart | `CosineAnnealingWarmRestarts` |
| `polynomial` | `lr`, the rate of the curve at step 0 | `LambdaLR` |
| `wsd` | `lr`, the rate of the stable phase | `LambdaLR` |
| `reduce_on_plateau` | `lr`, held until the first plateau | `ReduceLROnPlateau` |
| `cyclic` | `min_lr` and `max_lr`, the two bounds | `CyclicLR` |
| `one_cycle` | `max_lr`, the peak | `OneCycleLR` |
| `warmup(then=...)` | what the schedule after it takes | `SequentialLR` |

Instead of a suggestion you can pass a number: it stands for the number in the table, so
`cosine(optimizer, s)` is `cosine(optimizer, s.lr)` and `one_cycle(optimizer, s)` is
`one_cycle(optimizer, s.max_lr)`. `suggest` sets `max_lr` to half the rate with the lowest loss of
its sweep, but at least `lr`; `recommend` sets it to three times `lr`, or to less where the loss
goes towards zero. Both set `min_lr` to a quarter of `max_lr`, or to `lr` if that is lower.

What each schedule adds to the class of torch that it returns:

- Each parameter group gets its own rate. The ratios are those of the suggestion or, for a number,
  of the optimizer's current rates; the number is the rate of the largest group. The ratios stay
  the same at every step, and a group at rate 0 stays at 0.
- Wrong arguments raise an error, and a call that raises leaves the optimizer as it was.
- An `initial_lr` that an earlier scheduler left in the optimizer is replaced.

All lengths are in optimizer steps; only `reduce_on_plateau` counts evaluations. Arguments have
torch's names; the length of training is always `total_steps`.

To resume, build the same optimizer and the same schedule, then load the `state_dict` of both.
"""

# Read `_starting_rates.py` first, then any schedule; `_plot.py` shows what a schedule will do. The
# folder may import `suggestion` and what lies below it, and the colours of `_plotting`.

from lrfinder.schedules._cosine import cosine, cosine_warm_restarts
from lrfinder.schedules._cycles import cyclic, one_cycle
from lrfinder.schedules._factors import (
    constant,
    exponential,
    lambda_,
    multiplicative,
    multistep,
    reduce_on_plateau,
    step,
)
from lrfinder.schedules._plot import plot_schedule, rates
from lrfinder.schedules._warmup import polynomial, warmup, wsd

__all__ = [
    "constant",
    "cosine",
    "cosine_warm_restarts",
    "cyclic",
    "exponential",
    "lambda_",
    "multiplicative",
    "multistep",
    "one_cycle",
    "plot_schedule",
    "polynomial",
    "rates",
    "reduce_on_plateau",
    "step",
    "warmup",
    "wsd",
]
