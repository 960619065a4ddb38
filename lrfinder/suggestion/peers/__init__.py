"""The rules of other libraries, read off one of our results, so that people can compare.

Each does what its library does with the losses: smooths them, stops where it would have stopped,
cuts both ends, and names one rate, which is also its `max_lr`.
"""

from __future__ import annotations

from lrfinder.suggestion._rule import Rule
from lrfinder.suggestion.peers import fastai
from lrfinder.suggestion.peers.ignite import ignite
from lrfinder.suggestion.peers.lightning import lightning
from lrfinder.suggestion.peers.torch_lr_finder import torch_lr_finder

PEER_RULES: dict[str, Rule] = {
    "torch-lr-finder": torch_lr_finder,
    "fastai-valley": fastai.valley,
    "fastai-slide": fastai.slide,
    "fastai-minimum": fastai.minimum,
    "fastai-steep": fastai.steep,
    "lightning": lightning,
    "ignite": ignite,
}
"""Every rule of another library by its name."""
