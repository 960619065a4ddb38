"""Models as users have them, each set up as briefly as they would do it."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models.detection.anchor_utils import AnchorGenerator

from lrfinder import LRFinder
from lrfinder.suggestion._smoothing import gaussian_smooth

SWEEP = {"start_lr": 1e-5, "end_lr": 10.0, "progress": False}


def falls(result, by=0.1):
    """Tell whether the loss got below its start by the given share."""
    smooth = gaussian_smooth(result.loss, width=2)
    return smooth.min() < (1 - by) * smooth[0]


def test_a_transformer_of_hugging_face_takes_its_dicts_as_they_are():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=2,
    )
    model = transformers.BertForSequenceClassification(config)
    tokens = torch.randint(100, (256, 12))
    rows = [
        {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": (ids[0] > 50).long()}
        for ids in tokens
    ]
    loader = DataLoader(
        rows, batch_size=32, shuffle=True, collate_fn=transformers.default_data_collator
    )

    finder = LRFinder(model, torch.optim.AdamW(model.parameters()))
    result = finder.range_test(loader, loader, num_iter=60, start_lr=1e-5, progress=False)
    assert result.batch_size == 32
    assert len(result.val_loss) == len(result)
    assert falls(result)
    assert 1e-5 < finder.suggest(on="loss").lr < 1


def test_a_language_model_of_hugging_face_with_its_own_collator():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=30, n_positions=16, n_embd=32, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    ids = torch.randint(30, (128, 1)).expand(-1, 16)  # each sequence repeats one token
    loader = DataLoader([{"input_ids": row, "labels": row} for row in ids], batch_size=16)

    finder = LRFinder(model, torch.optim.AdamW(model.parameters()), clip_grad=1.0)
    assert falls(finder.range_test(loader, **SWEEP))
    assert 1e-4 < finder.suggest().lr < 1


def bright_square():
    """A dark image with a bright square in it, and the box around the square."""
    image, (x, y) = 0.2 * torch.rand(3, 64, 64), torch.randint(4, 40, (2,)).tolist()
    image[:, y : y + 16, x : x + 16] = 1
    boxes = torch.tensor([[x, y, x + 16, y + 16]], dtype=torch.float32)
    return image, {"boxes": boxes, "labels": torch.tensor([1])}


def test_a_detection_model_with_several_losses():
    backbone = torchvision.models.mobilenet_v3_small().features[:4]
    backbone.out_channels = 24
    model = torchvision.models.detection.RetinaNet(
        backbone,
        num_classes=2,
        anchor_generator=AnchorGenerator(sizes=((16,),), aspect_ratios=((1.0,),)),
        min_size=64,
        max_size=64,
    )
    loader = DataLoader(
        [bright_square() for _ in range(32)],
        batch_size=4,
        collate_fn=lambda rows: tuple(zip(*rows, strict=True)),
    )

    def training_step(model, batch):
        losses = model(*batch)
        return {"loss": sum(losses.values()), **losses}

    optimizer = torch.optim.AdamW(model.parameters())
    finder = LRFinder(model, optimizer, training_step=training_step)
    result = finder.range_test(loader, num_iter=50, start_lr=1e-4, end_lr=1e-2, progress=False)
    assert result.metrics.keys() == {"bbox_regression", "classification"}
    parts = np.sum(list(result.metrics.values()), axis=0)
    np.testing.assert_allclose(parts, result.loss, rtol=1e-5)
    assert falls(result)
    assert 1e-4 < finder.suggest().lr < 1e-2
    assert result.batch_size == 4, "not the three colours of the first image"


class Forecaster(nn.Module):
    """An LSTM that carries its hidden state from batch to batch."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 16, batch_first=True)
        self.head = nn.Linear(16, 1)
        self.hidden = None

    def forward(self, series):
        outputs, hidden = self.lstm(series, self.hidden)
        self.hidden = tuple(state.detach() for state in hidden)
        return self.head(outputs)


def test_an_lstm_with_a_hidden_state():
    model = Forecaster()
    wave = torch.sin(torch.arange(2001) * 0.3).reshape(1, -1, 1).repeat(8, 1, 1)
    loader = [(wave[:, t : t + 20], wave[:, t + 1 : t + 21]) for t in range(0, 1980, 20)]

    finder = LRFinder(model, torch.optim.Adam(model.parameters()), nn.MSELoss())
    assert falls(finder.range_test(loader, **SWEEP))
    assert 1e-4 < finder.suggest().lr < 1
    assert model.hidden is None, "the state that the sweep carried along is gone"


def test_a_hidden_state_that_the_loop_carries():
    lstm, head = nn.LSTM(1, 16, batch_first=True), nn.Linear(16, 1)
    model = nn.ModuleList([lstm, head])
    wave = torch.sin(torch.arange(2001) * 0.3).reshape(1, -1, 1).repeat(8, 1, 1)
    loader = [(wave[:, t : t + 20], wave[:, t + 1 : t + 21]) for t in range(0, 1980, 20)]
    carried = {"hidden": None}

    def training_step(model, batch):
        outputs, hidden = lstm(batch[0], carried["hidden"])
        carried["hidden"] = tuple(state.detach() for state in hidden)
        return nn.functional.mse_loss(head(outputs), batch[1])

    finder = LRFinder(
        model,
        torch.optim.Adam(model.parameters()),
        training_step=training_step,
        preserve=[carried],
    )
    assert falls(finder.range_test(loader, **SWEEP))
    assert carried == {"hidden": None}


def test_sparse_embeddings_with_sparse_adam():
    words = torch.randint(500, (2048, 5))
    loader = DataLoader(
        list(zip(words, (words[:, 0] % 2).float().unsqueeze(1), strict=True)), batch_size=64
    )
    bag = nn.EmbeddingBag(500, 16, sparse=True)
    model = nn.Sequential(bag, nn.Linear(16, 1).requires_grad_(requires_grad=False))

    finder = LRFinder(model, torch.optim.SparseAdam(bag.parameters()), nn.BCEWithLogitsLoss())
    before = bag.weight.detach().clone()
    result = finder.range_test(loader, **SWEEP)
    assert falls(result, by=0.02)
    assert 1e-4 < finder.suggest().lr < 10
    assert torch.equal(bag.weight, before)
    assert bag.weight.grad is None


def test_an_autoencoder_whose_batch_is_a_tensor(digits):
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 64), nn.Sigmoid())
    loader = DataLoader(digits.tensors[0], batch_size=64, shuffle=True)

    finder = LRFinder(
        model,
        torch.optim.Adam(model.parameters()),
        training_step=lambda model, pixels: nn.functional.mse_loss(model(pixels), pixels),
    )
    result = finder.range_test(loader, loader, **SWEEP)
    assert falls(result)
    assert result.batch_size == 64
    assert 1e-4 < finder.suggest().lr < 1


def test_packed_sequences_go_through_a_step_of_ones_own():
    rnn, head = nn.GRU(4, 8), nn.Linear(8, 1)
    model = nn.ModuleList([rnn, head])

    def collate(rows):
        return nn.utils.rnn.pack_sequence(rows, enforce_sorted=False), torch.tensor(
            [[row.sum().sign()] for row in rows]
        )

    series = [torch.randn(length, 4) for length in torch.randint(2, 9, (256,))]
    loader = DataLoader(series, batch_size=32, collate_fn=collate)

    def training_step(model, batch):
        packed, sums = batch
        _, hidden = rnn(packed)
        return nn.functional.mse_loss(head(hidden[-1]), sums)

    finder = LRFinder(model, torch.optim.Adam(model.parameters()), training_step=training_step)
    result = finder.range_test(loader, **SWEEP)
    assert falls(result)
    assert result.batch_size == 32
