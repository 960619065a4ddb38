"""The real libraries, fed losses that were recorded before: what would each have suggested?

`python tests/suggestion/peers_replayed.py` records the curves of data/curves/peers and writes what
the installed libraries say of them; the tests hold the rules to that, with or without a library.
"""

import contextlib
import io
import json
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FOLDER = Path(__file__).parents[2] / "data" / "curves" / "peers"
EXPECTED = FOLDER / "expected.json"
RECORDED = (
    "digits-mlp-sgd", "digits-noisy-cnn-adam", "cancer-mlp-adamw", "text-categories-lstm-rmsprop",
)  # fmt: skip


def replay(losses):
    """Return model, optimizer, criterion and loader of a training with the given losses."""
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-7)
    following = iter(losses)

    def criterion(outputs, _targets):
        return outputs.sum() * 0 + next(following)

    loader = DataLoader(TensorDataset(torch.ones(500, 1), torch.ones(500, 1)), 1)
    return model, optimizer, criterion, loader


def torch_lr_finder(lr, losses):
    from torch_lr_finder import LRFinder

    from lrfinder.benchmark.peers.torch_lr_finder import suggestion

    model, optimizer, criterion, loader = replay(losses)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder = LRFinder(model, optimizer, criterion)
        finder.range_test(loader, num_iter=len(losses))
        finder.history["lr"] = list(lr[: len(finder.history["loss"])])
        return suggestion(finder)


def fastai(rule):
    def suggest(lr, losses):
        from lrfinder.benchmark import Problem
        from lrfinder.benchmark.peers import fastai as peer

        problem = Problem(*replay(losses), [])
        with tempfile.TemporaryDirectory() as folder:
            learner = peer.learner_of(problem, folder)
            with learner.no_bar():
                learner.lr_find(suggest_funcs=None, show_plot=False)
        values = torch.stack(learner.recorder.losses).flatten()
        kept = slice(10, -5)
        rates = torch.tensor(lr[: len(values)])
        return peer.RULES[rule](rates[kept], values[kept], 100)[0]

    return suggest


def lightning(lr, losses):
    from lightning.pytorch import Trainer
    from lightning.pytorch.tuner import Tuner

    from lrfinder.benchmark import Problem
    from lrfinder.benchmark.peers.lightning import module_of

    logging.getLogger("lightning.pytorch").setLevel(logging.CRITICAL)
    problem = Problem(*replay(losses), [])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu", default_root_dir=folder, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        with contextlib.redirect_stderr(io.StringIO()):
            found = Tuner(trainer).lr_find(module_of(problem), problem.train_loader)
    found.results["lr"] = list(lr[: len(found.results["loss"])])
    return found.suggestion()


def ignite(lr, losses):
    from ignite.engine import create_supervised_trainer
    from ignite.handlers import FastaiLRFinder

    model, optimizer, criterion, loader = replay([*losses, losses[-1]])
    trainer = create_supervised_trainer(model, optimizer, criterion)
    finder = FastaiLRFinder()
    saved = {"model": model, "optimizer": optimizer}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with finder.attach(trainer, saved, num_iter=len(losses), start_lr=1e-7) as swept:
            swept.run(loader)
    # It takes one step more than it is asked for.
    finder._history = {
        "lr": list(lr[: len(finder._history["loss"])]),
        "loss": finder._history["loss"][: len(losses)],
    }
    return finder.lr_suggestion()


LIBRARIES = {
    "torch-lr-finder": ("torch_lr_finder", torch_lr_finder),
    "fastai-valley": ("fastai", fastai("fastai valley")),
    "fastai-slide": ("fastai", fastai("fastai slide")),
    "fastai-minimum": ("fastai", fastai("fastai minimum")),
    "fastai-steep": ("fastai", fastai("fastai steep")),
    "lightning": ("lightning", lightning),
    "ignite": ("ignite", ignite),
}


def constructed(seed):
    """A noisy fall and rise of 100 losses, somewhere on the range and of any height."""
    random = np.random.default_rng(seed)
    x = np.linspace(-7, 1, 100)
    fall = 1 / (1 + np.exp(-(x - random.uniform(-4, -1)) / random.uniform(0.1, 0.8)))
    rise = np.expm1(np.clip(3 * (x - random.uniform(-1, 1.5)), 0, 20))
    noise = random.choice([0.001, 0.02, 0.1]) * random.normal(size=100)
    loss = random.uniform(0.3, 5) * (1.2 - fall + rise + noise)
    return np.geomspace(1e-7, 10, 100), np.maximum(loss, 1e-3).astype(np.float32).astype(float)


def main():
    from lrfinder import LRFinder
    from lrfinder.benchmark.tasks import TASKS

    FOLDER.mkdir(parents=True, exist_ok=True)
    expected = {}
    for task in RECORDED:
        problem = TASKS[task].problem(0)
        finder = LRFinder(problem.model, problem.optimizer, problem.criterion)
        # Beyond where ours would stop, so that each library stops where it would.
        result = finder.range_test(problem.train_loader, diverge_th=1e6, progress=False)
        result.save(FOLDER / f"{task}.json")
        curve = result.curve()
        expected[task] = {rule: says(curve.lr, curve.loss) for rule, (_, says) in LIBRARIES.items()}
    EXPECTED.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
