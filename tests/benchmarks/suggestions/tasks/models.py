"""The small networks of the tasks, with PyTorch's default initialisation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from tests.benchmarks.suggestions.tasks.data import VOCABULARY


def mlp(*sizes: int, bias: bool = True) -> nn.Sequential:
    """Fully connected layers with ReLU between them; the input is flattened."""
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """Convolve 3 x 3, normalise over the batch, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """Two convolutions with batch norm around a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(channels_in, channels_out, stride),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels_out, h / stride, w / stride)."""
        return nn.functional.relu(self.body(images) + self.shortcut(images))


class Recurrent(nn.Module):
    """Embedding, one recurrent layer, and a score per character of the vocabulary.

    Args:
        cell: `nn.GRU` or `nn.LSTM`.
        hidden: width of the recurrent state.
        classes: number of scores.
        last: whether only the last position is scored, as for classification.
        dropout: share of the states that are dropped before the scores.
    """

    def __init__(
        self,
        cell: Callable[..., nn.Module],
        hidden: int,
        classes: int = VOCABULARY,
        last: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 32)
        self.cell = cell(32, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)
        self.last = last
        self.dropout = nn.Dropout(dropout)

    def forward(self, codes: Tensor) -> Tensor:
        """Map (n, length) to (n, length, classes), or (n, classes) if only the last counts."""
        states, _ = self.cell(self.embedding(codes))
        scores: Tensor = self.head(self.dropout(states[:, -1] if self.last else states))
        return scores


class Block(nn.Module):
    """A pre-norm transformer layer.

    Args:
        width: of a token, a multiple of 16.
        causal: whether a position sees only those before it.
        affine: whether there are biases and norm weights; without them each parameter is a matrix.
        dropout: share of what each half of the layer adds that is dropped.
    """

    def __init__(self, width: int, causal: bool, affine: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=affine) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * width, bias=affine)
        self.out = nn.Linear(width, width, bias=affine)
        self.up = nn.Linear(width, 4 * width, bias=affine)
        self.down = nn.Linear(4 * width, width, bias=affine)
        self.causal = causal
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, length, width) to the same shape."""
        heads = self.qkv(self.norms[0](tokens)).unflatten(-1, (3, -1, 16)).transpose(1, 3)
        q, k, v = heads.unbind(2)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        tokens = tokens + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        changed: Tensor = self.down(nn.functional.gelu(self.up(self.norms[1](tokens))))
        return tokens + self.dropout(changed)


class CharacterTransformer(nn.Module):
    """A causal transformer over characters.

    Args:
        width: of a token, a multiple of 16.
        depth: number of layers.
        length: longest input.
        affine: whether there are biases and norm weights.
        dropout: see `Block`.
    """

    def __init__(
        self, width: int, depth: int, length: int, affine: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, True, affine, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, elementwise_affine=affine)
        self.head = nn.Linear(width, VOCABULARY, bias=affine)

    def forward(self, codes: Tensor) -> Tensor:
        """Map (n, length) to (n, length, VOCABULARY)."""
        tokens = self.embedding(codes) + self.position.weight[: codes.shape[1]]
        scores: Tensor = self.head(self.norm(self.blocks(tokens)))
        return scores


class VisionTransformer(nn.Module):
    """A transformer over the 16 patches of a 16 x 16 image.

    Args:
        width: of a token, a multiple of 16.
        depth: number of layers.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, stride=4)
        self.position = nn.Parameter(0.02 * torch.randn(16, width))
        self.blocks = nn.Sequential(*(Block(width, False) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 1, 16, 16) to (n, 10)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
        scores: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return scores


class ContextNetwork(nn.Module):
    """The next character from a fixed number of characters before it.

    Args:
        length: number of characters.
        width: of the hidden layer.
        dropout: share of the hidden units that are dropped.

    References:
        Bengio et al., "A Neural Probabilistic Language Model", JMLR 3 (2003).
    """

    def __init__(self, length: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.hidden = nn.Linear(16 * length, width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, codes: Tensor) -> Tensor:
        """Map (n, length) to (n, VOCABULARY)."""
        hidden = torch.tanh(self.hidden(self.embedding(codes).flatten(1)))
        scores: Tensor = self.head(self.dropout(hidden))
        return scores


class CausalConvolutions(nn.Module):
    """A language model of dilated convolutions that see only the characters before.

    Args:
        width: channels.
        dilations: of the layers, each of kernel size 3.
    """

    def __init__(self, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=d) for d in dilations)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, codes: Tensor) -> Tensor:
        """Map (n, length) to (n, length, VOCABULARY)."""
        signal = self.embedding(codes).transpose(1, 2)
        for layer in self.layers:
            padded = nn.functional.pad(signal, (2 * layer.dilation[0], 0))  # type: ignore[index, operator]
            signal = signal + nn.functional.relu(layer(padded))
        scores: Tensor = self.head(signal.transpose(1, 2))
        return scores


class Shift(nn.Module):
    """Augmentation of a training batch: moves each image by up to some pixels, cuts a square out.

    Args:
        pixels: largest shift in either direction.
        cut: side of the square that is set to 0; 0 for none.
    """

    def __init__(self, pixels: int, cut: int = 0) -> None:
        super().__init__()
        self.pixels, self.cut = pixels, cut

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape; change nothing in evaluation mode."""
        if not self.training:
            return images
        n, side, p = len(images), images.shape[-1], self.pixels
        padded = nn.functional.pad(images, (p, p, p, p), mode="replicate")
        rows, columns = torch.randint(2 * p + 1, (2, n, 1)) + torch.arange(side)
        moved = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        moved = moved.permute(0, 3, 1, 2)
        if self.cut:
            corner = torch.randint(side - self.cut + 1, (2, n, 1))
            inside = (torch.arange(side) >= corner) & (torch.arange(side) < corner + self.cut)
            moved = moved * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])
        return moved


class CoordinateNetwork(nn.Module):
    """Sines of random projections of a position, then an MLP: an image as a function.

    References:
        Tancik et al. (2020), "Fourier Features Let Networks Learn High Frequency Functions in Low
        Dimensional Domains", section 5.
    """

    def __init__(self, frequencies: int, width: int) -> None:
        super().__init__()
        self.register_buffer("projection", 6 * torch.randn(2, frequencies))
        self.body = mlp(2 * frequencies, width, width, 3)

    def forward(self, positions: Tensor) -> Tensor:
        """Map (n, 2) in [0, 1] to (n, 3)."""
        phase = 2 * torch.pi * positions @ self.projection  # type: ignore[operator]
        colours: Tensor = self.body(torch.cat([phase.sin(), phase.cos()], dim=1))
        return colours
