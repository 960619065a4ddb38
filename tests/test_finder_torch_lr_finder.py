"""A script written for torch-lr-finder runs with only its import changed."""

import inspect
from functools import partial

import matplotlib as mpl
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

import lrfinder


@pytest.fixture
def torch_lr_finder():
    return pytest.importorskip("torch_lr_finder")


@pytest.fixture(scope="module")
def mnist():
    """Handwritten digits in the shape of MNIST, 28 x 28, as train and test set."""
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    images = (F.interpolate(images, size=(28, 28), mode="bilinear") - 0.1307) / 0.3081
    data = TensorDataset(images, torch.tensor(labels))
    return torch.utils.data.random_split(data, [1497, 300])


class Net(nn.Module):
    """The network of the MNIST example that blogs copy."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 320)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


@pytest.fixture
def net():
    torch.manual_seed(1)
    return Net()


@pytest.fixture
def trainloader(mnist):
    return DataLoader(mnist[0], batch_size=64, shuffle=True)


@pytest.fixture
def testloader(mnist):
    return DataLoader(mnist[1], batch_size=150)


@pytest.mark.slow
def test_the_example_that_blogs_copy(net, trainloader, testloader):
    from lrfinder import LRFinder

    model = net
    criterion = nn.NLLLoss()
    optimizer = optim.SGD(model.parameters(), lr=1e-7, momentum=0.5)

    lr_finder = LRFinder(model, optimizer, criterion, device="cpu")
    lr_finder.range_test(trainloader, end_lr=10, num_iter=100, step_mode="exp")
    lr_finder.plot()
    first = lr_finder.history
    lr_finder.reset()

    lr_finder.range_test(
        trainloader, val_loader=testloader, end_lr=10, num_iter=100, step_mode="exp"
    )
    lr_finder.plot(skip_end=0)
    lr_finder.reset()

    assert first.keys() == lr_finder.history.keys() == {"lr", "loss"}
    assert 1e-3 < lr_finder.suggest().lr < 10
    assert optimizer.param_groups[0]["lr"] == 1e-7


def test_plot_takes_the_same_arguments_and_returns_axes(net, trainloader):
    finder = lrfinder.LRFinder(net, optim.SGD(net.parameters(), lr=1e-7), nn.NLLLoss())
    finder.range_test(trainloader, num_iter=50, end_lr=1, progress=False)
    ax = mpl.figure.Figure().subplots()
    drawn = finder.plot(skip_start=10, skip_end=5, log_lr=True, show_lr=1e-3, ax=ax)
    assert drawn is ax
    assert isinstance(finder.plot(), mpl.axes.Axes)


@pytest.mark.parametrize("step_mode", ["exp", "linear"])
def test_the_curve_is_the_one_that_torch_lr_finder_records(torch_lr_finder, mnist, step_mode):
    """Same rates, same smoothed losses, on the same batches in the same order."""
    loader = DataLoader(mnist[0], batch_size=64)
    curves = []
    for library in (torch_lr_finder, lrfinder):
        torch.manual_seed(1)
        model = Net()
        optimizer = optim.SGD(model.parameters(), lr=1e-4, momentum=0.5)
        finder = library.LRFinder(model, optimizer, nn.NLLLoss())
        torch.manual_seed(2)  # for dropout
        finder.range_test(loader, start_lr=1e-4, end_lr=0.1, num_iter=40, step_mode=step_mode)
        curves.append(finder.history)
    theirs, ours = curves
    np.testing.assert_allclose(ours["lr"], theirs["lr"], rtol=1e-9)
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-5)


def test_its_loader_wrappers_are_taken_as_they_are(torch_lr_finder, net, trainloader, testloader):
    class Noisy(torch_lr_finder.TrainDataLoaderIter):
        def inputs_labels_from_batch(self, batch_data):
            images, labels = batch_data
            return images + 0.1 * torch.randn_like(images), labels

    finder = lrfinder.LRFinder(net, optim.Adam(net.parameters(), lr=1e-7), nn.NLLLoss())
    result = finder.range_test(
        Noisy(trainloader),
        val_loader=torch_lr_finder.ValDataLoaderIter(testloader),
        end_lr=1,
        progress=False,
    )
    assert len(trainloader) < len(result), "the wrapper was started again"
    assert len(result.val_loss) == len(result)
    assert 1e-5 < finder.suggest().lr < 1


def test_reset_has_nothing_left_to_do(net, trainloader):
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.5)
    before = [p.detach().clone() for p in net.parameters()]
    finder = lrfinder.LRFinder(net, optimizer, nn.NLLLoss())
    finder.range_test(trainloader, num_iter=10, progress=False)
    for _ in range(2):
        assert all(map(torch.equal, net.parameters(), before))
        assert optimizer.param_groups[0]["lr"] == 0.1
        finder.reset()


@pytest.mark.parametrize(
    ("call", "keyword", "answer"),
    [
        ("init", "memory_cache", 'snapshot="memory"'),
        ("init", "cache_dir", "snapshot=pathlib.Path"),
        ("init", "amp_backend", "autocast=torch.autocast.*scaler="),
        ("init", "amp_config", "autocast=torch.autocast"),
        ("init", "grad_scaler", "scaler"),
        ("range_test", "non_blocking_transfer", "leave it out"),
        ("plot", "suggest_lr", r"suggest\(\)"),
    ],
)
def test_keywords_that_have_another_name_are_answered(net, call, keyword, answer):
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    finder = lrfinder.LRFinder(net, optimizer, nn.NLLLoss())
    calls = {
        "init": partial(lrfinder.LRFinder, net, optimizer, nn.NLLLoss()),
        "range_test": partial(finder.range_test, []),
        "plot": finder.plot,
    }
    with pytest.raises(lrfinder.InvalidInputError, match=f"no argument {keyword}; .*{answer}"):
        calls[call](**{keyword: True})


def test_the_signatures_are_those_without_the_answers():
    parameters = inspect.signature(lrfinder.LRFinder.range_test).parameters
    assert "train_loader" in parameters
    assert "non_blocking_transfer" not in parameters


def test_a_loader_wrapper_without_that_package(net, trainloader):
    """What README tells to write in place of a subclass of TrainDataLoaderIter."""

    class Noisy:
        def __init__(self, loader):
            self.loader = loader

        def __iter__(self):
            for images, labels in self.loader:
                yield images + 0.1 * torch.randn_like(images), labels

    finder = lrfinder.LRFinder(net, optim.Adam(net.parameters(), lr=1e-7), nn.NLLLoss())
    result = finder.range_test(Noisy(trainloader), end_lr=1, progress=False)
    assert len(trainloader) < len(result), "the wrapper was iterated again"
