"""From a batch to a loss: the forms of batches, outputs and contexts that work."""

import contextlib
import functools
from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lrfinder import InvalidInputError, LRFinder

SETTINGS = {"num_iter": 4, "progress": False}


class Returning(nn.Module):
    """A linear model that wraps its outputs."""

    def __init__(self, wrap):
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.wrap = wrap

    def forward(self, pixels):
        return self.wrap(self.linear(pixels))


def finder_of(model, criterion=None, **settings):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return LRFinder(model, optimizer, criterion, **settings)


def model_output(logits):
    modeling_outputs = pytest.importorskip("transformers.modeling_outputs")
    return modeling_outputs.SequenceClassifierOutput(logits=logits)


GoogLeNetOutputs = namedtuple("GoogLeNetOutputs", ["logits", "aux"])


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), F.cross_entropy])
@pytest.mark.parametrize(
    ("wrap", "match"),
    [
        (lambda logits: (logits, logits), "a tuple of length 2.*the part with the logits"),
        (lambda logits: GoogLeNetOutputs(logits, None), "a GoogLeNetOutputs.*outputs.logits"),
        (lambda logits: {"out": logits}, "a dict with the keys out"),
        (model_output, "a SequenceClassifierOutput with the keys logits.*outputs.logits"),
    ],
)
def test_a_criterion_of_torch_is_not_given_anything_but_a_tensor(batches, wrap, match, criterion):
    finder = finder_of(Returning(wrap), criterion)
    with pytest.raises(InvalidInputError, match=match) as refusal:
        finder.range_test(batches, **SETTINGS)
    assert "pass training_step=f" in str(refusal.value)


def test_a_criterion_of_ones_own_may_take_a_tuple(batches):
    model = Returning(lambda logits: (logits, logits))
    finder = finder_of(model, lambda outputs, targets: F.cross_entropy(outputs[0], targets))
    assert len(finder.range_test(batches, **SETTINGS)) == 4


class WithOwnLoss(nn.Linear):
    """Computes its loss if it is given labels, as Hugging Face's models do."""

    def forward(self, pixels, labels=None):
        logits = super().forward(pixels)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return OrderedDict(loss=loss, logits=logits)


def test_a_dict_without_labels_is_refused(batches):
    finder = finder_of(WithOwnLoss(64, 10))
    whole = [{"pixels": pixels, "labels": labels} for pixels, labels in batches]
    assert len(finder.range_test(whole, **SETTINGS)) == 4
    without = [{"pixels": pixels} for pixels, _ in batches]
    with pytest.raises(InvalidInputError, match=r"no loss .* keys pixels; add the labels"):
        finder.range_test(without, **SETTINGS)


def test_a_dict_with_keys_that_forward_does_not_take_is_refused(batches):
    finder = finder_of(WithOwnLoss(64, 10))
    with pytest.raises(InvalidInputError, match=r"keys image, label, which forward\(pixels, lab"):
        finder.range_test([{"image": batches[0][0], "label": batches[0][1]}], **SETTINGS)


class TwoInputs(nn.Linear):
    def forward(self, left, right):
        return super().forward(left + right)


class OptionalInput(nn.Linear):
    def forward(self, pixels, mask=None):
        return super().forward(pixels if mask is None else pixels * mask)


class AnyInputs(nn.Linear):
    def forward(self, *inputs):
        return super().forward(sum(inputs))


class Wrapper(nn.Module):
    """Hides the signature of a model, as DistributedDataParallel does."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)


@pytest.mark.parametrize("wrap", [lambda model: model, Wrapper, nn.DataParallel])
@pytest.mark.parametrize("kind", [TwoInputs, AnyInputs])
def test_all_parts_but_the_last_are_inputs_if_forward_needs_them(batches, kind, wrap):
    triples = [(pixels, pixels, labels) for pixels, labels in batches]
    result = finder_of(wrap(kind(64, 10)), nn.CrossEntropyLoss()).range_test(triples, **SETTINGS)
    assert result.batch_size == 64


@pytest.mark.parametrize("wrap", [lambda model: model, Wrapper])
@pytest.mark.parametrize("kind", [OptionalInput, nn.Linear])
def test_a_batch_whose_targets_are_not_clear_is_refused(batches, kind, wrap):
    """(inputs, targets, weights): the last one must not be taken for the targets."""
    triples = [(pixels, labels[:, None].float(), labels) for pixels, labels in batches]
    finder = finder_of(wrap(kind(64, 10)), nn.CrossEntropyLoss())
    with pytest.raises(InvalidInputError, match=r"a batch has 3 parts, .* targets are not clear"):
        finder.range_test(triples, **SETTINGS)
    assert len(finder.range_test(batches, **SETTINGS)) == 4


@contextlib.contextmanager
def once():
    with torch.autocast("cpu", torch.bfloat16):
        yield


def accelerate_autocast():
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)  # of other tests
    return accelerate.Accelerator(cpu=True, mixed_precision="bf16").autocast()


@pytest.mark.parametrize(
    "make",
    [
        once,
        lambda: once,
        lambda: functools.partial(torch.autocast, "cpu", torch.bfloat16),
        lambda: torch.autocast("cpu", torch.bfloat16),
        accelerate_autocast,
    ],
    ids=["context", "function", "partial", "autocast", "accelerate"],
)
def test_any_context_or_function_is_entered_for_each_batch(batches, make):
    dtypes = []

    def criterion(outputs, labels):
        dtypes.append(outputs.dtype)
        return F.cross_entropy(outputs, labels)

    finder = finder_of(nn.Linear(64, 10), criterion, autocast=make())
    finder.range_test(batches, batches, **SETTINGS)
    assert dtypes == [torch.bfloat16] * 8


def test_names_of_metrics_that_are_no_strings_are_refused(batches):
    def training_step(model, batch):
        return {"loss": F.cross_entropy(model(batch[0]), batch[1]), ("top", 5): 0.5}

    finder = finder_of(nn.Linear(64, 10), training_step=training_step)
    with pytest.raises(InvalidInputError, match=r"must be strings, got \('top', 5\)"):
        finder.range_test(batches, **SETTINGS)
