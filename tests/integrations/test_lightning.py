"""The range test inside Lightning's own Trainer, with automatic and manual optimisation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

pytest.importorskip("lightning")

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelSummary
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanSquaredError

from lrfinder import InvalidInputError, LRFinder, LRFinderWarning, NoResultError
from lrfinder.integrations.lightning import RangeTest, range_test, recommend
from tests.integrations.helpers import assert_same

SWEEP = {"num_iter": 30, "progress": False}
SMOOTH = {"num_iter": 100, "progress": False, "cached_batches": 1}  # a curve that names a rate
# The whole fall is in a few steps.
COARSE = {"start_lr": 3e-3, "end_lr": 0.1, **SMOOTH, "num_iter": 10}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:.*`isinstance"),
]


def data():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(64, 4, generator=generator)
    return TensorDataset(inputs, inputs.sum(1, keepdim=True))


def loader():
    return DataLoader(data(), batch_size=8, shuffle=True)


class Regression(LightningModule):
    """One optimizer, a scheduler, dropout, batch norm, and an attribute that each step changes."""

    def __init__(self, lr=0.01):
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1)
        )
        self.lr = lr
        self.seen = []

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        loss = nn.functional.mse_loss(self.net(inputs), targets)
        self.seen.append(batch_idx)
        self.log("loss", loss)
        self.logger.log_metrics({"direct": loss.item()}, step=self.global_step)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


class TwoNets(LightningModule):
    """Manual optimisation of two networks, whose step returns nothing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.one, self.other = nn.Linear(4, 1), nn.Linear(4, 1)

    def training_step(self, batch):
        inputs, targets = batch
        for optimizer, net, name in zip(
            self.optimizers(), (self.one, self.other), ("one", "other"), strict=True
        ):
            loss = nn.functional.mse_loss(net(inputs), targets)
            optimizer.zero_grad()
            self.manual_backward(loss)
            self.clip_gradients(optimizer, 10.0)
            optimizer.step()
            self.log_dict({name: loss})

    def configure_optimizers(self):
        return [torch.optim.Adam(net.parameters(), lr=0.01) for net in (self.one, self.other)]


class Witness(Callback):
    """Counts every hook of a training that it is told of."""

    def __init__(self):
        self.calls = []

    def on_before_backward(self, *_):
        self.calls.append("backward")

    def on_before_optimizer_step(self, *_):
        self.calls.append("step")

    def on_train_batch_start(self, *_):
        self.calls.append("batch")


def make_trainer(tmp_path, *callbacks, **options):
    options = {"max_epochs": 2, "logger": CSVLogger(tmp_path), **options}
    return Trainer(
        accelerator="cpu",
        callbacks=[*callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
        **options,
    )


def trained(module, trainer, before=lambda: None):
    torch.manual_seed(3)
    before()
    trainer.fit(module, loader())
    return [value.clone() for value in module.state_dict().values()]


@pytest.mark.parametrize("make", [Regression, TwoNets])
def test_training_with_the_callback_equals_training_without(tmp_path, make):
    monitor = "one" if make is TwoNets else None
    witnesses = Witness(), Witness()
    plain = make_trainer(tmp_path / "plain", witnesses[0])
    probed = make_trainer(tmp_path / "probed", RangeTest(monitor=monitor, **SWEEP), witnesses[1])
    assert_same(trained(make(), plain), trained(make(), probed))
    assert witnesses[0].calls == witnesses[1].calls
    assert plain.global_step == probed.global_step
    assert plain.callback_metrics.keys() == probed.callback_metrics.keys()
    logs = [next(path.rglob("metrics.csv")) for path in (tmp_path / "plain", tmp_path / "probed")]
    assert logs[0].read_text() == logs[1].read_text()


@pytest.mark.parametrize("make", [Regression, TwoNets])
def test_training_after_the_function_equals_training_without(tmp_path, make):
    monitor = "one" if make is TwoNets else None
    trainer, module = make_trainer(tmp_path / "probed"), make()

    def before():
        random = torch.get_rng_state()
        range_test(trainer, module, loader(), monitor=monitor, **SWEEP)
        assert torch.equal(torch.get_rng_state(), random)

    assert_same(trained(make(), make_trainer(tmp_path / "plain")), trained(module, trainer, before))


class DrawnAnew:
    """Batches in another order each time, without a `DataLoader`."""

    def __init__(self, generator):
        self.generator = generator

    def __iter__(self):
        order = torch.randperm(64, generator=self.generator)
        return (data()[indices] for indices in order.split(8))


@pytest.mark.parametrize(
    "source", ["loader", "several", "own class", "train_dataloaders", "datamodule", "module"]
)
def test_the_function_leaves_the_data_as_they_were(tmp_path, source):
    generator = torch.Generator().manual_seed(7)
    shuffled = DataLoader(data(), batch_size=8, shuffle=True, generator=generator)

    class Data(LightningDataModule):
        def __init__(self):
            super().__init__()
            self.kept = shuffled

        def train_dataloader(self):
            return self.kept

    class WithData(Regression):
        def train_dataloader(self):
            return self.kept

    module, data_module = Keyed() if source == "several" else WithData(), Data()
    module.kept = shuffled
    given = {
        "loader": {"train_dataloaders": shuffled},
        "several": {"train_dataloaders": CombinedLoader([shuffled, loader()])},
        "own class": {"train_dataloaders": DrawnAnew(generator)},
        "train_dataloaders": {"train_dataloaders": data_module},
        "datamodule": {"datamodule": data_module},
        "module": {},
    }[source]
    before, attributes = generator.get_state(), dict(vars(data_module))
    range_test(make_trainer(tmp_path), module, **given, **SWEEP)
    assert torch.equal(generator.get_state(), before)
    assert vars(data_module) == attributes


class Counter:
    total = 0

    def add(self):
        self.total += 1


class Counted(Regression):
    """Keeps an object of a class of its own, which steps and the hook before them change."""

    def __init__(self):
        super().__init__()
        self.counter = Counter()

    def on_train_start(self):
        self.counter.add()

    def training_step(self, batch, batch_idx):
        self.counter.add()
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("form", ["function", "callback"])
def test_further_objects_are_restored(tmp_path, form):
    module = Counted()
    if form == "function":
        range_test(make_trainer(tmp_path), module, loader(), preserve=[module.counter], **SWEEP)
        assert module.counter.total == 0
    else:
        test = RangeTest(preserve=[module.counter], **SWEEP)
        make_trainer(tmp_path, test, max_steps=3).fit(module, loader())
        assert module.counter.total == 4


def test_a_single_object_to_restore_is_refused(tmp_path):
    module = Counted()
    with pytest.raises(InvalidInputError, match="preserve must be a list"):
        range_test(make_trainer(tmp_path), module, loader(), preserve=module.counter, **SWEEP)
    with pytest.raises(InvalidInputError, match="preserve must be a list"):
        RangeTest(preserve=module.counter)


def test_the_function_leaves_module_and_trainer_as_they_were(tmp_path):
    witness = Witness()
    trainer, module = make_trainer(tmp_path, witness), Regression()
    callbacks, loggers = list(trainer.callbacks), list(trainer.loggers)
    before = copy.deepcopy(module.state_dict())
    range_test(trainer, module, loader(), **SWEEP)
    assert_same(list(before.values()), list(module.state_dict().values()))
    assert module.seen == []
    assert witness.calls == []
    assert (trainer.callbacks, trainer.loggers) == (callbacks, loggers)
    assert trainer.global_step == trainer.current_epoch == 0
    assert "log" not in vars(module)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="not attached"):
        _ = module.trainer


def test_a_failing_step_leaves_everything_as_it_was_and_arrives_unchanged(tmp_path):
    trainer, module = make_trainer(tmp_path), Regression()
    before = copy.deepcopy(module.state_dict())
    callbacks, loggers = list(trainer.callbacks), list(trainer.loggers)
    step = module.training_step

    def fails(batch, batch_idx):
        if batch_idx == 5:
            raise ZeroDivisionError("mine")
        return step(batch, batch_idx)

    module.training_step = fails
    with pytest.raises(ZeroDivisionError, match="mine"):
        range_test(trainer, module, loader(), **SWEEP)
    assert_same(list(before.values()), list(module.state_dict().values()))
    assert module.training_step is fails
    assert "log" not in vars(module)
    assert (trainer.callbacks, trainer.loggers) == (callbacks, loggers)


def test_the_curve_is_that_of_a_plain_loop(tmp_path):
    module = Regression()
    module.net[3].p = 0.0
    torch.manual_seed(5)
    ours = range_test(
        make_trainer(tmp_path, gradient_clip_val=0.5, accumulate_grad_batches=2),
        module,
        DataLoader(data(), batch_size=8),
        **SWEEP,
    )
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    finder = LRFinder(module.net, optimizer, nn.MSELoss(), clip_grad=0.5)
    plain = finder.range_test(DataLoader(data(), batch_size=8), accumulation_steps=2, **SWEEP)
    assert ours.lr == plain.lr
    assert ours.loss == pytest.approx(plain.loss, rel=1e-6)


def test_the_rate_of_one_of_several_optimizers_is_swept(tmp_path):
    results = [
        range_test(make_trainer(tmp_path), TwoNets(), loader(), optimizer=1, monitor=name, **SWEEP)
        for name in ("one", "other")
    ]
    # The first network trains on at 0.01; the second is driven up to a rate of 10.
    assert max(results[0].loss) < 20
    assert max(results[1].loss[-5:]) > 20


@pytest.mark.parametrize("form", ["function", "callback"])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"optimizer": 2}, "optimizer must be .* below 2, got 2"),
        ({"optimizer": "one"}, "optimizer must be .*, got 'one'"),
        ({"accumulation_steps": 2}, "accumulate_grad_batches"),
    ],
)
def test_an_argument_that_does_not_fit_the_training_is_refused(tmp_path, form, options, says):
    options = {"monitor": "one", **options, **SWEEP}

    def test():
        if form == "function":
            range_test(make_trainer(tmp_path), TwoNets(), loader(), **options)
        else:
            trained(TwoNets(), make_trainer(tmp_path, RangeTest(**options)))

    with pytest.raises(InvalidInputError, match=says):
        test()


@pytest.mark.parametrize("set_lr", [True, False])
@pytest.mark.parametrize("function", [range_test, recommend])
def test_arguments_in_another_order_are_refused(tmp_path, function, set_lr):
    with pytest.raises(InvalidInputError, match=r"class Trainer .* got Regression.*order"):
        function(Regression(), make_trainer(tmp_path), loader(), set_lr=set_lr)


def test_a_monitor_that_is_not_logged_is_told_with_what_is(tmp_path):
    with pytest.raises(InvalidInputError, match=r"one.*other"):
        range_test(make_trainer(tmp_path), TwoNets(), loader(), monitor="g_loss", **SWEEP)


def test_set_lr_writes_to_the_module_and_its_hyper_parameters(tmp_path):
    module = Regression()
    result = range_test(make_trainer(tmp_path), module, loader(), set_lr=True, **SMOOTH)
    assert module.lr == module.hparams.lr == result.suggest().lr


def test_set_lr_of_the_callback_reaches_optimizer_and_scheduler(tmp_path):
    test = RangeTest(set_lr=True, **SMOOTH)
    module, trainer = Regression(), make_trainer(tmp_path, test, max_steps=1)
    trained(module, trainer)
    lr = test.result.suggest().lr
    assert module.lr == lr
    assert trainer.optimizers[0].param_groups[0]["initial_lr"] == lr
    assert trainer.lr_scheduler_configs[0].scheduler.base_lrs == [lr]


def test_set_lr_warns_of_a_low_confidence(tmp_path):
    with pytest.warns(LRFinderWarning, match="low confidence"):
        range_test(make_trainer(tmp_path), Regression(), loader(), set_lr=True, **COARSE)
    setting = make_trainer(tmp_path, RangeTest(set_lr=True, **COARSE), max_steps=1)
    with pytest.warns(LRFinderWarning, match="low confidence"):
        trained(Regression(), setting)


def test_set_lr_without_a_rate_to_set_is_refused_before_the_sweep(tmp_path):
    with pytest.raises(InvalidInputError, match="learning_rate"):
        range_test(make_trainer(tmp_path), TwoNets(), loader(), set_lr=True, **SWEEP)


def test_a_data_module_gives_the_batches(tmp_path):
    class Data(LightningDataModule):
        def train_dataloader(self):
            return loader()

        def on_before_batch_transfer(self, batch, dataloader_idx):
            return batch[0] * 0, batch[1] * 0  # the loss of an untrained bias on zeros

    module, data_module = Regression(), Data()
    result = range_test(make_trainer(tmp_path), module, datamodule=data_module, **SWEEP)
    assert result.loss[0] < 0.1
    assert data_module.trainer is None


def test_a_resumed_training_is_left_alone(tmp_path):
    first = make_trainer(tmp_path, max_epochs=1)
    first.fit(Regression(), loader())
    first.save_checkpoint(tmp_path / "last.ckpt")
    test = RangeTest(**SWEEP)
    second = make_trainer(tmp_path, test)
    second.fit(Regression(), loader(), ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    with pytest.raises(NoResultError):
        _ = test.result


def test_several_devices_are_sent_to_the_callback(tmp_path):
    trainer = make_trainer(tmp_path, devices=2, strategy="ddp_spawn")
    with pytest.raises(InvalidInputError, match="RangeTest"):
        range_test(trainer, Regression(), loader(), **SWEEP)


class Hooked(Regression):
    """Records every hook of a training step, and changes the gradient in some of them."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def backward(self, loss, *args, **kwargs):
        self.calls.append("backward")
        (loss * 0.5).backward()

    def on_after_backward(self):
        self.calls.append("on_after_backward")

    def on_before_optimizer_step(self, optimizer):
        self.calls.append("on_before_optimizer_step")
        for parameter in self.parameters():
            parameter.grad.mul_(0.5)

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
        self.calls.append("optimizer_step")
        optimizer.step(closure=optimizer_closure)

    def on_before_zero_grad(self, optimizer):
        self.calls.append("on_before_zero_grad")

    def on_train_batch_start(self, batch, batch_idx):
        self.calls.append("on_train_batch_start")

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.calls.append("on_train_batch_end")


class Halved(Callback):
    """A callback that has a part in the step."""

    def __init__(self):
        self.calls = []

    def on_train_start(self, trainer, pl_module):
        self.average = [parameter.detach().clone() for parameter in pl_module.parameters()]

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        for parameter in pl_module.parameters():
            parameter.grad.mul_(0.5)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for average, parameter in zip(self.average, pl_module.parameters(), strict=True):
            average.lerp_(parameter.detach(), 0.1)
        self.calls.append(outputs["loss"].item())


def test_the_hooks_of_a_step_run_as_in_training(tmp_path):
    seen = []

    class Seen(Hooked):
        def training_step(self, batch, batch_idx):
            seen.append(list(self.calls))  # the module's own list is restored
            return super().training_step(batch, batch_idx)

    range_test(make_trainer(tmp_path, accumulate_grad_batches=2), Seen(), loader(), **SWEEP)
    start = [
        *("on_train_batch_start", "on_before_zero_grad", "backward", "on_after_backward"),
        "on_train_batch_end",
    ]
    second = [
        *("on_train_batch_start", "optimizer_step", "backward", "on_after_backward"),
        *("on_before_optimizer_step", "on_train_batch_end"),
    ]
    in_sweep = seen[-1]
    trained(module := Hooked(), make_trainer(tmp_path, accumulate_grad_batches=2))
    assert module.calls[:11] == [*start, *second]
    assert in_sweep[: len(module.calls)] == module.calls[: len(in_sweep)]


@pytest.mark.parametrize("make", [Hooked, Regression])
def test_the_curve_is_that_of_gradients_as_the_hooks_leave_them(tmp_path, make):
    """The hooks of module and callback halve them: three times, or once."""
    module, callback = make(), Halved()
    module.net[3].p = 0.0
    ours = range_test(
        make_trainer(tmp_path, callback), module, DataLoader(data(), batch_size=8), **SWEEP
    )
    assert callback.calls == []
    assert not hasattr(callback, "average")
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)

    def scale(parameters):
        for parameter in parameters:
            parameter.grad.mul_(0.125 if make is Hooked else 0.5)

    plain = LRFinder(module.net, optimizer, nn.MSELoss(), clip_grad=scale).range_test(
        DataLoader(data(), batch_size=8), **SWEEP
    )
    assert ours.loss == pytest.approx(plain.loss, rel=1e-6)


def test_training_with_hooks_and_a_stateful_callback_equals_training_without(tmp_path):
    averages = Halved(), Halved()
    plain, probed = (
        [make_trainer(tmp_path / "a", averages[0])],
        [make_trainer(tmp_path / "b", averages[1], RangeTest(**SWEEP))],
    )
    assert_same(trained(Hooked(), *plain), trained(Hooked(), *probed))
    assert_same(averages[0].average, averages[1].average)
    assert averages[0].calls == averages[1].calls


class Prepares(Regression):
    """Its steps need what its hooks before the first batch prepare."""

    def on_train_start(self):
        self.scale = torch.rand(())
        self.log("scale", self.scale)

    def on_train_epoch_start(self):
        self.scale = self.scale / 2
        self.epochs = [*getattr(self, "epochs", []), self.current_epoch]
        self.log("epoch_scale", self.scale)
        self.trainer.optimizers[0].param_groups[0]["momentum"] = 0.5

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * self.scale


class PreparesToo(Callback):
    """Scales the gradients by what its hooks before the first batch prepare."""

    def on_train_start(self, trainer, pl_module):
        self.scale = torch.rand(())

    def on_train_epoch_start(self, trainer, pl_module):
        self.scale = self.scale / 2
        self.log("callback_scale", self.scale)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        for parameter in pl_module.parameters():
            parameter.grad.mul_(self.scale)


@pytest.mark.parametrize("form", ["function", "listed first", "listed last"])
def test_what_hooks_before_the_first_batch_prepare_is_there_and_goes_again(tmp_path, form):
    modules, states, metrics = (Prepares(), Prepares()), [], []
    for module, name in zip(modules, ("plain", form), strict=True):
        callbacks = [PreparesToo()]
        if name.startswith("listed"):
            place = 0 if name == "listed first" else 1
            callbacks.insert(place, test := RangeTest(**SWEEP))
        trainer = make_trainer(tmp_path / name, *callbacks)

        def before(name=name, module=module, trainer=trainer):
            if name == "function":
                assert len(range_test(trainer, module, loader(), **SWEEP)) > 10
                assert not hasattr(module, "scale")

        states.append([*trained(module, trainer, before), module.scale, torch.get_rng_state()])
        metrics.append(trainer.callback_metrics)
    assert_same(*states)
    assert modules[0].epochs == modules[1].epochs == [0, 1]
    assert metrics[0] == metrics[1]
    logs = [next(path.rglob("metrics.csv")) for path in (tmp_path / "plain", tmp_path / form)]
    assert logs[0].read_text() == logs[1].read_text()
    assert form == "function" or len(test.result) > 10


def test_the_range_test_accumulates_as_a_schedule_does_in_the_first_epoch(tmp_path):
    sizes = []

    class Watching(Regression):
        def optimizer_step(self, epoch, batch_idx, *arguments):
            sizes.append((epoch, batch_idx))
            super().optimizer_step(epoch, batch_idx, *arguments)

    schedule = GradientAccumulationScheduler({0: 4, 1: 2})
    test, module = RangeTest(**SWEEP), Watching()
    trainer = make_trainer(tmp_path, test, schedule)
    trained(module, trainer)
    swept = len(test.result)
    assert sizes[:swept] == [(0, 3), (0, 7)] * (swept // 2) + [(0, 3)] * (swept % 2)
    assert sizes[swept:] == [(0, 3), (0, 7), (1, 1), (1, 3), (1, 5), (1, 7)]
    assert test.result.batch_size == 32


class Keyed(Regression):
    def training_step(self, batch, batch_idx):
        parts = batch.values() if isinstance(batch, dict) else batch
        return sum(nn.functional.mse_loss(self.net(x), y) for x, y in parts)


@pytest.mark.parametrize("kind", ["dict", "list", "combined"])
def test_batches_of_several_loaders(tmp_path, kind):
    one, two = (DataLoader(data(), batch_size=8, shuffle=shuffle) for shuffle in (True, False))
    loaders = {
        "dict": {"one": one, "two": two},
        "list": [one, two],
        "combined": CombinedLoader({"one": one, "two": two}, "min_size"),
    }[kind]
    test = RangeTest(**SWEEP)
    states = []
    for callbacks in ([], [test]):
        torch.manual_seed(3)
        module = Keyed()
        make_trainer(tmp_path / kind, *callbacks).fit(module, loaders)
        states.append(list(module.state_dict().values()))
    assert_same(*states)
    assert test.result.batch_size == 8
    torch.manual_seed(3)
    assert len(range_test(make_trainer(tmp_path), Keyed(), loaders, **SWEEP)) > 10


@pytest.mark.parametrize(
    ("limits", "kept"),
    [({"limit_train_batches": 3}, 24), ({"overfit_batches": 2}, 16), ({}, 64)],
)
def test_the_limits_of_the_trainer_hold(tmp_path, limits, kept):
    rows = set()

    class Watching(Regression):
        def training_step(self, batch, batch_idx):
            rows.update(map(tuple, batch[0].tolist()))
            return super().training_step(batch, batch_idx)

    plain = DataLoader(data(), batch_size=8)
    result = range_test(make_trainer(tmp_path, **limits), Watching(), plain, **SWEEP)
    assert len(result) > 10
    assert len(rows) == kept


@pytest.mark.filterwarnings("ignore:.*limit_train_batches")
@pytest.mark.parametrize("ends", [{"limit_train_batches": 0}, {"max_epochs": 0}])
def test_a_training_that_ends_before_its_first_batch_is_refused(tmp_path, ends):
    with pytest.raises(InvalidInputError, match="ended before the first batch"):
        range_test(make_trainer(tmp_path, **ends), Regression(), loader(), **SWEEP)


def test_the_last_batches_of_an_epoch_step_as_in_training(tmp_path):
    """Of 8 batches, each third one steps and the last one too: 3 + 3 + 2."""
    sizes = []

    class Watching(Regression):
        def optimizer_step(self, epoch, batch_idx, *arguments):
            sizes.append(batch_idx)
            super().optimizer_step(epoch, batch_idx, *arguments)

    trainer = make_trainer(tmp_path, accumulate_grad_batches=3)
    result = range_test(trainer, Watching(), DataLoader(data(), batch_size=8), **SWEEP)
    assert sizes[:6] == [2, 5, 7, 2, 5, 7]
    assert result.batch_size == 24


class ReturnsNone(Regression):
    def training_step(self, batch, batch_idx):
        return None if batch_idx % 3 == 1 else super().training_step(batch, batch_idx)


class EndsTheEpoch(Regression):
    def on_train_batch_start(self, batch, batch_idx):
        return -1 if batch_idx >= 3 else None


class EndsTheEpochOnce(Regression):
    """Would train on the batches behind the one that ends the epoch."""

    def on_train_batch_start(self, batch, batch_idx):
        return -1 if batch_idx == 3 else None


@pytest.mark.parametrize(
    ("make", "kept"),
    [
        (ReturnsNone, (0, 2, 3, 5, 6)),
        (EndsTheEpoch, (0, 1, 2)),
        (EndsTheEpochOnce, (0, 1, 2)),
    ],
)
def test_batches_that_the_module_skips_are_no_part_of_the_curve(tmp_path, make, kept):
    module = make()
    module.net[3].p = 0.0
    ours = range_test(make_trainer(tmp_path), module, DataLoader(data(), batch_size=8), **SWEEP)
    batches = list(DataLoader(data(), 8))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    finder = LRFinder(module.net, optimizer, nn.MSELoss())
    plain = finder.range_test([batches[index] for index in kept], **SWEEP)
    assert (ours.lr, ours.loss) == (plain.lr, pytest.approx(plain.loss, rel=1e-6))


class ManualAccumulation(LightningModule):
    """Steps on every fourth batch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.net = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.manual_backward(loss / 4)
        if (batch_idx + 1) % 4 == 0:
            self.optimizers().step()
            self.optimizers().zero_grad()
        return {"loss": loss}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def test_a_step_of_manual_accumulation_is_an_optimizer_step(tmp_path):
    module = ManualAccumulation()
    loader = DataLoader(data(), batch_size=8)
    ours = range_test(make_trainer(tmp_path), module, loader, **SWEEP)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    plain = LRFinder(module.net, optimizer, nn.MSELoss()).range_test(
        DataLoader(data(), batch_size=32), **SWEEP
    )
    assert ours.batch_size == plain.batch_size == 32
    assert ours.lr == plain.lr
    assert ours.loss[:20] == pytest.approx(plain.loss[:20], rel=1e-5)


def test_a_manual_step_that_returns_nothing_is_sent_to_monitor(tmp_path):
    with pytest.raises(InvalidInputError, match=r"monitor.*'one'"):
        range_test(make_trainer(tmp_path), TwoNets(), loader(), **SWEEP)


@pytest.mark.parametrize("form", ["datamodule", "train_dataloaders", "callback"])
@pytest.mark.parametrize("holder", ["module", "hparams", "datamodule"])
def test_attr_name_is_looked_up_as_lightning_does(tmp_path, holder, form):
    class Named(Regression):
        def __init__(self, rate=0.01):
            super().__init__(lr=rate)
            del self.lr
            self.hparams.clear()
            if holder == "hparams":
                self.hparams["rate"] = rate
            elif holder == "module":
                self.rate = rate

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    class Data(LightningDataModule):
        def train_dataloader(self):
            return loader()

    module, source = Named(), Data()
    if holder == "datamodule":
        source.rate = 0.01
    if form == "callback":
        test = RangeTest(set_lr=True, attr_name="rate", **SMOOTH)
        make_trainer(tmp_path, test, max_steps=1).fit(module, datamodule=source)
        result = test.result
    else:
        trainer, options = make_trainer(tmp_path), {form: source, "attr_name": "rate", **SMOOTH}
        result = range_test(trainer, module, set_lr=True, **options)
        with pytest.raises(RuntimeError, match="not attached"):
            _ = module.trainer
    place = {"module": module, "hparams": module.hparams, "datamodule": source}[holder]
    assert place.rate == result.suggest().lr


def test_an_unknown_attr_name_is_refused_before_the_sweep(tmp_path):
    with pytest.raises(InvalidInputError, match="no attribute rate"):
        range_test(
            make_trainer(tmp_path), Regression(), loader(), set_lr=True, attr_name="rate", **SWEEP
        )


@pytest.mark.parametrize("form", ["function", "callback"])
def test_set_lr_without_a_suggestion_says_so_and_training_goes_on(tmp_path, form):
    flat = {"start_lr": 1e-9, "end_lr": 1e-8, **SWEEP}
    plain, module = Regression(), Regression()
    trainer = make_trainer(tmp_path / "plain")
    expected = trained(plain, trainer)
    probed = make_trainer(
        tmp_path, *([RangeTest(set_lr=True, **flat)] if form == "callback" else [])
    )

    def before():
        if form == "function":
            range_test(probed, module, loader(), set_lr=True, **flat)

    with pytest.warns(LRFinderWarning, match="was not changed"):
        got = trained(module, probed, before)
    assert module.lr == 0.01
    assert_same(expected, got)


def test_a_hook_that_sets_the_rate_does_not_change_that_of_the_sweep(tmp_path):
    used = []

    class Warming(Regression):
        """The warm-up of Lightning's documentation."""

        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            for group in optimizer.param_groups:
                group["lr"] = 0.001
            optimizer.step(closure=optimizer_closure)

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=self.lr)
            optimizer.register_step_post_hook(
                lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"])
            )
            return optimizer

    result = range_test(make_trainer(tmp_path), Warming(), loader(), **SWEEP)
    assert used[: len(result)] == list(result.lr)


@pytest.mark.parametrize("form", ["function", "callback"])
def test_lightning_under_its_other_name_is_swept_as_well(tmp_path, form):
    other = pytest.importorskip("pytorch_lightning")

    class Module(other.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.lr = 0.01
            self.net = nn.Linear(4, 1)

        def training_step(self, batch, batch_idx):
            return nn.functional.mse_loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    options = {"accelerator": "cpu", "max_epochs": 1, "enable_checkpointing": False, **quiet}
    test = RangeTest(set_lr=form == "callback", **SMOOTH)
    trainer = other.Trainer(callbacks=[test] if form == "callback" else [], **options)
    module = Module()
    if form == "callback":
        trainer.fit(module, loader())
        result = test.result
    else:
        result = range_test(trainer, module, loader(), set_lr=True, **SMOOTH)
    assert module.lr == result.suggest().lr
    plain = LRFinder(net := Module().net, torch.optim.SGD(net.parameters(), lr=0.01), nn.MSELoss())
    torch.manual_seed(0)
    assert result.lr == plain.range_test(loader(), **SMOOTH).lr[: len(result)]


class Validated(Regression):
    """Also counts, and feeds a metric, in training and in validation."""

    def __init__(self):
        super().__init__()
        self.error, self.val_error = MeanSquaredError(), MeanSquaredError()
        self.val_seen = []

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.error(loss.detach(), torch.zeros(()))
        self.log("error", self.error)
        return loss

    def validation_step(self, batch, batch_idx):
        outputs = self.net(batch[0])
        self.val_error(outputs, batch[1])
        self.log("val_error", self.val_error)
        self.val_seen.append(batch_idx)
        return nn.functional.mse_loss(outputs, batch[1])


def val_loader(batch_size=8):
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(2))
    return DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size)


def state_of(module):
    """Return all that a step of a `Validated` changes."""
    metrics = (module.error, module.val_error)
    return copy.deepcopy(
        [
            *module.state_dict().values(),
            *(state for metric in metrics for state in metric.metric_state.values()),
            *(torch.tensor(metric.update_count) for metric in metrics),
            torch.tensor([each.training for each in module.modules()]),
            torch.tensor([*module.seen, -1, *module.val_seen]),
            torch.get_rng_state(),
        ]
    )


@pytest.mark.parametrize("form", ["function", "callback"])
def test_training_after_a_validated_range_test_equals_training_without(tmp_path, form):
    """The training validates too, and its metrics and logs are compared as well."""
    options = {"val_loader": val_loader(), "val_every": 2, **SWEEP}
    tests = [RangeTest(**options)] if form == "callback" else []
    trainers = make_trainer(tmp_path / "plain"), make_trainer(tmp_path / "probed", *tests)
    states = []
    for trainer in trainers:
        torch.manual_seed(3)
        module = Validated()
        if trainer is trainers[1] and form == "function":
            before = state_of(module)
            assert len(range_test(trainer, module, loader(), **options).val_loss) > 5
            assert_same(before, state_of(module))
        trainer.fit(module, loader(), val_loader())
        states.append(state_of(module))
    assert_same(*states)
    assert all(len(test.result.val_loss) > 5 for test in tests)
    plain, probed = (trainer.callback_metrics for trainer in trainers)
    assert plain == probed
    logs = [next(path.rglob("metrics.csv")) for path in (tmp_path / "plain", tmp_path / "probed")]
    assert logs[0].read_text() == logs[1].read_text()


def test_a_failing_validation_leaves_everything_as_it_was_and_arrives_unchanged(tmp_path):
    class Fails(Validated):
        def validation_step(self, batch, batch_idx):
            loss = super().validation_step(batch, batch_idx)
            if len(self.val_seen) == 3:
                raise ZeroDivisionError("mine")
            return loss

    trainer, module = make_trainer(tmp_path), Fails()
    before = state_of(module)
    with pytest.raises(ZeroDivisionError, match="mine"):
        range_test(trainer, module, loader(), val_loader=val_loader(), **SWEEP)
    assert_same(before, state_of(module))
    assert "log" not in vars(module)


class LogsIt(Validated):
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", super().validation_step(batch, batch_idx))


class ReturnsADict(Validated):
    def validation_step(self, batch):
        return {"loss": super().validation_step(batch, 0), "outputs": batch[0]}


class NamedByStage(Validated):
    def validation_step(self, batch, batch_idx, dataloader_idx):
        loss = super().validation_step(batch, batch_idx + dataloader_idx)
        self.log("loss" if self.trainer.validating else "wrong", loss)


@pytest.mark.parametrize(
    ("make", "val_batches"),
    [(Validated, None), (Validated, 2), (LogsIt, 2), (ReturnsADict, 2), (NamedByStage, 2)],
)
def test_the_validation_loss_is_that_of_a_plain_loop(tmp_path, make, val_batches):
    module = make()
    module.net[3].p = 0.0
    monitor = "loss" if make is NamedByStage else None
    options = {"val_batches": val_batches, **SWEEP}
    batches = DataLoader(data(), batch_size=8)
    trainer = make_trainer(tmp_path)
    ours = range_test(
        trainer, module, batches, monitor=monitor, val_loader=val_loader(16), **options
    )
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    finder = LRFinder(module.net, optimizer, nn.MSELoss())
    plain = finder.range_test(batches, val_loader(16), **options)
    assert ours.val_steps == plain.val_steps
    assert ours.val_loss == pytest.approx(plain.val_loss, rel=1e-6)
    assert ours.loss == range_test(trainer, module, batches, monitor=monitor, **SWEEP).loss


def test_batches_are_used_with_transfer_and_precision_of_the_trainer(tmp_path):
    seen = []

    class Watching(Validated):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch[0] * 0, batch[1] * 0

        def training_step(self, batch, batch_idx):
            outputs = self.net(batch[0])
            seen.append((outputs.dtype, batch[0].abs().max().item()))
            return nn.functional.mse_loss(outputs, batch[1])

        def validation_step(self, batch, batch_idx):
            return self.training_step(batch, batch_idx)

    trainer = make_trainer(tmp_path, precision="bf16-mixed")
    range_test(trainer, Watching(), loader(), val_loader=val_loader(), **SWEEP)
    assert set(seen) == {(torch.bfloat16, 0.0)}


class Bfloat16(Precision):
    """A plugin of the user's own, which counts."""

    def __init__(self):
        self.count = 0

    def forward_context(self):
        self.count += 1
        return torch.autocast("cpu", torch.bfloat16)


def test_a_precision_plugin_is_used_and_not_changed(tmp_path):
    seen = []

    class Watching(Regression):
        def training_step(self, batch, batch_idx):
            seen.append((self.net(batch[0]).dtype, self.trainer.precision_plugin.count))
            return super().training_step(batch, batch_idx)

    plugin = Bfloat16()
    trainer, module = make_trainer(tmp_path, plugins=[plugin], max_steps=3), Watching()
    range_test(trainer, module, loader(), **SWEEP)
    assert plugin.count == 0
    in_sweep = seen[:3]
    seen.clear()
    trainer.fit(module, loader())
    assert in_sweep == seen == [(torch.bfloat16, count) for count in (1, 2, 3)]


def test_the_summary_of_the_model_is_left_to_the_training(tmp_path):
    summaries = []

    class Recorded(ModelSummary):
        @staticmethod
        def summarize(*arguments, **keywords):
            summaries.append(arguments)

    trainer = make_trainer(tmp_path, Recorded(), max_steps=1)
    range_test(trainer, module := Regression(), loader(), **SWEEP)
    assert summaries == []
    trainer.fit(module, loader())
    assert len(summaries) == 1


def test_manual_optimisation_is_validated_by_the_value_to_monitor(tmp_path):
    class Both(TwoNets):
        def validation_step(self, batch):
            for name, net in (("one", self.one), ("other", self.other)):
                self.log(name, nn.functional.mse_loss(net(batch[0]), batch[1]))

    module = Both()
    batch = next(iter(val_loader()))
    options = {"optimizer": 1, "monitor": "other", "val_loader": [batch], "end_lr": 1e-6}
    result = range_test(make_trainer(tmp_path), module, loader(), **options, num_iter=5)
    expected = nn.functional.mse_loss(module.other(batch[0]), batch[1]).item()
    assert result.val_loss[0] == pytest.approx(expected, rel=1e-4)


class ReturnsNothing(Validated):
    def validation_step(self, batch, batch_idx):
        super().validation_step(batch, batch_idx)


@pytest.mark.parametrize("form", ["function", "callback"])
@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (Regression, {"val_loader": val_loader()}, "Regression has no validation_step"),
        (Validated, {"val_loader": [val_loader()] * 2}, "a single loader, got a list of 2"),
        (Validated, {"val_loader": CombinedLoader({"one": val_loader()})}, "CombinedLoader of 1"),
        (Validated, {"val_dataloaders": val_loader()}, "a single loader as val_loader"),
        (
            ReturnsNothing,
            {"val_loader": val_loader()},
            r"logs one as 'val_loss', .*\['val_error'\]",
        ),
    ],
)
def test_a_validation_without_a_loss_is_refused(tmp_path, form, make, options, says):
    def test():
        if form == "function":
            range_test(make_trainer(tmp_path), make(), loader(), **options, **SWEEP)
        else:
            trained(make(), make_trainer(tmp_path, RangeTest(**options, **SWEEP)))

    with pytest.raises(InvalidInputError, match=says):
        test()
