"""`recommend` in every framework: the core's rate, and training afterwards as without."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder import LRFinder, LRFinderWarning, NoResultError, NoSuggestionError
from lrfinder._snapshot.storage import open_storage
from tests.integrations.helpers import assert_same

OPTIONS = {"budget": 150, "total_steps": 400, "progress": False}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:.*`isinstance"),
]


def data(seed=1):
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, inputs.sum(1, keepdim=True))


def loader():
    return DataLoader(data(), batch_size=8)


def val_loader():
    return DataLoader(data(seed=2), batch_size=8)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def optimizer_of(net):
    return torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)


def by_the_core(net, **options):
    finder = LRFinder(net, optimizer_of(net), nn.MSELoss())
    return finder.recommend(loader(), **OPTIONS, **options)


def validated_by_the_core():
    return by_the_core(network(), val_loader=val_loader())


def assert_same_rate(ours, plain):
    assert [trial.lr for trial in ours.trials] == pytest.approx([t.lr for t in plain.trials])
    assert ours.lr == pytest.approx(plain.lr, rel=1e-4)
    assert ours.steps == plain.steps
    assert ours.batch_size == plain.batch_size == 8
    for trial, other in zip(ours.trials, plain.trials, strict=True):
        assert trial.val_losses == pytest.approx(other.val_losses, rel=1e-4)


def test_with_ignite_the_rate_is_that_of_the_core_and_training_is_as_without():
    pytest.importorskip("ignite")
    from ignite.engine import create_supervised_trainer

    from lrfinder.integrations.ignite import attach

    weights = []
    for probe in (False, True):
        net = network()
        optimizer = optimizer_of(net)
        trainer = create_supervised_trainer(net, optimizer, nn.MSELoss())
        if probe:
            with attach(trainer, net, optimizer) as finder:
                ours = finder.recommend(loader(), **OPTIONS)
        trainer.run(loader(), max_epochs=2)
        weights.append(list(net.state_dict().values()))
    assert_same(*weights)
    assert_same_rate(ours, by_the_core(network()))
    net = network()
    optimizer, criterion = optimizer_of(net), nn.MSELoss()
    trainer = create_supervised_trainer(net, optimizer, criterion)
    with attach(trainer, net, optimizer, criterion=criterion) as finder:
        compared = finder.recommend(loader(), val_loader(), **OPTIONS)
    assert_same_rate(compared, validated_by_the_core())


def skorch_net():
    return pytest.importorskip("skorch").NeuralNetRegressor(
        network,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        lr=0.01,
        batch_size=8,
        max_epochs=2,
        verbose=0,
        train_split=None,
    )


def test_with_skorch_the_rate_is_that_of_the_core_and_training_is_as_without():
    plain, probed, compared, untrained = (skorch_net() for _ in range(4))
    from lrfinder.integrations.skorch import recommend

    inputs, targets = (tensor.numpy() for tensor in data().tensors)
    ours = recommend(probed, inputs, targets, **OPTIONS)
    assert_same_rate(ours, by_the_core(network()))
    weights = [
        list(one.fit(inputs, targets).module_.state_dict().values()) for one in (plain, probed)
    ]
    assert_same(*weights)
    assert_same_rate(
        recommend(compared, inputs, targets, val_loader=val_loader(), **OPTIONS),
        validated_by_the_core(),
    )
    found = recommend(untrained, inputs, targets, set_lr=True, **OPTIONS)
    assert untrained.lr == pytest.approx(found.lr)


def hugging_face_trainer(folder, **arguments):
    transformers = pytest.importorskip("transformers")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, inputs, labels):
            return {"loss": nn.functional.mse_loss(self.net(inputs), labels)}

    return transformers.Trainer(
        model=Net(),
        args=transformers.TrainingArguments(
            folder / "out",
            train_sampling_strategy="sequential",
            use_cpu=True,
            learning_rate=0.01,
            max_grad_norm=0.0,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            **arguments,
        ),
        train_dataset=[{"inputs": inputs, "labels": labels} for inputs, labels in data()],
        eval_dataset=[{"inputs": inputs, "labels": labels} for inputs, labels in data(seed=2)],
        optimizer_cls_and_kwargs=(torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    )


def test_with_hugging_face_the_rate_is_that_of_the_core_and_training_is_as_without(tmp_path):
    plain, probed, other, confirmed = (
        hugging_face_trainer(tmp_path, max_steps=6) for _ in range(4)
    )
    from lrfinder.integrations.transformers import recommend

    ours = recommend(probed, **OPTIONS)
    assert_same_rate(ours, by_the_core(network()))
    weights = []
    for one in (plain, probed):
        one.train()
        weights.append(list(one.model.state_dict().values()))
    assert_same(*weights)
    assert_same_rate(
        recommend(other, val_loader=other.get_eval_dataloader(), **OPTIONS),
        validated_by_the_core(),
    )
    found = recommend(confirmed, set_lr=True, **OPTIONS)
    assert confirmed.args.learning_rate == pytest.approx(found.lr)


def count_steps(optimizer):
    """Return a list that grows with every step of an optimizer."""
    steps = []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    return steps


def test_skorch_says_itself_how_long_it_will_train():
    """The oracle is the training: the steps that its optimizer takes."""
    net, (inputs, targets) = skorch_net(), (tensor.numpy() for tensor in data().tensors)
    from lrfinder.integrations.skorch import recommend

    planned = recommend(net, inputs, targets, budget=120, progress=False)
    net.initialize()
    steps = count_steps(net.optimizer_)
    net.partial_fit(inputs, targets)
    assert planned.total_steps == len(steps) == 16
    told = recommend(skorch_net(), inputs, targets, budget=120, total_steps=70, progress=False)
    assert told.total_steps == 70


@pytest.mark.parametrize("arguments", [{"max_steps": 6}, {"num_train_epochs": 2.5}])
def test_hugging_face_says_itself_how_long_it_will_train(tmp_path, arguments):
    trainer = hugging_face_trainer(tmp_path, gradient_accumulation_steps=3, **arguments)
    from lrfinder.integrations.transformers import recommend

    planned = recommend(trainer, budget=120, progress=False)
    trainer.train()
    assert planned.total_steps == trainer.state.global_step


class Lightning:
    """Lightning's module and trainer, made where Lightning is there."""

    def __init__(self):
        package = pytest.importorskip("lightning.pytorch")

        class Module(package.LightningModule):
            def __init__(self, lr=0.01):
                super().__init__()
                self.net, self.lr = network(), lr

            def training_step(self, batch, batch_idx):
                return nn.functional.mse_loss(self.net(batch[0]), batch[1])

            def validation_step(self, batch, batch_idx):
                return self.training_step(batch, batch_idx)

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)

        self.module = Module()
        self.package = package

    def trainer(self, *callbacks, **settings):
        return self.package.Trainer(
            accelerator="cpu",
            **({"max_epochs": 2} | settings),
            logger=False,
            callbacks=list(callbacks),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    def trained(self, trainer):
        trainer.fit(self.module, loader())
        return list(self.module.state_dict().values())


@pytest.mark.parametrize("form", ["function", "callback"])
def test_with_lightning_the_rate_is_that_of_the_core_and_training_is_as_without(form):
    plain, probed, confirmed, validated = (Lightning() for _ in range(4))
    from lrfinder.integrations.lightning import Recommend, recommend

    if form == "function":
        trainer = probed.trainer()
        ours = recommend(trainer, probed.module, loader(), **OPTIONS)
        states = plain.trained(plain.trainer()), probed.trained(trainer)
        recommend(confirmed.trainer(), confirmed.module, loader(), set_lr=True, **OPTIONS)
        compared = recommend(
            validated.trainer(), validated.module, loader(), val_loader=val_loader(), **OPTIONS
        )
    else:
        callback = Recommend(**OPTIONS)
        states = plain.trained(plain.trainer()), probed.trained(probed.trainer(callback))
        ours = callback.result
        setting = confirmed.trainer(Recommend(set_lr=True, **OPTIONS))
        confirmed.trained(setting)
        assert setting.optimizers[0].param_groups[0]["lr"] == pytest.approx(ours.lr)
        with_validation = Recommend(val_loader=val_loader(), **OPTIONS)
        validated.trained(validated.trainer(with_validation))
        compared = with_validation.result
    assert_same(*states)
    assert_same_rate(ours, by_the_core(network()))
    assert confirmed.module.lr == pytest.approx(ours.lr)
    assert_same_rate(compared, validated_by_the_core())


@pytest.mark.parametrize(
    ("settings", "schedule"),
    [
        ({"max_epochs": 2, "accumulate_grad_batches": 3}, {}),
        ({"max_steps": 5}, {}),
        ({"max_epochs": 3}, {0: 4, 2: 1}),
        ({"max_epochs": 3, "max_steps": 7}, {0: 4, 2: 1}),
    ],
)
def test_lightning_says_itself_how_long_it_will_train(settings, schedule):
    function, callback = Lightning(), Lightning()
    from lightning.pytorch.callbacks import GradientAccumulationScheduler

    from lrfinder.integrations.lightning import Recommend, recommend

    others = [GradientAccumulationScheduler(schedule)] if schedule else []
    trainer = function.trainer(*others, **settings)
    planned = recommend(trainer, function.module, loader(), budget=120, progress=False)
    within = Recommend(budget=120, progress=False)
    callback.trained(callback.trainer(*others, within, **settings))
    function.trained(trainer)
    assert planned.total_steps == within.result.total_steps == trainer.global_step


def test_lightning_without_an_end_is_taken_for_four_times_a_trial():
    endless = Lightning()
    from lrfinder.integrations.lightning import recommend

    trainer = endless.trainer(max_epochs=-1)
    found = recommend(trainer, endless.module, loader(), budget=120, progress=False)
    assert found.total_steps is None


def test_lightning_where_no_rate_trains_keeps_its_own_and_goes_on(monkeypatch):
    plain, probed = Lightning(), Lightning()
    from lrfinder.integrations.lightning import Recommend, recommend

    def nothing(*_, **__):
        raise NoSuggestionError("nothing was learnt")

    monkeypatch.setattr(LRFinder, "recommend", nothing)
    callback = Recommend(set_lr=True, **OPTIONS)
    expected = plain.trained(plain.trainer())
    with pytest.warns(LRFinderWarning, match="nothing was learnt"):
        got = probed.trained(probed.trainer(callback))
    assert_same(expected, got)
    assert probed.module.lr == 0.01
    with pytest.raises(NoResultError):
        _ = callback.result
    with pytest.raises(NoSuggestionError):
        recommend(plain.trainer(), plain.module, loader(), **OPTIONS)


def by_hugging_face(folder, **options):
    trainer = hugging_face_trainer(folder)
    from lrfinder.integrations.transformers import range_test

    range_test(trainer, **options)


def by_skorch(_, **options):
    net = skorch_net()
    from lrfinder.integrations.skorch import range_test

    range_test(net, *(tensor.numpy() for tensor in data().tensors), **options)


def by_lightning(_, **options):
    one = Lightning()
    from lrfinder.integrations.lightning import range_test

    range_test(one.trainer(), one.module, loader(), **options)


def by_lightning_callback(_, **options):
    one = Lightning()
    from lrfinder.integrations.lightning import RangeTest

    one.trained(one.trainer(RangeTest(**options)))


@pytest.mark.parametrize(
    ("run", "copies"),
    [(by_hugging_face, 2), (by_skorch, 1), (by_lightning, 3), (by_lightning_callback, 2)],
)
def test_copies_of_the_state_are_kept_where_it_is_asked(tmp_path, monkeypatch, run, copies):
    """As many as the documentation says."""
    places = []

    def spy(where):
        places.append(where)
        return open_storage(where)

    monkeypatch.setattr("lrfinder._snapshot.snapshot.open_storage", spy)
    run(tmp_path, snapshot=tmp_path, num_iter=10, progress=False)
    assert places.count(tmp_path) == copies
