"""`lrfinder demo`."""

import socket
import struct
import sys
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

import lrfinder
from lrfinder import LRFinder
from lrfinder.cli import demo_task
from tests.cli.conftest import saved_sweep

CLASSES = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


@pytest.mark.parametrize("name", CLASSES)
def test_the_names_are_those_of_torchs_optimizers(name):
    assert type(demo_task.build("digits", name).optimizer) is CLASSES[name]


@pytest.mark.slow
def test_the_demo_is_what_the_library_recommends_for_its_task(command, tmp_path):
    task = demo_task.build("digits", "adam")
    finder = LRFinder(task.model, task.optimizer, task.criterion)
    expected = finder.recommend(task.train_loader, task.val_loader, total_steps=500, progress=False)

    status, out, err = command("demo", "--optimizer", "adam", "--total-steps", 500)
    saved = saved_sweep(tmp_path / "lr_finder.json")
    assert status == 0, err
    assert (saved.lr, saved.loss) == (finder.result.lr, finder.result.loss)
    lines = out.splitlines()
    assert lines[0] == f"Recommended lr: {expected.lr:.2e}"
    assert expected.why in lines[1]
    assert f"Steps:          {expected.steps}: {len(saved)} in the sweep" in out
    assert f"Sweep alone:    {saved.suggest().lr:.2e}, {saved.suggest().why}" in out


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_sweep_alone_is_the_librarys_range_test(command, tmp_path, name):
    task = demo_task.build("digits", name)
    finder = LRFinder(task.model, task.optimizer, task.criterion)
    expected = finder.range_test(task.train_loader, progress=False)

    status, out, _ = command("demo", "--sweep-only", "--optimizer", name)
    saved = saved_sweep(tmp_path / "lr_finder.json")
    assert status == 0
    assert (saved.lr, saved.loss) == (expected.lr, expected.loss)
    assert f"{finder.suggest().lr:.2e}" in out.splitlines()[0]
    assert finder.suggest().why in out


def test_the_files_it_names_are_a_picture_and_a_result(command, tmp_path):
    status, out, err = command("demo", "--sweep-only", "--output", tmp_path / "new" / "folder")
    assert status == 0
    for name in ("lr_finder.png", "lr_finder.json"):
        assert str(tmp_path / "new" / "folder" / name) in out.splitlines()[-1]
    with Image.open(tmp_path / "new" / "folder" / "lr_finder.png") as picture:
        picture.load()
        assert len(set(picture.convert("RGB").get_flattened_data())) > 3  # more than blank paper
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    for part in ("range test", "step/s", "loss="):  # of the progress bar
        assert part in err


@pytest.mark.parametrize(("mode", "space"), [("exp", np.geomspace), ("linear", np.linspace)])
def test_the_options_of_the_sweep_reach_it(command, tmp_path, mode, space):
    command(
        *("demo", "--sweep-only", "--optimizer", "adam", "--step-mode", mode, "--num-iter", 40),
        *("--start-lr", 1e-4, "--end-lr", 0.02),
    )
    rates = saved_sweep(tmp_path / "lr_finder.json").lr
    assert len(rates) > 20
    np.testing.assert_allclose(rates, space(1e-4, 0.02, 40)[: len(rates)], rtol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_linear_demo_finds_a_rate_without_further_options(command, name):
    linear = ("--sweep-only", "--step-mode", "linear")
    assert command("demo", *linear, "--optimizer", name).status == 0


@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist", "cifar10"])
def test_without_a_network_one_line_names_the_data_set_that_works(command, monkeypatch, dataset):
    def unreachable(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    patience = socket.getdefaulttimeout()
    status, out, err = command("demo", "--dataset", dataset)
    assert status == 1
    assert out == ""
    assert err.count("\n") == 1
    assert dataset in err
    # torchvision before 0.19 leaves the cause out.
    assert "no route to host" in err or "Error downloading" in err
    assert "--dataset digits" in err
    assert socket.getdefaulttimeout() == patience


def test_images_that_are_in_data_already_need_no_network(command, tmp_path):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (640, 28, 28), dtype=np.uint8)
    labels = (images[:, 0, 0] // 26).astype(np.uint8)
    for part in ("train", "t10k"):
        header = struct.pack(">iiii", 0x803, 640, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">ii", 0x801, 640)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    command("demo", "--dataset", "mnist", "--sweep-only", "--num-iter", 10, "--end-lr", 0.01)
    assert len(saved_sweep(tmp_path / "lr_finder.json").loss) > 0


@pytest.mark.parametrize("package", ["torchvision.transforms", "sklearn.datasets"])
def test_a_missing_package_is_named_with_the_extra_that_has_it(command, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    status, out, err = command("demo")
    assert (status, out) == (1, "")
    assert package.partition(".")[0] in err
    assert 'pip install "lrfinder[demo]"' in err
    assert err.count("\n") == 1


def test_another_failing_import_is_not_blamed_on_the_extra(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match="PIL"):
        command("demo")


def test_the_number_of_threads_is_as_before(command):
    torch.set_num_threads(2)
    try:
        command("demo", "--sweep-only", "--num-iter", 10)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_seed_fixes_the_task_and_another_one_changes_it():
    first, again, other = (demo_task.build(seed=seed) for seed in (3, 3, 4))
    weights = [torch.cat([p.flatten() for p in task.model.parameters()]) for task in (first, other)]
    assert torch.equal(weights[0], torch.cat([p.flatten() for p in again.model.parameters()]))
    assert not torch.equal(*weights)


def test_training_and_validation_share_no_image():
    task = demo_task.build()
    held = {image.tobytes() for image in task.val_loader.dataset._images}
    assert not held & {image.tobytes() for image in task.train_loader.dataset._images}
    assert len(task.train_loader.dataset) + len(task.val_loader.dataset) == 1797


@pytest.mark.parametrize("names", [("imagenet", "sgd"), ("digits", "lion")])
def test_an_unknown_data_set_or_optimizer_is_refused(names):
    with pytest.raises(
        lrfinder.InvalidInputError, match=r"(dataset|optimizer) must be one of .*, got"
    ):
        demo_task.build(*names)
