"""Tensors of every layout, type and kinship keep their values, memory and flags."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lrfinder import InvalidInputError, preserve_state
from lrfinder._snapshot.snapshot import Snapshot
from tests.snapshot.helpers import bits


class Holder(nn.Module):
    """Holds one tensor as parameter, buffer or attribute."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.tensor = tensor


def values(tensor: Tensor) -> Any:
    return bits(tensor.resolve_conj() if tensor.layout == torch.strided else tensor)


def nan_with_payload() -> Tensor:
    return torch.tensor([0x7FC00001, 0x7F800001, -1], dtype=torch.int32).view(torch.float32)


def made_in_inference_mode() -> Tensor:
    with torch.inference_mode():
        return torch.randn(4)


TENSORS: dict[str, Callable[[], Tensor]] = {
    "float32": lambda: torch.randn(3, 4),
    "scalar": lambda: torch.tensor(2.5),
    "float64": lambda: torch.randn(3, dtype=torch.float64),
    "float16": lambda: torch.randn(3).half(),
    "bfloat16": lambda: torch.randn(3).bfloat16(),
    "float8": lambda: torch.randn(3).to(torch.float8_e4m3fn),
    "complex": lambda: torch.randn(3, dtype=torch.complex64),
    "conjugated": lambda: torch.randn(3, dtype=torch.complex64).conj(),
    "int8": lambda: torch.arange(5, dtype=torch.int8),
    "bool": lambda: torch.tensor([True, False]),
    "NaN with a payload": nan_with_payload,
    "negative zero": lambda: torch.tensor([-0.0, 0.0, math.inf]),
    "empty": lambda: torch.empty(0, 3),
    "channels last": lambda: torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "transposed": lambda: torch.randn(3, 4).t(),
    "expanded": lambda: torch.randn(3, 1).expand(3, 4),
    "expanded scalar": lambda: torch.tensor(1.5).expand(3, 4),
    "expanded with gaps": lambda: torch.randn(3, 8)[:, 2:3].expand(3, 5),
    "every other column": lambda: torch.randn(4, 6)[:, ::2],
    "slice of a larger one": lambda: torch.randn(10)[3:7],
    "overlapping windows": lambda: torch.randn(8).unfold(0, 3, 1),
    "sparse": lambda: torch.eye(4).to_sparse(),
    "sparse rows": lambda: torch.eye(4).to_sparse_csr(),
    "part of a graph": lambda: torch.randn(3, requires_grad=True) * 2,
    "made in inference mode": made_in_inference_mode,
}


@torch.no_grad()
def disturb(tensor: Tensor) -> None:
    with torch.inference_mode() if tensor.is_inference() else torch.no_grad():
        if tensor.layout == torch.sparse_csr:
            tensor.values().fill_(5)
        elif tensor.layout == torch.sparse_coo:
            tensor.zero_()
        else:
            tensor.untyped_storage().fill_(1)


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("how", ["attribute", "buffer", "gradient", "optimizer state", "list"])
@pytest.mark.parametrize("kind", TENSORS)
def test_values_come_back_bit_for_bit(kind: str, how: str, where: str) -> None:
    tensor = TENSORS[kind]()
    module = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    if how == "attribute":
        module.thing = tensor
    elif how == "buffer":
        module.register_buffer("thing", tensor)
    elif how == "list":
        module.thing = [{"deep": (tensor,)}]
    elif how == "optimizer state":
        optimizer.state[module.weight]["thing"] = tensor
    elif not (tensor.is_floating_point() and tensor.is_leaf):
        pytest.skip("cannot be a gradient")
    else:
        parent = torch.zeros_like(tensor, requires_grad=not tensor.is_inference())
        parent.grad = tensor
        module.thing = parent
    before, place = values(tensor), tensor.layout == torch.strided and tensor.data_ptr()
    with preserve_state(module, optimizer, snapshot=where):
        disturb(tensor)
    assert values(tensor) == before
    assert (tensor.layout == torch.strided and tensor.data_ptr()) == place


@pytest.mark.parametrize("kind", [kind for kind in TENSORS if kind != "empty"])
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_the_disturbance_of_the_test_above_is_real(kind: str) -> None:
    tensor = TENSORS[kind]()
    before = values(tensor)
    disturb(tensor)
    assert values(tensor) != before


@pytest.mark.parametrize("columns", [slice(None), slice(0, 1)], ids=["dense", "column"])
def test_a_view_whose_base_has_been_modified_in_place_keeps_its_values(columns: slice) -> None:
    """Autograd refuses to say how such a view was made. FSDP keeps them of its parameters."""
    base = torch.zeros(2, 3)
    with torch.no_grad():
        view = base[:, columns]
    base.add_(torch.ones((), requires_grad=True))
    with pytest.raises(RuntimeError, match="modified inplace"):
        _ = view.is_leaf
    with preserve_state(Holder(view)), torch.no_grad():
        base.zero_()
    assert view.eq(1).all()


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_memory_that_was_replaced_is_the_old_memory_again(where: str) -> None:
    """`param.data = ...` in a step: the same values at the same place, also in another type."""
    module = nn.Linear(3, 2)
    weight, place, before = module.weight, module.weight.data_ptr(), bits(module.weight)
    with preserve_state(module, snapshot=where):
        module.weight.data = torch.zeros(2, 3, dtype=torch.float64)
        module.bias = nn.Parameter(torch.zeros(2))
    assert module.weight is weight
    assert module.weight.data_ptr() == place
    assert bits(module.weight) == before


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_memory_can_still_be_resized_afterwards(where: str) -> None:
    """Handing a tensor to numpy would have fixed the size of its storage for good."""
    module = nn.Linear(3, 2)
    with preserve_state(module, snapshot=where):
        pass
    module.weight.untyped_storage().resize_(1000)


def test_memory_that_was_given_back_is_filled_again() -> None:
    module = nn.Linear(3, 2)
    before = bits(module.weight)
    with preserve_state(module):
        module.weight.untyped_storage().resize_(0)
    assert bits(module.weight) == before


def test_memory_that_is_given_back_at_the_time_is_left_alone() -> None:
    module = nn.Linear(3, 2)
    module.register_buffer("gathered", torch.zeros(100))
    module.gathered.untyped_storage().resize_(0)
    with preserve_state(module):
        module.weight.data.zero_()
    assert module.gathered.untyped_storage().nbytes() == 0
    assert module.weight.any()


def kept_bytes(*objects: Any) -> int:
    """Return the size of the file that a snapshot on disk writes."""
    with Snapshot(*objects, where="disk") as snapshot:
        size: int = snapshot._storage._file.seek(0, 2)
    return size


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.embedding.weight
        self.transposed = self.embedding.weight.t()
        self.rows = [self.embedding.weight.detach()[i] for i in range(50)]


def test_tied_weights_and_their_views_are_stored_once() -> None:
    assert kept_bytes(Tied()) == 50 * 8 * 4


def test_parameters_in_one_flat_buffer_are_stored_once_with_it() -> None:
    module = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
    flat = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    start = 0
    for p in module.parameters():
        p.data = flat[start : start + p.numel()].view_as(p)
        start += p.numel()
    module.flat = flat
    assert kept_bytes(module) == flat.numel() * 4
    before = bits(list(module.parameters()))
    with preserve_state(module):
        module.flat.fill_(3)
    assert bits(list(module.parameters())) == before
    module[0].weight.data.fill_(1)
    assert flat[: 5 * 7].eq(1).all()  # still the same memory


def test_an_object_that_is_reached_in_two_ways_is_stored_once() -> None:
    model = nn.Linear(100, 10)
    optimizer = torch.optim.Adam(model.parameters())
    assert kept_bytes(model, model, optimizer, list(model.parameters())) == 1010 * 4


def test_a_small_view_does_not_store_the_large_memory_behind_it() -> None:
    """One column of a matrix, or its first row: the rest is not the module's."""
    large = torch.zeros(1000, 1000)
    assert kept_bytes(Holder(large[0])) == 4000
    assert kept_bytes(Holder(large[:, 0])) == 0  # by value, in memory


def test_what_lies_beside_a_view_is_left_alone() -> None:
    large = torch.zeros(6, 6)
    with preserve_state(Holder(large[1:3]), Holder(large[:, 5])):
        large.fill_(1)
    assert large[0, :5].eq(1).all()
    assert large[3:, :5].eq(1).all()
    assert large[1:3].eq(0).all()
    assert large[:, 5].eq(0).all()


def test_gradients_keep_their_identity_and_none_stays_none() -> None:
    module = nn.Linear(2, 2)
    module.weight.grad = torch.ones(2, 2)
    gradient = module.weight.grad
    with preserve_state(module):
        module.weight.grad.zero_()
        module.weight.grad = None
        module.bias.grad = torch.ones(2)
    assert module.weight.grad is gradient
    assert gradient.eq(1).all()
    assert module.bias.grad is None


def test_a_gradient_that_came_with_another_type_of_the_parameter_goes() -> None:
    module = nn.Linear(2, 2)
    module(torch.ones(1, 2)).sum().backward()
    gradient = module.weight.grad
    with preserve_state(module):
        module.double()
        module(torch.ones(1, 2, dtype=torch.float64)).sum().backward()
    assert module.weight.dtype == module.weight.grad.dtype == torch.float32
    assert module.weight.grad is gradient
    assert gradient.eq(1).all()


def test_flags_attributes_and_hooks_of_a_tensor_are_as_before() -> None:
    module = nn.Linear(2, 2)
    module.weight.mine = [1]
    module.weight.register_hook(lambda grad: grad * 3)
    with preserve_state(module):
        module.weight.mine.append(2)
        module.weight.other = 1
        module.weight.register_hook(lambda grad: grad * 2)
        module.bias.register_hook(lambda grad: grad * 2)
        module.bias.register_post_accumulate_grad_hook(lambda p: p.grad.zero_())
        module.weight.requires_grad_(False)
    assert module.weight.requires_grad
    assert module.weight.mine == [1]
    assert not hasattr(module.weight, "other")
    module(torch.ones(1, 2)).sum().backward()
    assert module.weight.grad.eq(3).all()
    assert module.bias.grad.eq(1).all()


def test_a_graph_from_within_cannot_be_used_with_the_old_values() -> None:
    """Values that come back count as changed in place: autograd refuses instead of erring."""
    module = nn.Linear(2, 2)
    x = torch.ones(1, 2, requires_grad=True)
    with preserve_state(module):
        with torch.no_grad():
            module.weight.mul_(2)
        loss = module(x).square().sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_parameter_without_values_yet_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="lazy module"), preserve_state(nn.LazyLinear(2)):
        pass


def test_numpy_arrays_of_a_module_come_back_in_place() -> None:
    import numpy as np

    module = nn.Linear(1, 1)
    module.table = np.arange(6.0).reshape(2, 3)
    table = module.table
    module.fixed = np.ones(2)
    module.fixed.flags.writeable = False
    with preserve_state(module):
        module.table[:] = 7
        module.table = np.zeros(1)
    assert module.table is table
    assert table.tolist() == [[0, 1, 2], [3, 4, 5]]
