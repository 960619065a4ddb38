"""Modules of every sort: hooks, rebinding, modes, scripts, parametrizations, averages, metrics."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel

from lrfinder import InvalidInputError, LRFinder, preserve_state
from tests.snapshot.helpers import bits

DATA = [(torch.ones(4, 3) * i, torch.zeros(4, 2)) for i in range(3)]


def sweep(model: nn.Module, **options: Any) -> Any:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    finder = LRFinder(model, optimizer, nn.MSELoss(), **options.pop("finder", {}))
    return finder.range_test(DATA, num_iter=6, end_lr=0.1, progress=False, **options)


def test_batch_norm_in_eval_inside_a_training_model_stays_so() -> None:
    """A frozen layer does not gather statistics during the sweep, nor does it thaw afterwards."""
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    model[1].eval()
    modes: list[bool] = []
    model[1].register_forward_hook(lambda module, *_: modes.append(module.training))
    sweep(model, val_loader=DATA)
    assert set(modes) == {False}
    assert [m.training for m in model.modules()] == [True, True, False]
    assert model[1].num_batches_tracked == 0


def test_a_model_in_eval_is_trained_and_in_eval_again() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout()).eval()
    modes: list[bool] = []
    model[1].register_forward_hook(lambda module, *_: modes.append(module.training))
    sweep(model)
    assert set(modes) == {True}
    assert not any(m.training for m in model.modules())


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_hooks_of_the_user_stay_and_ours_are_none() -> None:
    model = nn.Linear(3, 2)
    calls: list[int] = []
    handles = [
        model.register_forward_hook(lambda *_: calls.append(1)),
        model.register_full_backward_hook(lambda *_: None),
        model.weight.register_hook(lambda grad: grad),
    ]

    def count() -> list[int]:
        return [len(v) for v in vars(model).values() if isinstance(v, dict)]

    before, during = count(), []
    sweep(model, on_step=lambda *_: during.append(count()))
    assert during == [before] * 6
    assert len(calls) == 6
    for handle in handles:  # they still belong to their hooks
        handle.remove()
    model(torch.ones(1, 3))
    assert len(calls) == 6


class Rebinding(nn.Module):
    """Assigns new tensors, lists and modules to its attributes at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("average", torch.zeros(2))
        self.register_buffer("nothing", None)
        self.history: list[Tensor] = []
        self.table = {"b": 1, "a": [2]}
        self.names = {"x"}
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x + torch.rand(x.shape, generator=self.generator))
        self.average = 0.9 * self.average + out.detach().mean(0)
        self.nothing = torch.ones(1)
        self.history.append(out)
        self.table["a"].append(3)
        self.table = {"c": self.table.pop("b", 0), **self.table, "b": 4}
        self.names.add("y")
        self.extra = nn.Linear(1, 1)
        self.layer.weight.seen = True
        return out


def test_what_a_model_rebinds_is_what_it_was() -> None:
    model = Rebinding()
    average, history, table, names = model.average, model.history, model.table, model.names
    order = list(vars(model))
    state = model.generator.get_state()
    sweep(model)
    assert model.average is average
    assert average.eq(0).all()
    assert model.nothing is None
    assert model.history is history
    assert history == []
    assert model.table is table
    assert list(table.items()) == [("b", 1), ("a", [2])]
    assert model.names is names
    assert names == {"x"}
    assert list(model._modules) == ["layer"]
    assert list(vars(model)) == order
    assert not hasattr(model.layer.weight, "seen")
    assert torch.equal(model.generator.get_state(), state)


def test_a_buffer_that_is_written_in_place_with_a_graph_is_as_before() -> None:
    class Summing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)
            self.register_buffer("total", torch.zeros(()))

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.layer(inputs)
            self.total += outputs.mean()
            return outputs

    model = Summing()
    total = model.total
    sweep(model)
    assert model.total is total
    assert total.is_leaf
    assert not total.requires_grad
    assert total == 0


def test_frozen_and_thawed_parameters_are_as_before() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)

    def flip(*_: Any) -> None:
        for p in model.parameters():
            p.requires_grad_(True)

    sweep(model, on_step=flip)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert [p.grad for p in model.parameters()] == [None] * 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_scripted_module_is_as_before() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)
            self.norm = nn.BatchNorm1d(2)
            self.register_buffer("rebound", torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            out = self.norm(self.layer(x))
            self.rebound = self.rebound + out.detach().mean(0) + 1.0
            return out

    for model in (torch.jit.script(Counting()), nn.Sequential(torch.jit.script(Counting()))):
        model.eval()
        before = bits(model.state_dict())
        parameters = [(id(p), p.data_ptr()) for p in model.parameters()]
        sweep(model)
        assert bits(model.state_dict()) == before
        assert [(id(p), p.data_ptr()) for p in model.parameters()] == parameters
        assert not any(module.training for module in model.modules())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "wrap",
    [
        parametrizations.spectral_norm,
        parametrizations.weight_norm,
        parametrizations.orthogonal,
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    ],
    ids=["spectral", "weight", "orthogonal", "old weight norm", "old spectral norm", "pruned"],
)
def test_a_parametrized_module_goes_on_bit_for_bit(wrap: Any) -> None:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(wrap(nn.Linear(3, 3)), nn.Linear(3, 2))

    def go_on(model: nn.Module) -> Any:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        losses = []
        for x, y in DATA * 5:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return bits([losses, model.state_dict()])

    with_test, without = make(), make()
    sweep(with_test)
    assert go_on(with_test) == go_on(without)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_recurrent_net_keeps_its_flat_weights(kind: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = kind(3, 2, num_layers=2, dropout=0.2)

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x.unsqueeze(0))[0][0]

    model = Net()
    before = bits(model.state_dict())
    flat = list(model.rnn._flat_weights)
    sweep(model)
    assert bits(model.state_dict()) == before
    assert all(a is b for a, b in zip(model.rnn._flat_weights, flat, strict=True))


def test_an_average_of_the_weights_that_the_step_updates_is_as_before() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ema = AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    ema.update_parameters(model)
    before = bits([model.state_dict(), ema.state_dict()])
    sweep(
        model,
        finder={"preserve": [ema]},
        on_step=lambda *_: ema.update_parameters(model),
    )
    assert bits([model.state_dict(), ema.state_dict()]) == before


def test_a_metric_of_torchmetrics_is_as_before() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    mean, cat = torchmetrics.MeanMetric(), torchmetrics.CatMetric()
    mean.update(3.0), cat.update(torch.tensor(5.0))
    assert mean.compute() == 3

    def on_step(_: float, loss: float, __: int) -> None:
        mean.update(loss), cat.update(torch.tensor(loss))

    sweep(nn.Linear(3, 2), finder={"preserve": [mean, cat]}, on_step=on_step)
    assert mean.compute() == 3
    assert cat.compute() == 5
    mean.update(5.0)
    assert mean.compute() == 4


class Assigning:
    """Keeps what `load_state_dict` gives it, and tells the tensors it holds."""

    def __init__(self) -> None:
        self.shadow = [torch.zeros(2), torch.zeros(2)]
        self.rest = {"decay": [0.9]}

    def state_dict(self) -> dict[str, Any]:
        return {"shadow": self.shadow, "rest": self.rest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.shadow, self.rest = state["shadow"], state["rest"]


class Copying(Assigning):
    """Tells and takes copies."""

    def state_dict(self) -> dict[str, Any]:
        return {"shadow": [t.clone() for t in self.shadow], "rest": {"decay": [0.9]}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for mine, given in zip(self.shadow, state["shadow"], strict=True):
            mine.copy_(given)
        self.rest = dict(state["rest"])


@pytest.mark.parametrize("snapshot", ["memory", "disk"])
@pytest.mark.parametrize("kind", [Assigning, Copying])
def test_an_object_with_a_state_dict_holds_the_same_tensors_as_before(
    kind: type[Assigning], snapshot: str
) -> None:
    """Also the second time: what is handed back is never the snapshot's own copy."""
    thing = kind()
    shadow = list(thing.shadow)
    for _ in range(2):
        with preserve_state(thing, snapshot=snapshot):
            for tensor in thing.shadow:
                tensor.add_(1)
            thing.shadow[0] = torch.full((2,), 7.0)
            thing.shadow = thing.shadow[::-1]
            thing.rest["decay"].append(1)
        assert [t.tolist() for t in thing.shadow] == [[0, 0], [0, 0]]
        assert thing.rest == {"decay": [0.9]}
        if kind is Assigning:
            assert all(a is b for a, b in zip(thing.shadow, shadow, strict=True))


def test_an_object_whose_state_cannot_be_told_is_refused_before_anything_is_touched() -> None:
    with pytest.raises(InvalidInputError, match="got object"), preserve_state(object()):
        pass
    model = nn.Linear(3, 2)
    model.eval()
    with pytest.raises(InvalidInputError, match="got range"):
        sweep(model, finder={"preserve": [range(3)]})
    assert not model.training


def test_nothing_is_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pickled")

    for module, names in (
        (torch, ("save", "load")),
        (pickle, ("dump", "dumps", "load", "loads", "Pickler", "Unpickler")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    model = Rebinding()
    for snapshot in ("memory", "disk"):
        sweep(model, finder={"snapshot": snapshot, "preserve": [Assigning()]})


def test_a_compiled_model_is_neither_compiled_again_nor_changed() -> None:
    """The same parameters at the same place: what the compiler has guarded still holds."""
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    compiled = torch.compile(model, backend="aot_eager")
    torch._dynamo.reset()
    optimizer = torch.optim.SGD(compiled.parameters(), lr=torch.tensor(0.1))
    finder = LRFinder(compiled, optimizer, nn.MSELoss())
    compiled(DATA[0][0]).sum().backward()
    optimizer.zero_grad()
    before = bits(model.state_dict())
    with torch._dynamo.config.patch(error_on_recompile=True):
        finder.range_test(DATA, num_iter=4, end_lr=0.1, progress=False)
        assert bits(model.state_dict()) == before
        compiled(DATA[0][0])
        finder.range_test(DATA, num_iter=4, end_lr=0.1, progress=False)
