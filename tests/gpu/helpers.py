"""Trainings on the device, and everything about them that a range test must leave alone."""

import torch
from torch import nn

NO_DEVICE = "no CUDA device here"
DEVICE = "cuda"
SWEEP = {"start_lr": 1e-4, "end_lr": 0.1, "num_iter": 30, "diverge_th": 1e9, "progress": False}


def network(dropout=0.2):
    """A network that draws random numbers, keeps statistics, and adds up in a fixed order."""
    torch.manual_seed(0)
    hidden = [nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(dropout)]
    layers = [*hidden, nn.Linear(64, 4)]
    return nn.Sequential(*layers).to(DEVICE)


def batches(count=4, size=32):
    """Batches of inputs and targets on the device."""
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 16, generator=generator).to(DEVICE),
            torch.randn(size, 4, generator=generator).to(DEVICE),
        )
        for _ in range(count)
    ]


def step(model, optimizer, batch):
    """Train one step as anybody would; return the loss."""
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss.detach()


def train(model, optimizer, steps):
    """Train some steps; return the losses."""
    data = batches()
    return [step(model, optimizer, data[i % len(data)]).item() for i in range(steps)]


def state(model, optimizer, *others):
    """Return every bit of the training, and where each tensor of it lies."""
    state_dicts = [
        model.state_dict(),
        optimizer.state_dict(),
        *(one.state_dict() for one in others),
    ]
    gradients = [parameter.grad for parameter in model.parameters()]
    generators = [torch.get_rng_state(), torch.cuda.get_rng_state()]
    modes = [module.training for module in model.modules()]
    return _bits([state_dicts, gradients, modes]), [g.numpy().tobytes() for g in generators]


def _bits(value):
    if isinstance(value, torch.Tensor):
        value = getattr(value, "_local_tensor", value)  # what this process holds of it
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return value.dtype, tuple(value.shape), str(value.device), value.data_ptr(), raw
    if isinstance(value, dict):
        return {key: _bits(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_bits(part) for part in value]
    return value
