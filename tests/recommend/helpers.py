"""Images of handwritten digits, and a training whose loss is a known function of the rate."""

import functools
import math

import torch
from sklearn.datasets import load_digits

from lrfinder._sweep.loop import Record

BATCHES = [0.05 * math.sin(7 * step * step) for step in range(2000)]  # how hard each batch is
UNTRAINED = [2.0 + hard for hard in BATCHES]


@functools.cache
def handwritten_digits():
    """Return 1797 images of 64 pixels in [0, 1] and their labels, which all tests share."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


class Training:
    """Gradient descent on a quadratic, with a floor that rises with the rate as noise does.

    The loss at step t is `2 * exp(-t * lr / best / 6) + 0.3 * lr / best` above the batch's own:
    too low a rate changes nothing, and above `limit` times the best the loss grows.
    """

    untrained = UNTRAINED

    def __init__(self, best_lr, limit=30.0):
        self.best_lr, self.limit, self.spent, self.lrs = best_lr, limit, 0, []

    def train(self, lr, steps, stop, validate=False):
        times, losses = lr / self.best_lr, []
        self.lrs.append(lr)
        for step in range(steps):
            value = 2 * math.exp(-step * times / 6) + 0.3 * min(times, 1.0) + BATCHES[step]
            if times > self.limit:
                value = 2.0 * 3.0**step
            losses.append(value)
            self.spent += 1
            if stop.update(value) is not None:
                break
        return Record(losses)
