"""What a rule answers: a learning rate, where it comes from, and how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from torch.optim import Optimizer

from lrfinder._distributed.rank import is_rank_zero
from lrfinder._errors import InvalidInputError, warn
from lrfinder._sweep.param_groups import overriding_scheduler, set_starting_rates
from lrfinder.suggestion._diagnosis import Confidence, Finding


@dataclass(frozen=True)
class Suggestion:
    """A suggested learning rate with the reason for it.

    Attributes:
        lr: the rate for training at a constant or decaying rate, > 0. With several parameter
            groups it is the rate of the largest swept one.
        method: name of the rule that chose it.
        why: one sentence on what the rule saw.
        min_lr: lower bound for a cyclic schedule, > 0.
        max_lr: upper bound for a cyclic schedule, >= `lr`.
        lrs: `lr` for each parameter group, in the optimizer's order.
        interval: lowest and highest rate that repeated sweeps gave (both `lr` for one sweep), or
            that did about as well in trials.
        confidence: how far to trust it. If it is not high, the findings say why, or the rules read
            different rates off the curve of a range test.
        findings: what is unusual about the curve or, of a `Recommendation`, about the trials, each
            with what to do.
        batch_size: samples in an optimizer step that it holds for, over all micro-batches and
            processes; None if unknown.

    Example:
        >>> import torch
        >>> suggestion = Suggestion(
        ...     lr=0.02, method="steepest", why="the loss falls fastest there", min_lr=0.02,
        ...     max_lr=0.08, lrs=(0.02,))
        >>> print(suggestion)
        lr=2.00e-02 (steepest): the loss falls fastest there
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> suggestion.apply(optimizer)
        >>> optimizer.param_groups[0]["lr"] == float(suggestion)
        True
    """

    lr: float
    method: str
    why: str
    min_lr: float
    max_lr: float
    lrs: tuple[float, ...]
    interval: tuple[float, float] | None = None
    confidence: Confidence | None = None
    findings: tuple[Finding, ...] = ()
    batch_size: int | None = None

    def __float__(self) -> float:
        return self.lr

    def __str__(self) -> str:
        text = f"lr={self.lr:.2e} ({self.method}): {self.why}"
        return f"{text}\n{self._doubt}" if self._doubt else text

    @property
    def _doubt(self) -> str:
        """A sentence on why the confidence is low; empty if it is not."""
        if self.confidence is not Confidence.LOW:
            return ""
        doubts = [str(finding) for finding in self.findings if finding.doubtful]
        return f"low confidence: {doubts[0] if doubts else 'the rules disagree on this curve.'}"

    def _repr_html_(self) -> str:
        rows = [
            ("learning rate", f"{self.lr:.2e}"),
            ("rule", self.method),
            ("why", self.why),
            ("bounds", f"{self.min_lr:.2e} to {self.max_lr:.2e}"),
        ]
        low, high = self.interval or (self.lr, self.lr)
        if low < high:
            rows.append(("interval", f"{low:.2e} to {high:.2e}"))
        if len(self.lrs) > 1:
            rows.append(("groups", ", ".join(f"{lr:.2e}" for lr in self.lrs)))
        if self.confidence is not None:
            rows.append(("confidence", self.confidence.value))
        return html_table([*rows, *(("note", str(finding)) for finding in self.findings)])

    def apply(self, optimizer: Optimizer, *, batch_size: int | None = None) -> None:
        """Set the suggested rate of every parameter group of `optimizer`.

        A scheduler of torch that you create afterwards begins at this rate.

        Args:
            optimizer: has as many groups as the one that was swept.
            batch_size: samples in an optimizer step of your training, over all micro-batches and
                processes. If the rate was found with another number, a warning says so. None: do
                not compare.

        Warns:
            LRFinderWarning: if the confidence is low, the batch size is another one, or a scheduler
                is attached that will not start from the rate that is set now.

        Raises:
            InvalidInputError: if the number of groups differs.
        """
        groups = len(optimizer.param_groups)
        if groups != len(self.lrs):
            raise InvalidInputError(
                f"expected an optimizer with {len(self.lrs)} parameter groups, as the swept one "
                f"had, got {groups}; set the rates yourself from `suggestion.lr`"
            )
        self.warn_of_doubt()
        if is_rank_zero():
            self._warn_of_use(optimizer, batch_size)
        set_starting_rates(optimizer, self.lrs)

    def warn_of_doubt(self) -> None:
        """Warn, with the reason, if the confidence is low; in a process group only rank 0 does."""
        if self._doubt and is_rank_zero():
            warn(f"lr={self.lr:.2e} has {self._doubt}")

    def _warn_of_use(self, optimizer: Optimizer, batch_size: int | None) -> None:
        """Warn of another batch size, and of a scheduler that would undo `apply`."""
        if None not in (batch_size, self.batch_size) and batch_size != self.batch_size:
            warn(
                f"expected {self.batch_size} samples in an optimizer step, as in the range test, "
                f"got {batch_size}; another batch size wants another rate: repeat the test with it"
            )
        scheduler = overriding_scheduler(optimizer)
        if scheduler is not None:
            warn(
                f"a {type(scheduler).__name__} is attached to the optimizer and will not start "
                "from the learning rate that is set now; create the scheduler after apply()"
            )


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table whose first column names its rows."""
    return f"<table>{''.join(map(_html_row, rows))}</table>"


def _html_row(cells: Sequence[str]) -> str:
    name, *rest = map(escape, cells)
    left = 'style="text-align:left"'  # notebooks put numbers to the right
    return f"<tr><th {left}>{name}</th>{''.join(f'<td {left}>{cell}</td>' for cell in rest)}</tr>"
