"""Optuna: short trials of rates that its sampler proposes and its pruner cuts short."""

from __future__ import annotations

import copy
import math
import zlib
from itertools import islice

import optuna as library
import torch

from tests.benchmarks.suggestions.task import Problem, endless, set_lr, update

BUDGET = 300
TRIAL_STEPS = 60


def optuna(problem: Problem) -> dict[str, float]:
    """Return the rate of the best trial, by TPE and successive halving with their defaults.

    Rates are drawn log-uniformly from 1e-5 to 1. A trial is worth the mean training loss of its
    last third, and ends where its loss is not finite. Every trial starts from the same state, that
    of PyTorch's generator among it, and sees the same batches. The sampler's seed depends on the
    task and on the problem's seed.
    """
    library.logging.set_verbosity(library.logging.ERROR)
    batches = list(islice(endless(problem.train_loader), TRIAL_STEPS))
    start = copy.deepcopy((problem.model.state_dict(), problem.optimizer.state_dict()))
    generator = torch.get_rng_state()
    sampler = library.samplers.TPESampler(seed=_seed(problem))
    spent = 0

    def objective(trial: library.Trial) -> float:
        nonlocal spent
        problem.model.load_state_dict(start[0])
        problem.optimizer.load_state_dict(copy.deepcopy(start[1]))
        torch.set_rng_state(generator)
        set_lr(problem.optimizer, trial.suggest_float("lr", 1e-5, 1.0, log=True))
        losses: list[float] = []
        problem.model.train()
        for step, batch in enumerate(batches[: BUDGET - spent], start=1):
            losses.append(update(problem, batch))
            spent += 1
            trial.report(_tail(losses), step)
            if not math.isfinite(losses[-1]) or trial.should_prune():
                raise library.TrialPruned
        if len(losses) < TRIAL_STEPS:  # the budget is spent
            raise library.TrialPruned
        return _tail(losses)

    study = library.create_study(sampler=sampler, pruner=library.pruners.SuccessiveHalvingPruner())
    while spent < BUDGET:
        study.optimize(objective, n_trials=1)
    return {"Optuna": float(study.best_params["lr"])}


def _seed(problem: Problem) -> int:
    """Return a seed that differs between tasks, and between the seeds of one that is pretrained."""
    weights = b"".join(p.detach().numpy().tobytes() for p in problem.model.parameters())
    return zlib.crc32(weights, torch.initial_seed())


def _tail(losses: list[float]) -> float:
    late = losses[-max(1, len(losses) // 3) :]
    return sum(late) / len(late)
