"""Every check of this project, one session each.

`.ci/run` runs them all, two at a time, and `.ci/run lint types` those two. The workflow and the
commit hooks start the same sessions, so a command of a check stands here and nowhere else.
"""

import functools
import os
import re
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / ".nox/dist"
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")

nox.needs_version = ">=2026.10.20"  # knows `requires` and `parallel`
nox.options.envdir = str(ROOT / ".nox")
nox.options.reuse_venv = "yes"
nox.options.parallel = 2
nox.options.allow_parallel = True

# Half of an installation would be to compile every module of every package, where few are imported.
os.environ["PIP_NO_COMPILE"] = "no"  # to pip, "no" turns such an option on
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiled them anew
TWO_WORKERS = "-n 2 --dist loadfile"
# Seconds after which tests that hang are ended with all that they started: nobody watches here.
LIMIT = ("timeout", "--kill-after=10", "1500") if shutil.which("timeout") else ()
# What the checkout offers beyond the package itself, and what needs other processes or libraries.
NOT_CORE = [
    "tests/benchmarks",
    "tests/cli",  # the demo runs the command of the wheel
    "tests/distributed",
    "tests/gpu",
    "tests/integrations",
    "tests/notebooks",
    "tests/recommend",  # the search is arithmetic, and the demo recommends with every version
    "tests/test_package.py",
]


def check(**options):
    """Make a session that runs at the root of the checkout, not beside this file."""

    def register(function):
        @nox.session(**options)
        @functools.wraps(function)
        def at_root(session, *arguments, **keywords):
            with session.chdir(ROOT):
                function(session, *arguments, **keywords)

        return at_root

    return register


_in_venv = []  # the names of sessions that work in `.venv`


def check_in_venv(function):
    """Make a session that works in `.venv`, in turn: after all of those above it."""
    session = check(venv_backend="none", requires=[*_in_venv])(function)
    _in_venv.append(function.__name__)
    return session


def install(session, *groups):
    """Install the checkout with dependency groups into `.venv`, as the README's commands do."""
    if not Path(".venv").exists():
        session.run("python3", "-m", "venv", ".venv")
    pip = [".venv/bin/python", "-m", "pip", "install", "--quiet"]
    session.run(*pip, "--upgrade", "pip")  # the one that comes with Python may not know `--group`
    session.run(*pip, "-e", ".", *(f"--group={group}" for group in groups))


def readme_command(number):
    """Return one of the two commands that a new user copies out of the README."""
    commands = re.findall(r"^python3 -m venv .*", Path("README.md").read_text("utf-8"), re.M)
    if len(commands) != 2:
        raise ValueError(f"README.md should have two such commands, not {len(commands)}")
    return commands[number]


@check()
def lint(session):
    """Format, lint, and the order of imports."""
    session.install("--group=lint")
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("lint-imports")


@check_in_venv
def demo(session):
    """The README's first command, in a new environment."""
    shutil.rmtree(".venv", ignore_errors=True)
    folder = session.create_tmp()
    session.run("bash", "-ec", f"{readme_command(0)} --output '{folder}'")
    session.run("ls", "-l", f"{folder}/lr_finder.png", f"{folder}/lr_finder.json")


@check_in_venv
def types(session):
    """All types."""
    install(session, "dev")
    session.run(".venv/bin/mypy")


@check_in_venv
def docs(session):
    """The site, with every notebook executed and every link checked, into `build/site`."""
    install(session, "dev")
    session.run(
        ".venv/bin/mkdocs", "build", "--strict", "--config-file", "notebooks/site/mkdocs.yml"
    )


@check_in_venv
def tests(session):
    """The README's second command, with branch coverage."""
    for file in ROOT.glob(".coverage*"):
        file.unlink()
    # The session `docs` executes every notebook.
    twice = "--deselect tests/notebooks/test_notebooks.py::test_runs_from_a_clean_kernel"
    addopts = f"{os.environ.get('PYTEST_ADDOPTS', '')} --cov --cov-report= {twice} {TWO_WORKERS}"
    session.run(*LIMIT, "bash", "-ec", readme_command(1), env={"PYTEST_ADDOPTS": addopts})
    report = ("report", "--skip-covered", "--show-missing", "--fail-under=95")
    session.run(".venv/bin/coverage", *report)


@check_in_venv
def baselines(session):
    """The tests with other finders, and with libraries whose objects people pass in."""
    install(session, "dev", "baselines", "clients")
    fastai = ["install", "--quiet", "--no-deps", "fastai"]
    session.run(".venv/bin/pip", *fastai)  # without spacy, which it pins
    tests = sorted(str(path) for path in Path("tests").rglob("test_*.py") if needs_baseline(path))
    pytest = [".venv/bin/python", "-m", "pytest", "-rs", *TWO_WORKERS.split()]
    session.run(*LIMIT, *pytest, *tests)


def needs_baseline(path):
    """Return whether tests are skipped where a library of the groups above is missing."""
    text = path.read_text("utf-8")
    libraries = (
        "fastai|torch_lr_finder|optuna|prodigyopt|schedulefree|dadaptation|monai|opacus|"
        "albumentations|torch_geometric|pytorch_optimizer"
    )
    skips = re.search("importorskip|is not installed", text)
    return bool(skips and ("benchmarks" in path.parts or re.search(libraries, text)))


@check()
def package(session):
    """The wheel and the source distribution."""
    session.install("--group=release")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", DIST)
    files = [str(path) for path in sorted(DIST.iterdir())]
    session.run("twine", "check", "--strict", *files)
    session.run("check-wheel-contents", *(file for file in files if file.endswith(".whl")))


@check(reuse_venv=False, requires=["package"])
@nox.parametrize("versions", ["newest", "oldest"])
def core(session, versions):
    """The demo and the core tests against the wheel, with the newest and oldest versions."""
    wheel = next(DIST.glob("*.whl"), None)
    if wheel is None:
        session.error("there is no wheel to test: run `.ci/run package core`")
    wanted = [f"{wheel}[demo]", "--group=run-tests"]
    if versions == "oldest":
        promised = [*PROJECT["project"]["dependencies"], *extra("demo")]
        wanted += [one.replace(">=", "==") + ".*" for one in promised if ">=" in one]
    session.install(*wanted)
    session.run("pip", "list")
    folder = Path(session.create_tmp())
    session.run("lrfinder", "demo", "--output", str(folder))
    # A copy, so that `import lrfinder` cannot mean the checkout.
    copy = folder / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("tests", "data", "README.md", "pyproject.toml"):
        (shutil.copytree if Path(name).is_dir() else shutil.copy)(name, copy / name)
    with session.chdir(copy):
        left_out = [f"--ignore={path}" for path in NOT_CORE]
        pytest = ["python", "-m", "pytest", "-m", "not slow", "tests", *left_out]
        session.run(*LIMIT, *pytest, external=bool(LIMIT))


def extra(name):
    """Return what an extra of the package asks for."""
    return PROJECT["project"]["optional-dependencies"][name]
