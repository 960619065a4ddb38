"""What is installed: metadata, the files of the wheel, and what the README promises."""

import re
import subprocess
import sys
import zipfile
from importlib.metadata import metadata, requires, version
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

import lrfinder
from lrfinder import LRFinder
from lrfinder.cli import demo_task

ROOT = Path(__file__).parent.parent


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_stands_in_one_place():
    assert version("lrfinder") == lrfinder.__version__
    number = re.escape(lrfinder.__version__)
    holders = [
        path.relative_to(ROOT).as_posix()
        for path in (*ROOT.glob("lrfinder/**/*.py"), ROOT / "pyproject.toml", ROOT / "README.md")
        if re.search(rf"(?<![\d.]){number}(?![\d.])", path.read_text(encoding="utf-8"))
    ]
    assert holders == ["lrfinder/_version.py"]


def test_the_changelog_tells_this_version_first():
    releases = re.findall(r"^## \[(\d[^\]]*)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert releases[0] == lrfinder.__version__


def test_the_core_needs_four_packages_and_no_more():
    required = map(Requirement, requires("lrfinder"))
    core = {one.name for one in required if one.marker is None}
    assert core == {"torch", "numpy", "matplotlib", "tqdm"}


@pytest.mark.parametrize("extra", ["demo", "notebooks"])
def test_images_come_with_the_extras_that_show_them(extra):
    assert {"torchvision", "scikit-learn"} <= with_extra(extra)


def with_extra(extra):
    """The packages of an extra, with those of the extras that it names."""
    names = set()
    for one in map(Requirement, requires("lrfinder")):
        if one.marker is None or not one.marker.evaluate({"extra": extra}):
            continue
        names |= set().union(*map(with_extra, one.extras)) if one.name == "lrfinder" else {one.name}
    return names


def test_every_extra_that_is_named_anywhere_exists():
    offered = set(metadata("lrfinder").get_all("Provides-Extra"))
    for path in (*ROOT.glob("lrfinder/**/*.py"), ROOT / "README.md", ROOT / "pyproject.toml"):
        text = path.read_text(encoding="utf-8")
        for named in re.findall(r"""["'](?:lrfinder|\.)\[([a-z,]+)\]["']""", text):
            assert set(named.split(",")) <= offered, path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in the wheel that is built from this tree, its entry points and its metadata."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        names = set(archive.namelist())
        texts = [
            archive.read(next(name for name in names if name.endswith(end))).decode()
            for end in ("entry_points.txt", "METADATA")
        ]
        return names, *texts


def test_a_wheel_holds_every_module_its_types_and_nothing_else(wheel):
    names, *_ = wheel
    modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("lrfinder/**/*.py")}
    shipped = {name for name in names if ".dist-info/" not in name}
    assert {"lrfinder/py.typed", *modules} <= shipped
    assert {name.partition("/")[0] for name in shipped} == {"lrfinder"}
    assert not {name for name in shipped if "__pycache__" in name}


def test_a_wheel_carries_the_licence_and_the_command(wheel):
    names, entry_points, _ = wheel
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert "lrfinder = lrfinder.cli:main" in entry_points


def test_an_index_page_shows_the_readme_without_targets_that_only_the_repository_has(wheel):
    *_, shown = wheel
    assert "# lrfinder" in shown
    assert all(target.startswith(("https:", "#")) for target in re.findall(r"\]\(([^)]*)\)", shown))
    words = re.findall(r"!\[([^\]]+)\]", read("README.md"))
    assert all(description in shown for description in words)


def test_what_developers_need_is_no_extra():
    offered = set(metadata("lrfinder").get_all("Provides-Extra"))
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    groups = tomllib.loads(read("pyproject.toml"))["dependency-groups"]
    assert not offered & groups.keys()


@pytest.mark.parametrize(
    "name", [".github/workflows/ci.yml", ".pre-commit-config.yaml", ".readthedocs.yaml"]
)
def test_checks_are_started_by_the_names_of_their_sessions(name):
    session = r"^@check.*\n(?:@.*\n)*def (\w+)\("
    sessions = set(re.findall(session, read(".ci/noxfile.py"), re.MULTILINE))
    text = read(name)
    started = re.findall(r"\.ci/run ([a-z ]+)", text)
    started += re.findall(r"session: \[([a-z, ]+)\]", text)
    assert started
    assert set(re.findall(r"[a-z]+", " ".join(started))) <= sessions
    assert not re.search(r"\b(pytest|ruff|mypy|mkdocs|nox)\b", text)


def test_the_readmes_examples_run_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recommending, scheduling = re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    task = demo_task.build("digits", "sgd")
    scope = task._asdict()
    exec(compile(recommending, "README.md", "exec"), scope)
    assert (tmp_path / "curve.png").stat().st_size > 1000
    assert task.optimizer.param_groups[0]["lr"] == scope["suggestion"].lr
    exec(compile(scheduling, "README.md", "exec"), scope)
    assert isinstance(scope["scheduler"], torch.optim.lr_scheduler.OneCycleLR)
    assert scope["scheduler"].total_steps == 1000


def test_the_readmes_pictures_and_links_are_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", read("README.md")):
        assert (ROOT / target).is_file(), target


def test_the_names_of_torch_lr_finder_that_the_readme_keeps_are_there():
    """What the table of differences does not mention has to work unchanged."""
    parameters = LRFinder.range_test.__annotations__
    kept = {"train_loader", "val_loader", "start_lr", "end_lr", "num_iter", "step_mode"}
    assert kept | {"smooth_f", "diverge_th", "accumulation_steps"} <= set(parameters)
    plotted = set(LRFinder.plot.__annotations__)
    assert {"skip_start", "skip_end", "log_lr", "show_lr", "ax"} <= plotted
    model = torch.nn.Linear(1, 1)
    finder = LRFinder(model, torch.optim.SGD(model.parameters()), torch.nn.MSELoss(), "cpu")
    assert finder.history == {"lr": [], "loss": []}
    assert finder.reset() is None


def test_the_readmes_commands_are_two_lines_that_stand_alone():
    lines = [line for line in read("README.md").splitlines() if line.startswith("python3 -m venv")]
    assert len(lines) == 2
    for line, last in zip(lines, ("lrfinder demo", "python -m pytest"), strict=True):
        steps = line.split(" && ")
        assert steps[0] == "python3 -m venv .venv"
        assert steps[-1] == f".venv/bin/{last}"
