"""The learning rate of a skorch net, before `net.fit(X, y)`.

```python
recommend(net, X, y, set_lr=True)  # or range_test, for a quick look
net.fit(X, y)
```
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch.optim import Optimizer

from lrfinder._errors import missing_extra
from lrfinder._finder import LRFinder
from lrfinder._recommend.recommendation import Recommendation
from lrfinder._result import RangeTestResult
from lrfinder._snapshot.snapshot import preserve_state
from lrfinder._snapshot.storage import Where
from lrfinder._sweep.batches import count_batches
from lrfinder._sweep.checks import check_preserve, reject_keywords
from lrfinder._sweep.param_groups import group_ratios, learning_rates, set_starting_rates
from lrfinder.integrations._kind import check_kind
from lrfinder.integrations._set_lr import check_one_factor, suggest_or_warn
from lrfinder.suggestion import Suggestion

try:
    from sklearn.base import clone  # type: ignore[import-untyped]
    from skorch import NeuralNet
except ImportError as error:
    raise missing_extra("skorch", "skorch") from error

_reject_keywords = reject_keywords(
    accumulation_steps="accumulation is that of the net's train_step"
)
_PASS_THE_NET = "pass the net itself: the step of a pipeline, or the best_estimator_ of a search"
_SET_EACH = "leave it out, and set net.lr and net.optimizer__param_groups from suggestion.lrs"


@_reject_keywords
def range_test(
    net: NeuralNet,
    X: Any,  # noqa: N803 - the name in skorch and scikit-learn
    y: Any = None,
    *,
    set_lr: bool = False,
    preserve: Sequence[Any] = (),
    snapshot: Where = "memory",
    **options: Any,
) -> RangeTestResult:
    """Run a range test as `net.fit(X, y)` would train, and leave the net as it was.

    Each step is the net's `train_step`, with the `on_grad_computed` of its callbacks. All modules
    and optimizers of the net are restored, and what it keeps in attributes as numbers, arrays,
    tensors, and lists and dicts of them.

    Args:
        net: if it is not initialized yet, an initialized copy is tested.
        X: inputs, as for `fit`.
        y: targets, as for `fit`.
        set_lr: scale the net's `lr` and the rates of its `optimizer__param_groups` so that the
            largest is the suggestion; if the net is initialized, set those of its optimizer too.
            The parameter groups must keep their ratios. If there is no suggestion, a warning says
            why and the rate stays.
        preserve: list of further objects to restore.
        snapshot: as for `LRFinder`.
        **options: as for `LRFinder.range_test`; the batches of a `val_loader` go to the net's
            `validation_step`.

    Raises:
        InvalidInputError: if `set_lr` is true and cannot express what `groups` and the bounds ask
            for.
    """
    with _finder(net, X, y, options, preserve, snapshot, set_lr=set_lr) as opened:
        tested, finder, loader = opened
        result = finder.range_test(loader, **options)
    if set_lr and (suggestion := suggest_or_warn(result)) is not None:
        _set_lr(net, tested, suggestion)
    return result


@_reject_keywords
def recommend(
    net: NeuralNet,
    X: Any,  # noqa: N803
    y: Any = None,
    *,
    set_lr: bool = False,
    preserve: Sequence[Any] = (),
    snapshot: Where = "memory",
    **options: Any,
) -> Recommendation:
    """Find the rate to train with by short runs, each as `net.fit(X, y)` would train.

    The net stays as it was.

    Args:
        net: as for `range_test`.
        X: inputs, as for `fit`.
        y: targets, as for `fit`.
        set_lr: as for `range_test`, with the recommended rate.
        preserve: as for `range_test`.
        snapshot: as for `range_test`.
        **options: as for `LRFinder.recommend`; `total_steps` is that of the net's `max_epochs`, and
            the batches of a `val_loader` go to the net's `validation_step`.

    Raises:
        InvalidInputError: as for `range_test`.
        NoSuggestionError: if no rate trains.
    """
    with _finder(net, X, y, options, preserve, snapshot, set_lr=set_lr) as opened:
        tested, finder, loader = opened
        options.setdefault("total_steps", net.max_epochs * count_batches(loader) or None)
        found = finder.recommend(loader, **options)
    if set_lr:
        _set_lr(net, tested, found)
    return found


@contextmanager
def _finder(
    net: NeuralNet,
    X: Any,  # noqa: N803
    y: Any,
    options: dict[str, Any],
    preserve: Sequence[Any],
    where: Where,
    *,
    set_lr: bool,
) -> Iterator[tuple[NeuralNet, LRFinder, Any]]:
    """Yield the net that is tested, its finder and its data; `net` is left as it was."""
    check_kind("net", net, NeuralNet, _PASS_THE_NET)
    check_preserve(preserve)
    with preserve_state():  # a copy draws its weights, and a split its samples
        tested = net if net.initialized_ else clone(net).initialize()
        if set_lr:
            check_one_factor(tested.optimizer_, _planned_rates(tested), options, _SET_EACH)
        data, _ = tested.get_split_datasets(X, y)
        finder = LRFinder(
            tested.module_,
            tested.optimizer_,
            update_step=lambda _, batch: tested.train_step(batch)["loss"],
            training_step=lambda _, batch: tested.validation_step(batch)["loss"],
            snapshot=where,
            preserve=[*_changed_by_steps(tested), *preserve],
        )
        yield tested, finder, tested.get_iterator(data, training=True)


def _changed_by_steps(net: NeuralNet) -> list[Any]:
    """Return what training steps change, besides the module: all is among the net's attributes."""
    attributes = vars(net)
    optimizers = [value for value in attributes.values() if isinstance(value, Optimizer)]
    return [attributes, *optimizers, *(vars(callback) for _, callback in net.callbacks_)]


def _set_lr(net: NeuralNet, tested: NeuralNet, suggestion: Suggestion) -> None:
    """Write a rate to the net's parameters, and to its optimizer if it has one already."""
    factor = suggestion.lr / max(_planned_rates(tested))
    net.lr *= factor
    if hasattr(net, "optimizer__lr"):
        net.optimizer__lr *= factor
    if hasattr(net, "optimizer__param_groups"):
        net.optimizer__param_groups = [
            (pattern, group | {"lr": group["lr"] * factor} if "lr" in group else group)
            for pattern, group in net.optimizer__param_groups
        ]
    suggestion.warn_of_doubt()
    if net.initialized_:
        # `apply` would warn of a scheduler that skorch replaces by a new one.
        set_starting_rates(net.optimizer_, suggestion.lrs)


def _planned_rates(net: NeuralNet) -> list[float]:
    """Return the rates of the parameter groups at which a training of the net begins."""
    named = net.get_all_learnable_params()
    (groups,), options = net.get_params_for_optimizer("optimizer", named)
    rates = [group.get("lr", options["lr"]) for group in groups]
    present = learning_rates(net.optimizer_)
    if len(rates) == len(present):
        return rates
    # The user's `initialize_optimizer` makes other groups.
    return [ratio * max(rates) for ratio in group_ratios(present)]
