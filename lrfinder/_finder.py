"""`LRFinder`: checks its arguments, runs sweeps and trials, and returns what they recorded."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer

from lrfinder._distributed.accelerate import preparation_of
from lrfinder._distributed.rank import is_rank_zero
from lrfinder._distributed.sharding import compute_device, is_sharded
from lrfinder._errors import InvalidInputError, NoResultError
from lrfinder._recommend.length import length_law
from lrfinder._recommend.recommendation import (
    SMALLEST_BUDGET,
    Recommendation,
    recommend,
    sweep_steps,
)
from lrfinder._recommend.trial import VAL_EVERY, VAL_PARTS
from lrfinder._result import RangeTestResult
from lrfinder._snapshot.references import attributes
from lrfinder._snapshot.snapshot import Snapshot
from lrfinder._snapshot.storage import Where
from lrfinder._sweep.batches import count_batches
from lrfinder._sweep.checks import (
    check_autocast,
    check_callables,
    check_clip_grad,
    check_exclusive,
    check_loaders,
    check_model_and_optimizer,
    check_preserve,
    check_scaler,
    check_starts_again,
    checked_device,
    optional_whole_number,
    reject_keywords,
    whole_number,
)
from lrfinder._sweep.communicator import Communicator, OnStep, communicator_for, report_errors
from lrfinder._sweep.grid import Bound, Grid, StepMode, checked_num_iter, constant_grid, group_grid
from lrfinder._sweep.loop import Record, SweepRunner
from lrfinder._sweep.loss import Autocast, Criterion, LossFunction, TrainingStep
from lrfinder._sweep.open_range import LRRange, resolve_range, sweep_from_flat
from lrfinder._sweep.progress import Progress
from lrfinder._sweep.smoothing import checked_smooth_f
from lrfinder._sweep.step import ClipGrad, Step, make_step
from lrfinder._sweep.stopping import DivergenceStop, StopCondition, check_diverge_th
from lrfinder._sweep.update_step import UpdateStep, allow_steps_of
from lrfinder._sweep.validation import Validation
from lrfinder.suggestion import Suggestion, analyze_descent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The defaults of torch-lr-finder.
SMOOTH_F = 0.05
DIVERGE_TH = 5.0


class LRFinder:
    """Finds a learning rate for a model and an optimizer, and leaves both unchanged.

    A range test trains the model for about a hundred steps while the learning rate rises from far
    too low to far too high, and records the loss of each step. A good rate lies where the loss
    falls. `range_test` records the curve, `suggest` reads a rate off it, and `recommend` also tries
    rates in short runs, which is more reliable. Afterwards the weights, the optimizer, the
    random number generators and all else are restored exactly.

    Args:
        model: the network to train.
        optimizer: any optimizer that holds parameters of the model. A scheduler attached to it is
            neither used nor changed.
        criterion: `criterion(outputs, targets) -> loss` for batches of `(inputs..., targets)`.
            Leave it out if batches are dicts and the model returns `.loss`, or if you pass
            `training_step`. Together with `update_step` it only computes the validation loss.
        device: where the model is during the range test; None for where it is now.
        training_step: `f(model, batch) -> loss` for batches of any other form. The loss is a scalar
            tensor, or a dict or object with `loss`; other scalars in the dict are recorded as
            metrics. It must not change the batch, because some batches are kept and used again.
            Together with `update_step` it only computes the validation loss.
        update_step: `f(model, batch) -> loss` that also does backward and every optimizer step, for
            several optimizers, for example. The rate of `optimizer` is swept; list every other
            optimizer that it steps in `preserve`. It may accumulate over several calls: those up to
            an optimizer step count as one step.
        autocast: a context such as `torch.autocast("cuda", torch.bfloat16)`, or a function that
            returns one, entered around each forward pass. With `update_step` it is entered for the
            validation only.
        scaler: the gradient scaler of fp16 training.
        clip_grad: largest total norm of the gradients, > 0, or a function of the list of
            parameters that is called between backward and step, such as
            `functools.partial(torch.nn.utils.clip_grad_value_, clip_value=0.5)`.
        snapshot: where copies of the state are kept: `"memory"` (host memory), `"disk"`, or a
            `pathlib.Path` of a directory.
        preserve: list of further objects to restore: other optimizers, an EMA, metrics,
            schedulers.

    Raises:
        InvalidInputError: if the model has no trainable parameter, the optimizer holds none of
            them, or an argument does not work, alone or with another.

    Example:
        >>> data = [(torch.ones(4, 2), torch.zeros(4, 1))]
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> finder = LRFinder(model, optimizer, nn.MSELoss())
        >>> result = finder.range_test(data, end_lr=1.0, num_iter=50, progress=False)
        >>> len(result), result.lr[0], result.lr[-1]
        (50, 1e-07, 1.0)
    """

    @reject_keywords(
        memory_cache='pass snapshot="memory" or snapshot="disk"',
        cache_dir="pass snapshot=pathlib.Path(directory)",
        amp_backend="pass autocast=torch.autocast(...) and scaler=torch.amp.GradScaler()",
        amp_config="pass autocast=torch.autocast(...) with these settings",
        grad_scaler="pass the gradient scaler as scaler",
    )
    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        criterion: Criterion | None = None,
        device: torch.device | str | None = None,
        *,
        training_step: TrainingStep | None = None,
        update_step: TrainingStep | None = None,
        autocast: Autocast | None = None,
        scaler: torch.amp.GradScaler | None = None,
        clip_grad: ClipGrad | None = None,
        snapshot: Where = "memory",
        preserve: Sequence[Any] = (),
    ) -> None:
        if not isinstance(optimizer, Optimizer):  # one of torch inside fastai's wrapper
            inner = getattr(optimizer, "opt", None)
            optimizer = inner if isinstance(inner, Optimizer) else optimizer
        with report_errors(model):
            check_model_and_optimizer(model, optimizer)
            check_callables(criterion, training_step=training_step, update_step=update_step)
            check_autocast(autocast)
            check_scaler(scaler)
            check_preserve(preserve)
            if training_step is not None:
                check_exclusive("training_step", criterion=criterion)
            if update_step is not None:
                check_exclusive("update_step", clip_grad=clip_grad, scaler=scaler)
            check_clip_grad(clip_grad)
            self.device = compute_device(model) if device is None else checked_device(device)
        self.model = model
        self.optimizer = optimizer
        self.criterion = criterion
        self._training_step = training_step
        self._update_step = update_step
        self._autocast = autocast
        self._prepared = preparation_of(optimizer, has_own_step=update_step is not None)
        self._scaler = self._prepared.scaler if scaler is None else scaler
        self._clip_grad = clip_grad
        self._snapshot_place = snapshot
        self._preserve = tuple(preserve)
        self._result: RangeTestResult | None = None
        self._answer: Suggestion | None = None  # the last one, which `plot` marks

    @reject_keywords(non_blocking_transfer="leave it out; copies to a GPU never block")
    def range_test(
        self,
        train_loader: Iterable[Any],
        val_loader: Iterable[Any] | None = None,
        *,
        start_lr: Bound | None = 1e-7,
        end_lr: Bound | None = 10.0,
        num_iter: int = 100,
        steps_per_decade: float | None = None,
        step_mode: StepMode = "exp",
        smooth_f: float = SMOOTH_F,
        diverge_th: float = DIVERGE_TH,
        accumulation_steps: int = 1,
        progress: bool = True,
        repeats: int = 1,
        groups: Sequence[int] | None = None,
        val_batches: int | None = None,
        val_every: int = 1,
        cached_batches: int | None = None,
        on_step: OnStep | None = None,
    ) -> RangeTestResult:
        """Sweep the learning rate, record the losses, and restore everything.

        Args:
            train_loader: any iterable of batches, iterated again when it ends. Each batch must own
                its memory: a loader that refills one buffer may give wrong losses.
            val_loader: for a validation loss beside the training loss; None for none.
            start_lr: first learning rate, > 0, or one for each swept parameter group; None for one
                so low that the curve begins flat.
            end_lr: last learning rate, > `start_lr`, or one for each swept parameter group; None
                to continue until the loss diverges, at most to 1e3.
            num_iter: optimizer steps if both bounds are given, >= 2.
            steps_per_decade: pace instead of `num_iter`, > 0; None for 12.5 with an open bound.
            step_mode: `"exp"` or `"linear"`.
            smooth_f: weight of a new loss in the smoothed loss, in [0, 1); 0.05 by default, as in
                torch-lr-finder, and 0 for no smoothing.
            diverge_th: > 1, 5 by default; stop when the smoothed loss has risen above its best
                value by `diverge_th - 1` times its fall.
            accumulation_steps: micro-batches per optimizer step, >= 1. If Accelerate prepared the
                optimizer, 1 means as many as Accelerate accumulates.
            progress: show a progress bar.
            repeats: sweeps from the same state, >= 1, with other orders of the data if generators
                draw them; the result holds their mean and each of them.
            groups: indices of the parameter groups to sweep; the others keep their rate.
            val_batches: batches of `val_loader` that are kept and measured each time, >= 1; None
                for as many samples of its first batch as a training step has.
            val_every: optimizer steps from one validation to the next, >= 1.
            cached_batches: keep this many training batches and repeat them, for a curve without
                the noise of the data; None for all.
            on_step: called as `on_step(lr, loss, step)` for each recorded step, a few steps late on
                an accelerator; the sweep ends when it returns a true value. With `start_lr=None`
                the accepted sweep is run once more to call it.

        Returns:
            The frozen result, which `suggest`, `plot` and `history` read as well.

        Raises:
            InvalidInputError: if an argument cannot work.
            SnapshotError: if the state cannot be stored; nothing was changed.
            SweepError: if another process of the group failed.
            Exception: any error of the model or the loader, unchanged, with the state restored.

        References:
            Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
            section 3.3.
        """
        with report_errors(self.model):
            check_loaders(train_loader, val_loader)
            num_iter = checked_num_iter(num_iter)
            check_callables(None, on_step=on_step)
            smooth_f = checked_smooth_f(smooth_f)
            check_diverge_th(diverge_th)
            accumulation_steps = self._micro_batches(accumulation_steps)
            val_every = whole_number("val_every", val_every)
            val_batches = optional_whole_number("val_batches", val_batches)
            cached_batches = optional_whole_number("cached_batches", cached_batches)
            repeats = whole_number("repeats", repeats)
            span = resolve_range(start_lr, end_lr, num_iter, steps_per_decade, step_mode)
            group_grid(self.optimizer, *span, step_mode, groups)  # raises if a rate is impossible
            loss = self._loss_function()
            step = self._make_step(loss, accumulation_steps)
        steps = span.num_iter * repeats
        with (
            communicator_for(self.model, accumulation_steps) as communicator,
            self._new_snapshot(train_loader, val_loader) as snapshot,
            allow_steps_of((self.optimizer, *self._preserve), snapshot.is_captured),
            Progress(steps, shown=progress and communicator.is_main_process) as bar,
        ):
            self._warn_of_uncaptured(snapshot, on_step)
            settings = f"smooth_f={smooth_f:g}, diverge_th={diverge_th:g}, repeats={repeats}"
            runner = self._runner(
                step, train_loader, snapshot, communicator, bar, settings, cached_batches
            )
            validation = self._validation(snapshot, loss, val_loader, val_batches)

            def sweep(span: LRRange, on_step: OnStep | None) -> tuple[Grid, Record]:
                grid = group_grid(self.optimizer, *span, step_mode, groups)
                stop = DivergenceStop(smooth_f, diverge_th)
                return grid, runner.run(
                    grid, stop, validation=validation, val_every=val_every, on_step=on_step
                )

            def result_of(grid: Grid, *records: Record) -> RangeTestResult:
                return RangeTestResult._from_records(
                    records, grid, step_mode, smooth_f, maximize=self._maximizes
                )

            def begins_flat(grid: Grid, record: Record) -> bool:
                # The validation loss may have been measured too seldom.
                return analyze_descent(result_of(grid, record).curve("loss")).begins_flat

            if start_lr is None:
                span, grid, first = sweep_from_flat(runner, span, sweep, begins_flat, on_step)
            else:
                grid, first = sweep(span, on_step)
            records = [first]
            for _ in range(repeats - 1):
                snapshot.restore(rng=False)  # the next sweep draws another order of the data
                records.append(sweep(span, on_step)[1])
            self._result, self._answer = result_of(grid, *records), None
        return self._result

    def recommend(
        self,
        train_loader: Iterable[Any],
        val_loader: Iterable[Any] | None = None,
        *,
        budget: int = 300,
        total_steps: int | None = None,
        start_lr: Bound | None = 1e-7,
        end_lr: Bound | None = 10.0,
        accumulation_steps: int = 1,
        progress: bool = True,
        groups: Sequence[int] | None = None,
        val_batches: int | None = None,
    ) -> Recommendation:
        """Sweep, then train for a short time at promising rates, and return the best one.

        It takes at most `budget` optimizer steps, and compares rates by the loss they lead to
        instead of by the look of a curve. Everything is restored, as by `range_test`.

        Args:
            train_loader: any iterable of batches that can be iterated again. Every trial sees the
                same batches in the same order if the loader draws its order from the generators of
                torch, numpy or Python, or from its own `generator`.
            val_loader: compares the trials by their validation loss, which also shows overfitting;
                None for the training loss.
            budget: optimizer steps for the sweep and the trials together, >= 120. A larger one
                makes the trials longer, until they are as long as the training.
            total_steps: optimizer steps of the planned training, > 0. A longer run usually gets a
                lower rate, but beyond 100 times the length of a trial it is not lowered further.
                None for four times the length of a trial.
            start_lr: lowest rate that is tried, as for `range_test`; None for 1e-7.
            end_lr: highest rate that is tried, as for `range_test`; None for 1e3.
            accumulation_steps: as for `range_test`.
            progress: show a progress bar.
            groups: indices of the parameter groups to sweep; the others keep their rate.
            val_batches: how many batches of `val_loader` are kept, >= 1; None for eight, each at
                most as large as a training step. The first batches are taken, so pass a loader that
                shuffles. After every second step of a trial one eighth of them, but at least one
                batch, is measured, in turn; this is not counted in the budget.

        Returns:
            A suggestion with an interval and every trial: `.lr` for a constant or decaying rate,
            `.min_lr` and `.max_lr` for cyclic schedules. Its `plot` draws the sweep and the trials.

        Raises:
            NoSuggestionError: if no trial lowers the loss by more than its noise (not checked if
                groups that are not swept train too), or if no trial has a finite loss, or the sweep
                fewer than two.
            InvalidInputError: if an argument cannot work.
            SnapshotError: if the state cannot be stored; nothing was changed.
            SweepError: if another process of the group failed.
            Exception: any error of the model or the loader, unchanged, with the state restored.
        """
        with report_errors(self.model):
            check_loaders(train_loader, val_loader)
            check_starts_again(train_loader)
            budget = whole_number(
                "budget", budget, at_least=SMALLEST_BUDGET, advice="; 300 is a good start"
            )
            num_iter = sweep_steps(budget)
            total_steps = optional_whole_number("total_steps", total_steps)
            val_batches = optional_whole_number("val_batches", val_batches)
            accumulation_steps = self._micro_batches(accumulation_steps)
            span = resolve_range(start_lr, end_lr, num_iter, None, "exp")
            # An open bound comes with a number of steps of its own; here the budget has decided it.
            span = span._replace(num_iter=num_iter)
            grid = group_grid(self.optimizer, *span, "exp", groups)
            loss = self._loss_function()
            step = self._make_step(loss, accumulation_steps)
        with (
            communicator_for(self.model, accumulation_steps) as communicator,
            self._new_snapshot(train_loader, val_loader) as snapshot,
            allow_steps_of((self.optimizer, *self._preserve), snapshot.is_captured),
            Progress(
                budget, "sweep and trials", shown=progress and communicator.is_main_process
            ) as bar,
        ):
            self._warn_of_uncaptured(snapshot)
            settings = f"budget={budget}, total_steps={total_steps}"
            runner = self._runner(step, train_loader, snapshot, communicator, bar, settings)
            validation = self._validation(snapshot, loss, val_loader, val_batches, VAL_PARTS)
            # Validated once: what cannot be validated fails in the first step, not after the sweep.
            stop = DivergenceStop(SMOOTH_F, DIVERGE_TH)
            record = runner.run(grid, stop, validation=validation, val_every=num_iter)
            record = replace(record, val_steps=[], val_losses=[])
            result = RangeTestResult._from_records(
                [record], grid, "exp", SMOOTH_F, maximize=self._maximizes
            )

            def train(lr: float, steps: int, stop: StopCondition, *, validate: bool) -> Record:
                snapshot.restore()
                record = runner.run(
                    constant_grid(lr, result.lrs_at(lr), steps),
                    stop,
                    validation=validation if validate else None,
                    val_every=VAL_EVERY,
                )
                return record.negated() if self._maximizes else record

            self._result, self._answer = result, None
            self._answer = recommend(
                result,
                train,
                budget=budget - len(result),
                lr_range=(float(grid.lr[0]), float(grid.lr[-1])),
                total_steps=total_steps,
                epoch_steps=count_batches(train_loader) / accumulation_steps,
                law=length_law(self.optimizer),
                validated=validation is not None,
                others_train=self._others_train(result),
            )
        return self._answer

    def suggest(
        self, method: str = "steepest", *, on: str | None = None, maximize: bool = False
    ) -> Suggestion:
        """Return the learning rate that a rule reads off the last range test.

        Args:
            method: `"steepest"`, `"midpoint"`, `"minimum"`, or the name of a rule that you added to
                `lrfinder.suggestion.METHODS`.
            on: `"loss"`, `"val_loss"` or the name of a metric; None for the validation loss if
                there is one, else the training loss.
            maximize: set it if larger is better, as for an accuracy. For the losses of an optimizer
                with `maximize=True` it is not needed.

        Raises:
            NoSuggestionError: if the curve shows no rate; the message says what to change.
            InvalidInputError: if the rule or the quantity does not exist.
            NoResultError: before any range test.
        """
        self._answer = self.result.suggest(method, on=on, maximize=maximize)
        return self._answer

    @reject_keywords(suggest_lr="the suggestion is marked in any case; suggest() returns it")
    def plot(
        self,
        skip_start: int = 0,
        skip_end: int = 0,
        log_lr: bool | None = None,
        show_lr: Suggestion | float | None = None,
        ax: Axes | None = None,
        *,
        suggestion: Suggestion | None = None,
    ) -> Axes:
        """Draw the last range test with the last answer that was asked for; see `lrfinder.plot`.

        Raises:
            NoResultError: before any range test.
        """
        marked = suggestion or self._answer
        return self.result.plot(skip_start, skip_end, log_lr, show_lr, ax, suggestion=marked)

    @property
    def result(self) -> RangeTestResult:
        """The last range test; raises `NoResultError` before the first."""
        if self._result is None:
            raise NoResultError("there is no range test yet; call range_test(loader) first")
        return self._result

    @property
    def history(self) -> dict[str, list[float]]:
        """The rates `lr` and the smoothed `loss` of the curve; empty before the first test."""
        return self._result.history if self._result is not None else {"lr": [], "loss": []}

    def reset(self) -> None:
        """Do nothing: `range_test` has restored everything before it returned.

        It is here for scripts that were written for torch-lr-finder.
        """

    def _micro_batches(self, accumulation_steps: int) -> int:
        """Return the micro-batches of a step: 1 means as many as Accelerate accumulates."""
        accumulation_steps = whole_number("accumulation_steps", accumulation_steps)
        if accumulation_steps > 1 or self._update_step is not None:
            return accumulation_steps
        return self._prepared.accumulation_steps

    def _make_step(self, loss: LossFunction, accumulation_steps: int) -> Step:
        if self._update_step is not None:
            if accumulation_steps > 1:
                raise InvalidInputError(
                    f"update_step replaces accumulation_steps, got {accumulation_steps}; "
                    "accumulate in update_step, or pass training_step, which only computes the loss"
                )
            return UpdateStep(self._update_step, self.model, self.device, self.optimizer)
        return make_step(
            loss,
            self._prepared.optimizer,
            accumulation_steps=accumulation_steps,
            clip_grad=self._clip_grad,
            scaler=self._scaler,
        )

    def _new_snapshot(self, *loaders: Iterable[Any] | None) -> Snapshot:
        criterion: Any = self.criterion
        if not isinstance(criterion, nn.Module):
            criterion = {} if inspect.isroutine(criterion) else attributes(criterion)
        scaler = () if self._scaler is None else (self._scaler,)
        return Snapshot(
            self.model,
            self.optimizer,
            criterion,
            *scaler,
            *self._preserve,
            loaders=loaders,
            where=self._snapshot_place,
        )

    def _loss_function(self) -> LossFunction:
        return LossFunction(
            self.model, self.criterion, self._training_step, self.device, self._autocast
        )

    def _validation(
        self,
        snapshot: Snapshot,
        loss: LossFunction,
        loader: Iterable[Any] | None,
        batches: int | None,
        parts: int = 1,
    ) -> Validation | None:
        if loader is None:
            return None
        validation = Validation(self.model, self.optimizer, loss, loader, batches, parts)
        # Reading a loader draws from the generators of the training, or from one that both share.
        snapshot.restore()
        return validation

    def _others_train(self, result: RangeTestResult) -> bool:
        """Return whether a group that was not swept trains at a rate of its own."""
        groups = zip(self.optimizer.param_groups, result.group_lrs, strict=True)
        return len(result) > 0 and any(
            lrs[0] == lrs[-1] > 0 and any(p.requires_grad for p in group["params"])
            for group, lrs in groups
        )

    def _warn_of_uncaptured(self, snapshot: Snapshot, on_step: OnStep | None = None) -> None:
        if is_rank_zero():
            snapshot.warn_of_uncaptured(
                criterion=self.criterion,
                training_step=self._training_step,
                update_step=self._update_step,
                clip_grad=self._clip_grad,
                on_step=on_step,
            )

    def _runner(
        self,
        step: Step,
        loader: Iterable[Any],
        snapshot: Snapshot,
        communicator: Communicator,
        bar: Progress,
        settings: str,
        cached_batches: int | None = None,
    ) -> SweepRunner:
        return SweepRunner(
            snapshot,
            self._prepare_model,
            self.optimizer,
            step,
            loader,
            communicator,
            bar,
            cached_batches,
            self._maximizes,
            settings,
        )

    @property
    def _maximizes(self) -> bool:
        return all(group.get("maximize", False) for group in self.optimizer.param_groups)

    def _prepare_model(self) -> None:
        if not self.model.training:  # in training mode, parts may be in eval mode on purpose
            self.model.train()
        if callable(train := getattr(self.optimizer, "train", None)):
            train()  # a Schedule-Free optimizer moves the parameters to where they are trained
        if not is_sharded(self.model) and compute_device(self.model) != self.device:
            for part in (self.model, self.criterion):
                if isinstance(part, nn.Module):
                    part.to(self.device)
            # Moves the optimizer's state to where its parameters are now.
            self.optimizer.load_state_dict(self.optimizer.state_dict())
