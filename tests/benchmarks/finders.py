"""Every finder behind one face: a function that runs one whole range test, restore included."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata

from tests.benchmarks.suggestions.packages import is_installed
from tests.benchmarks.suggestions.task import Problem
from tests.benchmarks.workloads import END_LR, START_LR, Workload

# By name: the distribution and the module.
PACKAGES = {
    "lrfinder": ("lrfinder", "lrfinder"),
    "lrfinder, on disk": ("lrfinder", "lrfinder"),
    "torch-lr-finder": ("torch-lr-finder", "torch_lr_finder"),
    "torch-lr-finder, on disk": ("torch-lr-finder", "torch_lr_finder"),
    "ignite": ("pytorch-ignite", "ignite"),
    "fastai": ("fastai", "fastai.basics"),
    "Lightning": ("lightning", "lightning"),
}


def installed() -> list[str]:
    """Return the names of the finders that can be imported here."""
    return [name for name, (_, module) in PACKAGES.items() if is_installed(module.split(".")[0])]


def versions() -> dict[str, str]:
    """Return the version of torch and of each finder."""
    names = ["torch", *dict.fromkeys(PACKAGES[name][0] for name in installed())]
    return {name: metadata.version(name) for name in names}


def range_test(name: str, workload: Workload) -> Callable[[], None]:
    """Return a function that runs one range test of a finder, or the whole of `recommend`.

    What a library trains with in any case is there before: only the range test is in the function,
    without a suggestion from it.
    """
    prepare = {
        "lrfinder": _lrfinder,
        "lrfinder, recommend": _recommend,
        "lrfinder, on disk": partial(_lrfinder, snapshot="disk"),
        "torch-lr-finder": _torch_lr_finder,
        "torch-lr-finder, on disk": partial(_torch_lr_finder, memory_cache=False),
        "ignite": _ignite,
        "fastai": _fastai,
        "Lightning": _lightning,
    }
    return prepare[name](workload)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the finders tell from the terminal."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _lrfinder(workload: Workload, snapshot: str = "memory") -> Callable[[], None]:
    from lrfinder import LRFinder

    def run() -> None:
        finder = LRFinder(workload.model, workload.optimizer, workload.criterion, snapshot=snapshot)
        result = finder.range_test(
            workload.loader,
            start_lr=START_LR,
            end_lr=END_LR,
            num_iter=workload.steps,
            diverge_th=math.inf,
            progress=False,
        )
        assert len(result) == workload.steps

    return run


def _recommend(workload: Workload) -> Callable[[], None]:
    from lrfinder import LRFinder

    def run() -> None:
        finder = LRFinder(workload.model, workload.optimizer, workload.criterion)
        found = finder.recommend(workload.loader, progress=False)
        workload.steps = found.steps  # as many as the trials happen to need

    return run


def _torch_lr_finder(workload: Workload, memory_cache: bool = True) -> Callable[[], None]:
    from torch_lr_finder import LRFinder

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            finder = LRFinder(
                workload.model,
                workload.optimizer,
                workload.criterion,
                memory_cache=memory_cache,
                cache_dir=folder,
            )
            finder.range_test(
                workload.loader,
                start_lr=START_LR,
                end_lr=END_LR,
                num_iter=workload.steps,
                diverge_th=1e9,
            )
            finder.reset()
        assert len(finder.history["loss"]) == workload.steps
        # It refuses an optimizer that has met a scheduler, as in its own sweep.
        for group in workload.optimizer.param_groups:
            group.pop("initial_lr", None)

    return run


def _ignite(workload: Workload) -> Callable[[], None]:
    from ignite.engine import create_supervised_trainer
    from ignite.handlers import FastaiLRFinder

    trainer = create_supervised_trainer(workload.model, workload.optimizer, workload.criterion)
    to_save = {"model": workload.model, "optimizer": workload.optimizer}

    def run() -> None:
        finder = FastaiLRFinder()
        attached = finder.attach(
            trainer,
            to_save,
            num_iter=workload.steps,
            start_lr=START_LR,
            end_lr=END_LR,
            diverge_th=1e9,
        )
        with attached as with_finder:
            with_finder.run(workload.loader)
        assert len(finder.get_results()["loss"]) >= workload.steps

    return run


def _fastai(workload: Workload) -> Callable[[], None]:
    from tests.benchmarks.suggestions.baselines.fastai import learner_of

    # Removed with the object, which the function holds.
    folder = tempfile.TemporaryDirectory()
    learner = learner_of(_problem(workload), folder.name)

    def run(_held: object = folder) -> None:
        with learner.no_bar():
            learner.lr_find(
                start_lr=START_LR,
                end_lr=END_LR,
                num_it=workload.steps,
                stop_div=False,
                show_plot=False,
                suggest_funcs=None,
            )
        assert len(learner.recorder.losses) >= workload.steps - 1

    return run


def _lightning(workload: Workload) -> Callable[[], None]:
    from lightning.pytorch.tuner import Tuner

    from tests.benchmarks.suggestions.baselines.lightning import module_of, trainer_in

    folder = tempfile.TemporaryDirectory()
    trainer, module = trainer_in(folder.name), module_of(_problem(workload))

    def run(_held: object = folder) -> None:
        found = Tuner(trainer).lr_find(
            module,
            workload.loader,
            min_lr=START_LR,
            max_lr=END_LR,
            num_training=workload.steps,
            early_stop_threshold=None,
            update_attr=False,
        )
        assert len(found.results["loss"]) >= workload.steps

    return run


def _problem(workload: Workload) -> Problem:
    return Problem(workload.model, workload.optimizer, workload.criterion, workload.loader, ())
