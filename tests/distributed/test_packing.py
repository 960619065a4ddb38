"""The sum of the packed vectors of all ranks holds their weighted means and what they report."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrfinder._distributed.packing import Status, pack, unpack

CPU = torch.device("cpu")

pair = st.tuples(st.floats(-1e6, 1e6, width=32), st.integers(1, 1000))


@given(ranks=st.lists(pair, min_size=1, max_size=8))
def test_the_mean_is_weighted_by_batch_size(ranks):
    vectors = [pack([torch.tensor(loss)], [size], Status(), 1, CPU) for loss, size in ranks]
    means, status = unpack(sum(vectors).tolist())
    losses, sizes = zip(*ranks, strict=True)
    assert means == [pytest.approx(np.average(losses, weights=sizes), rel=1e-9, abs=1e-6)]
    assert status == Status()


def test_batches_of_unknown_size_count_alike():
    both = pack([1.0], [None], Status(), 1, CPU) + pack([4.0], [None], Status(), 1, CPU)
    assert unpack(both.tolist())[0] == [2.5]


def test_a_column_without_samples_is_left_out_and_a_skipped_step_has_no_means():
    with_validation = pack([1.0, 5.0], [2, 2], Status(), 2, CPU)
    without = pack([3.0], [2], Status(), 2, CPU)
    skipped = pack([], [], Status(), 2, CPU)
    assert unpack((2 * with_validation).tolist())[0] == [1.0, 5.0]
    assert unpack((2 * without).tolist())[0] == [3.0]
    assert unpack((2 * skipped).tolist()) == ([], Status(skipped=2))


def test_the_status_of_a_sum_says_how_many_ranks_report_what():
    asks = pack([1.0], [1], Status(asked_to_stop=1), 1, CPU)
    diverged = pack([math.nan], [1], Status(out_of_data=1, asked_to_stop=1), 1, CPU)
    status = unpack((asks + diverged).tolist())[1]
    assert status == Status(out_of_data=1, asked_to_stop=2, non_finite=1)


class _LikeCpu:
    """A device with another name, on which tensors lie in host memory."""

    type = "cuda"


@pytest.mark.parametrize("loss", [2.5, math.nan])
def test_a_device_gets_the_same_vector(monkeypatch, loss):
    # Stands in for an accelerator: its branch runs, on host tensors.
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, **__: tensor)
    as_tensor = torch.as_tensor
    monkeypatch.setattr(torch, "as_tensor", lambda x, dtype, device: as_tensor(x, dtype=dtype))
    arguments = [torch.tensor(loss), 4.0], [8, 2], Status(asked_to_stop=1), 3
    packed = [8 * loss, 8, 0, 8, 2, 0, 0, 0, 1, 0, math.isnan(loss)]
    for device in (CPU, _LikeCpu()):
        np.testing.assert_equal(pack(*arguments, device).numpy(), np.array(packed, dtype=float))
