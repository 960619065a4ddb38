"""Schedule-Free optimizers, which train and are evaluated at different parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder import LRFinder
from tests.integrations.helpers import assert_same

schedulefree = pytest.importorskip("schedulefree")

SWEEP = {"num_iter": 30, "progress": False}


def loader(batch_size=8):
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def by_hand(net, lrs):
    """Train as the authors' README does, at one rate after the other; return the losses."""
    optimizer = schedulefree.AdamWScheduleFree(net.parameters(), lr=0.01)
    optimizer.train()
    losses, batches = [], [batch for _ in range(10) for batch in loader()]
    for lr, (inputs, targets) in zip(lrs, batches, strict=False):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def trained_by_hand(net, optimizer, steps=10):
    optimizer.train()
    for _, (inputs, targets) in zip(range(steps), loader(), strict=False):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(inputs), targets).backward()
        optimizer.step()
    optimizer.eval()
    return [value.clone() for value in net.state_dict().values()]


@pytest.mark.parametrize("steps_before", [0, 5])
def test_a_sweep_from_a_fresh_optimizer_and_from_one_in_eval_mode(steps_before):
    states = []
    for probe in (False, True):
        net = network()
        optimizer = schedulefree.AdamWScheduleFree(net.parameters(), lr=0.01)
        if steps_before:
            trained_by_hand(net, optimizer, steps_before)  # ends in eval mode
        if probe:
            finder = LRFinder(net, optimizer, nn.MSELoss())
            result = finder.range_test(loader(), **SWEEP)
            assert not optimizer.param_groups[0]["train_mode"]
        states.append(trained_by_hand(net, optimizer))
    assert_same(*states)
    if not steps_before:
        assert result.loss == pytest.approx(by_hand(network(), result.lr), rel=1e-6)


def test_in_hugging_faces_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    from lrfinder.integrations.transformers import range_test

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, inputs, labels):
            return {"loss": nn.functional.mse_loss(self.net(inputs), labels)}

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, index):
            inputs, labels = loader().dataset[index]
            return {"inputs": inputs, "labels": labels}

    def trainer():
        return transformers.Trainer(
            model=Net(),
            args=transformers.TrainingArguments(
                tmp_path / "out",
                optim="schedule_free_adamw",
                lr_scheduler_type="constant",
                use_cpu=True,
                max_steps=6,
                learning_rate=0.01,
                max_grad_norm=0.0,
                report_to=[],
                disable_tqdm=True,
                save_strategy="no",
            ),
            train_dataset=Rows(),
        )

    plain, probed = trainer(), trainer()
    result = range_test(probed, **SWEEP)
    assert len(result) > 10
    assert result.batch_size == 8
    assert probed.optimizer is None
    weights = []
    for one in (plain, probed):
        torch.manual_seed(3)
        one.train()
        weights.append(list(one.model.state_dict().values()))
    assert_same(*weights)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*`isinstance")
@pytest.mark.parametrize("form", ["function", "callback"])
def test_in_lightnings_trainer(form):
    lightning = pytest.importorskip("lightning.pytorch")
    from lrfinder.integrations.lightning import RangeTest, range_test

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, batch_idx):
            return nn.functional.mse_loss(self.net(batch[0]), batch[1])

        def on_train_start(self):
            self.optimizers().train()

        def configure_optimizers(self):
            return schedulefree.AdamWScheduleFree(self.parameters(), lr=0.01)

    def trained(probe):
        test = RangeTest(**SWEEP)
        module = Module()
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=2,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[test] if probe and form == "callback" else [],
        )
        result = None
        if probe and form == "function":
            result = range_test(trainer, module, loader(), **SWEEP)
        trainer.fit(module, loader())
        result = test.result if probe and form == "callback" else result
        return list(module.state_dict().values()), result

    plain, _ = trained(probe=False)
    probed, result = trained(probe=True)
    assert_same(plain, probed)
    assert result.loss == pytest.approx(by_hand(network(), result.lr), rel=1e-6)
