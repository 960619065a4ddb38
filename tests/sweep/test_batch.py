"""A batch may be whatever the user's loader gives."""

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lrfinder import InvalidInputError, LRFinder
from lrfinder._sweep.batch import batch_size, batch_weights, pieces, to_device

Sample = namedtuple("Sample", ["pixels", "label"])


def losses_of(finder, loader):
    return finder.range_test(loader, end_lr=1.0, num_iter=8, progress=False).loss


@pytest.fixture
def expected(model, optimizer, batches):
    """The losses of the plain case, with which every other form must agree to the last bit."""
    return losses_of(LRFinder(model, optimizer, nn.CrossEntropyLoss()), batches)


def test_lists_and_named_tuples_are_pairs_too(model, optimizer, batches, expected):
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    assert losses_of(finder, [list(batch) for batch in batches]) == expected
    assert losses_of(finder, [Sample(*batch) for batch in batches]) == expected


def test_a_step_of_your_own_takes_any_batch(model, optimizer, batches, expected):
    def training_step(model, batch):
        assert isinstance(batch, Sample), "a batch keeps its class on the way to the device"
        return nn.functional.cross_entropy(model(batch.pixels), batch.label)

    finder = LRFinder(model, optimizer, training_step=training_step)
    assert losses_of(finder, [Sample(*batch) for batch in batches]) == expected


@pytest.mark.parametrize(
    "wrap",
    [
        lambda loss: {"loss": loss},
        namedtuple("Output", "loss"),
        lambda loss: loss.reshape(1, 1),
    ],
)
def test_the_loss_may_come_in_a_dict_or_an_object(model, optimizer, batches, expected, wrap):
    def training_step(model, batch):
        return wrap(nn.functional.cross_entropy(model(batch[0]), batch[1]))

    finder = LRFinder(model, optimizer, training_step=training_step)
    assert losses_of(finder, batches) == expected


class TwoInputs(nn.Module):
    """Takes the upper and the lower half of an image apart."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, upper, lower):
        return self.model(torch.cat([upper, lower], dim=1))


def test_several_inputs_go_to_a_model_that_takes_several(model, optimizer, batches, expected):
    halves = [(pixels[:, :32], pixels[:, 32:], labels) for pixels, labels in batches]
    finder = LRFinder(TwoInputs(model), optimizer, nn.CrossEntropyLoss())
    assert losses_of(finder, halves) == expected


class ComputesItsLoss(nn.Module):
    """Takes keywords and returns an output that has a loss, as Hugging Face models do."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels, labels):
        logits = self.model(pixels)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize("make", [dict, OrderedDict])
def test_dicts_are_keywords_of_a_model_that_computes_its_loss(
    model, optimizer, batches, expected, make
):
    loader = [make(pixels=pixels, labels=labels) for pixels, labels in batches]
    assert losses_of(LRFinder(ComputesItsLoss(model), optimizer), loader) == expected


class Images:
    """Moves itself in place, as batches of graphs and of tokenizers do."""

    def __init__(self, pixels, labels):
        self.pixels, self.labels, self.device = pixels, labels, "loader"

    def to(self, device):
        self.pixels, self.labels = self.pixels.to(device), self.labels.to(device)
        self.device = device
        return self


def test_objects_with_to_are_moved_and_the_loaders_own_stay(model, optimizer, batches, expected):
    def training_step(model, batch):
        assert batch.device == torch.device("cpu")
        return nn.functional.cross_entropy(model(batch.pixels), batch.labels)

    loader = [Images(*batch) for batch in batches]
    finder = LRFinder(model, optimizer, training_step=training_step)
    assert losses_of(finder, loader) == expected
    assert {batch.device for batch in loader} == {"loader"}


class MovesItself(UserDict):
    """Moves in place, as the batches of Hugging Face tokenizers do."""

    def to(self, device):
        self.data = {key: value.to(device) for key, value in self.data.items()}
        return self


@pytest.mark.parametrize("make", [dict, OrderedDict, MovesItself])
def test_a_step_may_take_a_batch_apart_though_it_is_cached(model, optimizer, batches, make):
    """A popular habit: `labels = batch.pop("labels")`."""

    def training_step(model, batch):
        labels = batch.pop("labels")
        return nn.functional.cross_entropy(model(**batch), labels)

    loader = [make({"input": pixels, "labels": labels}) for pixels, labels in batches]
    LRFinder(model, optimizer, training_step=training_step).range_test(
        loader, loader, cached_batches=2, num_iter=5, progress=False
    )
    assert all("labels" in batch for batch in loader)


@dataclass
class Leaf:
    """Remembers where it was moved."""

    device: str = "nowhere"

    def to(self, device):
        return Leaf(str(device))


def test_everything_nested_in_a_batch_is_moved_and_nothing_else_is_touched():
    batch = {"a": [Leaf(), (Leaf(), "text")], "b": Sample(Leaf(), None), "c": 3}
    moved = to_device(batch, torch.device("meta"))
    assert moved == {
        "a": [Leaf("meta"), (Leaf("meta"), "text")],
        "b": Sample(Leaf("meta"), None),
        "c": 3,
    }
    assert batch["a"][0] == Leaf()
    assert to_device(torch.zeros(2), torch.device("meta")).is_meta


@pytest.mark.parametrize(
    ("batch", "size"),
    [
        (torch.zeros(8, 3), 8),
        ((torch.zeros(8, 3), torch.zeros(8)), 8),
        ({"ids": torch.zeros(8, 3), "labels": torch.zeros(8), "scale": torch.tensor(2.0)}, 8),
        (([torch.zeros(3, 9, 9)] * 2, [{"boxes": torch.zeros(5, 4)}] * 2), 2),
        (((torch.zeros(8, 3), torch.zeros(8, 5)), torch.zeros(8)), 8),
        ("text", None),
        ((), None),
        (torch.tensor(1.0), None),
    ],
)
def test_the_size_of_a_batch_is_the_number_of_its_samples(batch, size):
    assert batch_size(batch) == size


def test_batches_weigh_as_much_as_they_have_samples():
    assert batch_weights([torch.zeros(6), torch.zeros(2)]) == [0.75, 0.25]
    assert batch_weights([torch.zeros(6), "unknown"]) == [0.5, 0.5]


def test_a_batch_of_tensors_of_one_length_is_cut_into_pieces():
    rows = torch.arange(8)
    batch = {"ids": rows.reshape(8, 1), "more": (rows, [rows])}
    cut, second = pieces(batch, 3)  # and a remainder of two
    assert cut["ids"].tolist() == [[0], [1], [2]]
    assert [part.tolist() for part in (cut["more"][0], cut["more"][1][0])] == [[0, 1, 2]] * 2
    assert second["more"][0].tolist() == [3, 4, 5]
    assert [len(piece) for piece in pieces(rows, 20)] == [8]
    assert [len(piece) for piece in pieces(rows[:0], 3)] == [0]


@pytest.mark.parametrize(
    "batch",
    [
        (torch.zeros(8, 3), torch.zeros(5)),
        ([torch.zeros(3, 9, 9)] * 8, [{"boxes": torch.zeros(5, 4)}] * 8),
        (torch.zeros(8), ["a"] * 8),
        (torch.zeros(8), torch.tensor(1.0)),
        Leaf(),
    ],
)
def test_a_batch_whose_samples_cannot_be_told_apart_is_left_whole(batch):
    (piece,) = pieces(batch, 2)
    assert piece is batch


def test_a_dict_for_a_model_without_a_loss_is_refused(model, optimizer, batches):
    finder = LRFinder(model, optimizer)
    with pytest.raises(InvalidInputError, match="the loss must be a scalar, got a tensor of shape"):
        finder.range_test([{"input": batches[0][0]}], progress=False)


@pytest.mark.parametrize("name", ["num_graphs", "batch_size"])
def test_a_batch_that_tells_its_size_is_believed(name):
    """A batch of three graphs with seven nodes in all, as PyG and DGL join them."""
    graphs = SimpleNamespace(x=torch.zeros(7, 2), **{name: 3})
    assert batch_size(graphs) == 3
    assert batch_size([torch.zeros(3), graphs]) == 3


def test_graphs_of_pyg(model):
    geometric = pytest.importorskip("torch_geometric")
    graph = geometric.data.Data(
        x=torch.randn(5, 64), edge_index=torch.tensor([[0, 1], [1, 2]]), y=torch.zeros(1).long()
    )
    loader = geometric.loader.DataLoader([graph] * 24, batch_size=6)

    def training_step(model, batch):
        pooled = geometric.utils.scatter(model(batch.x), batch.batch)
        return nn.functional.cross_entropy(pooled, batch.y)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    finder = LRFinder(model, optimizer, training_step=training_step)
    settings = {"num_iter": 5, "progress": False}
    assert finder.range_test(loader, **settings).batch_size == 6
    assert finder.range_test(loader, accumulation_steps=2, **settings).batch_size == 12


class AttributeDict(dict):
    """A dict whose items are attributes, as many projects write it."""

    __getattr__ = dict.__getitem__


def test_a_dict_whose_items_are_attributes_is_a_batch(model, optimizer, batches):
    def training_step(model, batch):
        return nn.functional.cross_entropy(model(batch.pixels), batch.labels)

    loader = [AttributeDict(pixels=pixels, labels=labels) for pixels, labels in batches]
    result = LRFinder(model, optimizer, training_step=training_step).range_test(
        loader, num_iter=5, progress=False
    )
    assert result.batch_size == 64


def test_a_dict_whose_items_are_attributes_is_no_output_for_a_criterion(model, optimizer, batches):
    model.register_forward_hook(lambda *call: AttributeDict(scores=call[-1]))
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    with pytest.raises(InvalidInputError, match="returned a AttributeDict with the keys scores"):
        finder.range_test(batches, progress=False)
