"""The range test inside Lightning's own Trainer, with automatic and manual optimisation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

pytest.importorskip("lightning")

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from lrfinder import InvalidInputError, LRFinder, NoResultError
from lrfinder.integrations.lightning import RangeTest, range_test

SWEEP = {"num_iter": 30, "progress": False}
SMOOTH = {"num_iter": 100, "progress": False, "cached_batches": 1}  # a curve that names a rate
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


def assert_same(one, other):
    assert len(one) == len(other)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


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
