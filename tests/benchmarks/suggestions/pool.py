"""Many small jobs over processes of one thread each, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import torch
from tqdm import tqdm

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_parallel(
    run: Callable[[Job], Result], jobs: Sequence[Job], workers: int, unit: str
) -> Iterator[tuple[Job, Result]]:
    """Yield each job with its result as soon as it is done; what is left when stopped is not run.

    Args:
        run: importable by name.
        jobs: can be pickled.
        workers: processes, each of one thread; a single one is this process.
        unit: what the progress bar counts.
    """
    if workers == 1 or not jobs:
        _use_one_thread()
        for job in tqdm(jobs, unit=unit, disable=not jobs):
            yield job, run(job)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, _use_one_thread) as pool:
        futures = {pool.submit(run, job): job for job in jobs}
        try:
            for future in tqdm(as_completed(futures), total=len(jobs), unit=unit):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _use_one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["MPLBACKEND"] = "Agg"  # some baselines draw
    torch.set_num_threads(1)
