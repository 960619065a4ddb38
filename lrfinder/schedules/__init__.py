"""From a suggestion to a schedule: one short call to a ready `torch.optim.lr_scheduler` object.

```python
scheduler = cosine(optimizer, finder.suggest(), total_steps=1000)
for batch in batches:
    ...
    optimizer.step()
    scheduler.step()  # once per optimizer step
```

| schedule | number of the suggestion | class of torch |
|---|---|---|
| `constant` | `lr`, held | `ConstantLR` |
| `step` | `lr`, at the start | `StepLR` |
| `multistep` | `lr`, at the start | `MultiStepLR` |
| `exponential` | `lr`, at the start | `ExponentialLR` |
| `multiplicative` | `lr`, at the start | `MultiplicativeLR` |
| `lambda_` | `lr`, where the factor is 1 | `LambdaLR` |
| `cosine` | `lr`, at the start | `CosineAnnealingLR` |
| `cosine_warm_restarts` | `lr`, at each restart | `CosineAnnealingWarmRestarts` |
| `polynomial` | `lr`, on the curve's step 0 | `LambdaLR` |
| `wsd` | `lr`, in the stable phase | `LambdaLR` |
| `reduce_on_plateau` | `lr`, until the first plateau | `ReduceLROnPlateau` |
| `cyclic` | `min_lr` and `max_lr`, the bounds | `CyclicLR` |
| `one_cycle` | `max_lr`, at the peak | `OneCycleLR` |
| `warmup(then=...)` | what the schedule behind it takes | `SequentialLR` |

Three rules hold for all of them:

- A size is a number of optimizer steps. The length of the training is `total_steps`, or `epochs`
  with `steps_per_epoch`. Only `reduce_on_plateau` counts otherwise: in evaluations.
- Parameter groups keep their ratios at every step, and a group at rate 0 stays there. A plain
  number instead of a suggestion is the rate of the largest group; the ratios are those of the
  optimizer's present rates. A floor `min_lr` is the largest group's too.
- An earlier scheduler's `initial_lr` does not count, and a call that fails leaves the optimizer
  as it was.

To resume, build the same optimizer and the same schedule, then load the `state_dict` of both:
building a schedule sets the rates to those of step 0.

`rates` and `plot_schedule` show what a schedule will do, on a stand-in for the optimizer.
"""

from lrfinder.schedules._constant import constant
from lrfinder.schedules._cosine import cosine
from lrfinder.schedules._cosine_warm_restarts import cosine_warm_restarts
from lrfinder.schedules._cyclic import cyclic
from lrfinder.schedules._exponential import exponential
from lrfinder.schedules._lambda import lambda_
from lrfinder.schedules._multiplicative import multiplicative
from lrfinder.schedules._multistep import multistep
from lrfinder.schedules._one_cycle import one_cycle
from lrfinder.schedules._plateau import reduce_on_plateau
from lrfinder.schedules._plot import plot_schedule
from lrfinder.schedules._polynomial import polynomial
from lrfinder.schedules._simulate import rates
from lrfinder.schedules._step import step
from lrfinder.schedules._warmup import warmup
from lrfinder.schedules._wsd import wsd

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
