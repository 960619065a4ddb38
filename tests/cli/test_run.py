"""`lrfinder run`."""

import itertools
import math
import runpy

import pytest

from lrfinder import LRFinder, Recommendation
from tests.cli.conftest import SHORT, saved_sweep

TASK = """
    import itertools
    import os
    import torch
    from torch import nn
    from lrfinder import LRFinder

    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    inputs = torch.randn(16, 4)
    batches = [(inputs, inputs.sum(1, keepdim=True))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    setting = 3

    def setup():
        return model, optimizer, nn.MSELoss(), batches

    def with_validation():
        return *setup(), [(inputs, torch.zeros(16, 1))]

    def two_groups():
        groups = [{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.05}]
        return model, torch.optim.SGD(groups), nn.MSELoss(), batches

    def only_rises():
        losses = itertools.count(1)
        return model, optimizer, lambda outputs, _: outputs.sum() * 0 + next(losses), batches

    def too_few():
        return model, optimizer

    def finder():
        step = lambda model, batch: {"loss": nn.functional.mse_loss(model(batch[0]), batch[1])}
        return LRFinder(model, optimizer, training_step=step), batches

    def overflows():
        model.weight.register_hook(lambda gradient: gradient / 0)
        scaler = torch.amp.GradScaler("cpu")
        return LRFinder(model, optimizer, nn.MSELoss(), scaler=scaler), batches

    def shuffled():
        data = torch.utils.data.TensorDataset(torch.arange(96.0).reshape(96, 1) / 96)
        net = nn.Linear(1, 1)
        dtypes = open("dtypes.txt", "a", buffering=1)
        norms = open("norms.txt", "a", buffering=1)

        def criterion(outputs, targets):
            dtypes.write(f"{outputs.dtype} {len(outputs)}\\n")
            return (outputs.float() - 3 * targets).square().mean() * 100

        def collate(rows):
            x = torch.stack([row[0] for row in rows])
            return x, x

        sgd = torch.optim.SGD(net.parameters(), lr=0.1)
        norm = lambda: torch.nn.utils.get_total_norm([p.grad for p in net.parameters()]).item()
        sgd.register_step_pre_hook(lambda *_: norms.write(f"{norm()}\\n") and None)
        loader = torch.utils.data.DataLoader(data, batch_size=32, collate_fn=collate)
        return net, sgd, criterion, loader

    def wrong_order():
        return optimizer, model, nn.MSELoss(), batches

    def nothing():
        pass

    def needs_arguments(size):
        return setup()

    def no_batch():
        return model, optimizer, nn.MSELoss(), []

    def elsewhere():
        os.makedirs("run", exist_ok=True)
        os.chdir("run")
        return setup()

    def fails():
        def loader():
            yield batches[0]
            raise LookupError("the user's loader")
        return model, optimizer, nn.MSELoss(), loader()
"""


@pytest.fixture
def task(write):
    return write("user_task.py", TASK)


def test_a_function_in_a_file_is_swept_and_the_files_are_written(command, task, tmp_path):
    status, out, _ = command(
        *("run", f"{task}:setup", "--sweep-only", "--end-lr", 100, "--num-iter", 60)
    )
    result = saved_sweep(tmp_path / "lr_finder.json")
    assert status == 0
    assert (tmp_path / "lr_finder.png").is_file()
    assert f"{result.suggest().lr:.2e}" in out
    assert math.isclose(result.lr[1] / result.lr[0], (100 / 1e-7) ** (1 / 59), rel_tol=1e-9)


@pytest.mark.parametrize("options", [(), ("--output", "found")])
def test_files_go_where_the_user_is_although_the_function_changes_the_directory(
    command, task, tmp_path, options
):
    assert command("run", f"{task}:elsewhere", *SHORT, *options).status == 0
    assert (tmp_path / "/".join(options[1:]) / "lr_finder.json").is_file()


def test_the_finished_bar_shows_the_last_step(command, task, tmp_path):
    _, _, err = command("run", f"{task}:setup", "--sweep-only")
    result = saved_sweep(tmp_path / "lr_finder.json")
    last = err.rstrip().rpartition("\r")[2]
    assert f"{len(result)}/100" in last
    assert f"lr={result.lr[-1]:.2e}, loss={result.loss[-1]:.4g}]" in last


def test_a_function_in_a_module_is_found_from_the_working_directory(command, write, tmp_path):
    write("user_package/__init__.py", "")
    write("user_package/training.py", TASK)
    assert command("run", "user_package.training:setup", *SHORT).status == 0
    assert (tmp_path / "lr_finder.json").is_file()


def test_a_file_of_any_name_can_import_its_neighbours(command, write):
    write("elsewhere/user_neighbour.py", TASK)
    write("elsewhere/my-task.v2.py", "from user_neighbour import setup")
    assert command("run", "elsewhere/my-task.v2.py:setup", *SHORT).status == 0


def test_a_validation_loader_is_what_the_suggestion_is_read_off(command, task, tmp_path):
    _, out, _ = command("run", f"{task}:with_validation", "--sweep-only", "--num-iter", 20)
    result = saved_sweep(tmp_path / "lr_finder.json")
    validated, trained = (f"{result.suggest(on=on).lr:.2e}" for on in ("val_loss", "loss"))
    assert out.startswith(f"Suggested lr:   {validated}\n")
    assert validated != trained
    assert len(result.val_loss) == len(result)


def test_every_group_is_told_its_rate(command, task, tmp_path):
    _, out, _ = command("run", f"{task}:two_groups", "--sweep-only")
    suggestion = saved_sweep(tmp_path / "lr_finder.json").suggest()
    assert f"\nEvery group:    {suggestion.lr:.2e}, {suggestion.lr / 2:.2e}\n" in out


def test_what_is_doubtful_about_a_curve_is_told_with_the_suggestion(command, task, tmp_path):
    _, out, _ = command("run", f"{task}:setup", *SHORT)
    suggestion = saved_sweep(tmp_path / "lr_finder.json").suggest()
    assert f"\nConfidence:     {suggestion.confidence.value}\n" in out
    assert suggestion.findings
    for finding in suggestion.findings:
        assert f"\nNote:           {finding}\n" in out


def test_only_the_first_of_several_processes_writes_and_prints(
    command, task, tmp_path, monkeypatch
):
    monkeypatch.setenv("RANK", "1")  # as torchrun sets it
    assert command("run", f"{task}:setup", *SHORT)[:2] == (0, "")
    assert not (tmp_path / "lr_finder.json").exists()


def test_worker_processes_find_the_classes_of_the_file(command, write, tmp_path):
    """A spawned worker starts from nothing and imports what it unpickles by name."""
    write(
        "user_workers.py",
        """
        import torch
        from torch import nn
        from torch.utils.data import DataLoader, Dataset

        class Numbers(Dataset):
            def __len__(self):
                return 64

            def __getitem__(self, index):
                x = torch.tensor([index / 64])
                return x, 3 * x

        def setup():
            model = nn.Linear(1, 1)
            loader = DataLoader(
                Numbers(), batch_size=64, num_workers=1, multiprocessing_context="spawn",
                persistent_workers=True,
            )
            return model, torch.optim.SGD(model.parameters(), lr=0.1), nn.MSELoss(), loader
        """,
    )
    command("run", "user_workers.py:setup", "--sweep-only", "--num-iter", 4)
    assert len(saved_sweep(tmp_path / "lr_finder.json")) == 4


def test_a_sweep_without_a_step_has_its_reason(command, task):
    outcome = command("run", f"{task}:overflows", *SHORT)
    assert outcome.status == 1
    assert "0 steps. The optimizer skipped step after step." in outcome.out
    assert "skipped 64 steps in a row" in outcome.err


def test_where_no_rate_is_found_the_files_are_written_and_the_status_is_1(command, task, tmp_path):
    status, out, err = command("run", f"{task}:only_rises")
    assert status == 1
    assert out.startswith("Sweep alone:    no rate, ")
    assert (tmp_path / "lr_finder.png").is_file()
    assert (tmp_path / "lr_finder.json").is_file()
    assert err.splitlines()[-1].startswith("lrfinder: error: ")


@pytest.mark.parametrize(
    ("function", "got"),
    [
        ("too_few", "Linear, SGD"),
        ("wrong_order", "SGD, Linear, MSELoss, list"),
        ("nothing", "NoneType"),
    ],
)
def test_a_function_that_returns_something_else_is_told_what_to_return(
    command, task, tmp_path, function, got
):
    status, out, err = command("run", f"{task}:{function}")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "(model, optimizer, criterion, train_loader)" in err
    assert "(LRFinder, train_loader)" in err
    assert err.endswith(f"got {got}\n")
    assert not (tmp_path / "lr_finder.json").exists()


def test_what_the_library_refuses_is_one_line(command, task):
    status, out, err = command("run", f"{task}:no_batch")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("lrfinder: error: the loader is empty")
    assert "Traceback" not in err


def test_an_exception_of_the_users_loader_arrives_unchanged(command, task):
    with pytest.raises(LookupError, match="the user's loader"):
        command("run", f"{task}:fails", *SHORT)


def test_an_import_that_fails_inside_the_users_module_arrives_unchanged(command, write):
    write("user_broken.py", "import user_package_that_is_not_installed")
    with pytest.raises(ModuleNotFoundError, match="user_package_that_is_not_installed"):
        command("run", "user_broken:setup")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("user_task.py",), "FILE.py:FUNCTION or package.module:function, got 'user_task.py'"),
        ((":setup",), "FILE.py:FUNCTION or package.module:function, got ':setup'"),
        (("nowhere.py:setup",), "'nowhere.py'"),
        (("user_nowhere:setup",), "'user_nowhere'"),
        (("user_task.nowhere:setup",), "'user_task.nowhere'"),
        (("./user_task:setup",), "'./user_task'"),
        (("user_task.py:missing",), "got no 'missing'"),
        (("user_task.py:setting",), "'setting', a int"),
        (("user_task.py:needs_arguments",), "missing a required argument: 'size'"),
        (("user_task.py:setup", "--num-iter", "1"), "--num-iter"),
        (("user_task.py:setup", "--num-iter", "many"), "--num-iter"),
        (("user_task.py:setup", "--num-iter", 10**15), "--num-iter"),
        (("user_task.py:setup", "--output", "user_task.py"), "user_task.py is a file"),
        (("user_task.py:setup", "--end-lr", "inf"), "--end-lr"),
        (("user_task.py:setup", "--start-lr", "-1"), "--start-lr"),
        (
            ("user_task.py:setup", "--start-lr", "1", "--end-lr", "0.1"),
            "--start-lr must be below --end-lr, got 1 and 0.1",
        ),
        (("user_task.py:setup", "--step-mode", "cosine"), "cosine"),
        (("user_task.py:setup", "--step-mode", "linear"), "add --sweep-only"),
        (("user_task.py:setup", "--num-iter", "100"), "add --sweep-only"),
        (("user_task.py:setup", "--budget", "300", "--sweep-only"), "remove --sweep-only"),
        (("user_task.py:setup", "--total-steps", "9", "--sweep-only"), "remove --sweep-only"),
        (("user_task.py:setup", "--budget", 10**15), "--budget"),
        (("user_task.py:setup", "--budget", "119"), "--budget: must be from 120"),
        (("user_task.py:setup", "--total-steps", "0"), "--total-steps"),
        (("user_task.py:setup", "--accumulation-steps", "0"), "--accumulation-steps"),
        (("user_task.py:setup", "--clip-grad", "0"), "--clip-grad"),
        (("user_task.py:setup", "--precision", "fp8"), "fp8"),
        (("user_task.py:finder", "--precision", "bf16"), "set clip_grad, autocast and scaler"),
        (("user_task.py:finder", "--clip-grad", "1"), "set clip_grad, autocast and scaler"),
    ],
)
def test_wrong_usage_is_status_2_with_what_was_wrong(command, task, tmp_path, arguments, says):
    status, out, err = command("run", *arguments)
    assert (status, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("lrfinder run: error: ")
    assert says in last
    assert not (tmp_path / "lr_finder.json").exists()


@pytest.mark.parametrize("options", [{}, {"budget": 150, "total_steps": 1000}])
def test_by_default_the_rate_is_the_one_that_the_library_recommends(
    command, task, tmp_path, options
):
    user = runpy.run_path(str(task))
    model, optimizer, criterion, batches = user["setup"]()
    finder = LRFinder(model, optimizer, criterion)
    expected = finder.recommend(batches, progress=False, **options)
    given = [(f"--{name.replace('_', '-')}", value) for name, value in options.items()]
    status, out, _ = command("run", f"{task}:setup", *itertools.chain(*given))
    assert status == 0
    assert out.startswith(f"Recommended lr: {expected.lr:.2e}\nWhy:            {expected.why}")
    assert saved_sweep(tmp_path / "lr_finder.json").loss == finder.result.loss


def test_a_validation_loader_compares_the_trials(command, task, tmp_path):
    user = runpy.run_path(str(task))
    model, optimizer, criterion, *loaders = user["with_validation"]()
    expected = LRFinder(model, optimizer, criterion).recommend(*loaders, progress=False)
    status, out, _ = command("run", f"{task}:with_validation")
    assert status == 0
    assert out.startswith(f"Recommended lr: {expected.lr:.2e}\nWhy:            {expected.why}")
    assert "with the validation loss at" in out
    assert Recommendation.load(tmp_path / "lr_finder.json").trials == expected.trials


def test_the_function_may_return_a_finder_and_its_loader(command, task):
    usual = command("run", f"{task}:setup")
    own = command("run", f"{task}:finder")
    assert own.status == 0
    assert own.out == usual.out


def test_the_options_of_the_training_step_reach_it(command, task, tmp_path):
    options = ("--accumulation-steps", 3, "--clip-grad", 0.5, "--precision", "bf16")
    sweep = ("--sweep-only", "--num-iter", 10, "--end-lr", 1e-3)
    command("run", f"{task}:shuffled", *sweep, *options)
    result = saved_sweep(tmp_path / "lr_finder.json")
    assert result.batch_size == 96
    seen = (tmp_path / "dtypes.txt").read_text().splitlines()
    assert set(seen) == {"torch.bfloat16 32"}
    assert len(seen) == 30
    norms = [float(line) for line in (tmp_path / "norms.txt").read_text().splitlines()]
    assert norms == pytest.approx([0.5] * 10, rel=1e-3)


def test_fp16_has_a_gradient_scaler(command, task, tmp_path):
    """Its first scale, 65536, overflows here: those steps are skipped and not recorded."""
    sweep = ("--sweep-only", "--num-iter", 10, "--end-lr", 1e-3)
    command("run", f"{task}:shuffled", *sweep, "--precision", "fp16")
    seen = (tmp_path / "dtypes.txt").read_text().splitlines()
    assert set(seen) == {"torch.float16 32"}
    assert len(seen) > 10
    assert len(saved_sweep(tmp_path / "lr_finder.json")) == 10
    norms = [float(line) for line in (tmp_path / "norms.txt").read_text().splitlines()]
    assert len(norms) == 10
    assert max(norms) < 1e4
