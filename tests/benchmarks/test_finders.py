"""Each finder runs as it is measured: it takes its steps, and what it began with comes back."""

import pytest
import torch

from tests.benchmarks.finders import PACKAGES, quiet, range_test
from tests.benchmarks.workloads import tiny

MODULES = {"lrfinder, recommend": "lrfinder"} | {
    name: module.split(".")[0] for name, (_, module) in PACKAGES.items()
}


@pytest.mark.parametrize("name", MODULES)
def test_a_finder_takes_its_steps_and_gives_the_parameters_back(name):
    pytest.importorskip(MODULES[name])
    workload = tiny(steps=10)
    before = [parameter.detach().clone() for parameter in workload.model.parameters()]
    taken = 0

    def count(*_):
        nonlocal taken
        taken += 1

    workload.optimizer.register_step_post_hook(count)
    with quiet():
        run = range_test(name, workload)
        assert taken == 0
        for _ in range(2):  # as in turns
            taken = 0
            run()
            assert taken in (workload.steps, workload.steps + 1)  # ignite ends one step late
    assert all(map(torch.equal, workload.model.parameters(), before))
