"""The pages name what exists: in this library, and in the libraries that readers come from."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
from lrfinder import Diagnosis, LRFinder, schedules
from lrfinder.suggestion import METHODS

FOLDER = Path(__file__).parents[2] / "notebooks"
FRAMEWORKS = {
    "lightning": ["lightning"],
    "hugging_face": ["transformers", "accelerate"],
    "coming_from": ["lightning", "ignite"],
}
PAGES = sorted(FOLDER.glob("*.md"))
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)

OURS = {
    "LRFinder": LRFinder,
    **{f"finder.{name}": getattr(LRFinder, name) for name in dir(LRFinder) if name[0] != "_"},
    **{f"schedules.{name}": getattr(schedules, name) for name in schedules.__all__},
}
BASELINES = {
    "torch-lr-finder": {
        "LRFinder": "torch_lr_finder:LRFinder",
        "lr_finder.range_test": "torch_lr_finder:LRFinder.range_test",
        "lr_finder.plot": "torch_lr_finder:LRFinder.plot",
        "lr_finder.reset": "torch_lr_finder:LRFinder.reset",
    },
    "fastai": {
        "learn.lr_find": "fastai.callback.schedule:Learner.lr_find",
        "learn.fit_one_cycle": "fastai.callback.schedule:Learner.fit_one_cycle",
        "learn.fit_flat_cos": "fastai.callback.schedule:Learner.fit_flat_cos",
        "learn.recorder.plot_lr_find": "fastai.callback.schedule:Recorder.plot_lr_find",
    },
    "Lightning": {
        "Tuner.lr_find": "lightning.pytorch.tuner:Tuner.lr_find",
        "LearningRateFinder": "lightning.pytorch.callbacks:LearningRateFinder",
        "found.suggestion": "lightning.pytorch.tuner.lr_finder:_LRFinder.suggestion",
        "found.plot": "lightning.pytorch.tuner.lr_finder:_LRFinder.plot",
    },
    "ignite": {
        f"finder.{name}": f"ignite.handlers.lr_finder:FastaiLRFinder.{name}"
        for name in ("attach", "lr_suggestion", "apply_suggested_lr", "plot", "get_results")
    },
}
INTEGRATIONS = {
    "Lightning": {
        name: f"lrfinder.integrations.lightning:{name}"
        for name in ("range_test", "RangeTest", "recommend", "Recommend")
    },
    "ignite": {"attach": "lrfinder.integrations.ignite:attach"},
}


def look_up(place):
    module, _, path = place.partition(":")
    pytest.importorskip(module.partition(".")[0])
    try:
        value = importlib.import_module(module)
    except lrfinder.MissingExtraError as error:
        pytest.skip(str(error))
    for name in path.split("."):
        value = getattr(value, name)
    return value


def rows(name, heading):
    """Return the cells of the table under a heading, without its own first row."""
    section = (FOLDER / name).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def calls(code):
    """Yield each call in a line of code: the dotted name and the node."""
    code = code.strip()
    tree = ast.parse(f"{code} pass" if code.endswith(":") else code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func).replace("Tuner(trainer)", "Tuner"), node


def check(code, known):
    """Hold every call of a known function in a line of code to its signature."""
    for name, node in calls(code):
        if name not in known:
            continue
        function = look_up(known[name]) if isinstance(known[name], str) else known[name]
        bound = inspect.signature(function)
        is_method = "self" in bound.parameters
        arguments = [None] * (len(node.args) + is_method)
        keywords = {keyword.arg: None for keyword in node.keywords}
        bound.bind(*arguments, **keywords)
        if name == "finder.suggest":
            assert all(
                ast.literal_eval(argument) in METHODS
                for argument in node.args
                if isinstance(argument, ast.Constant)
            )
    return [name for name, _ in calls(code)]


def prose(name):
    """Return a page without its blocks of code."""
    return re.sub(r"```.*?```", "", (FOLDER / name).read_text(), flags=re.DOTALL)


def spans(cell):
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("library", BASELINES)
def test_the_lines_of_coming_from_fit_both_libraries(library):
    theirs, ours = BASELINES[library], OURS | INTEGRATIONS.get(library, {})
    checked = []
    for _, left, right in rows("coming_from.md", library):
        for code in spans(left):
            checked += [name for name in check(code, theirs) if name in theirs]
        for code in spans(right):
            checked += [name for name in check(code, ours) if name in ours]
    assert set(theirs) <= set(checked)
    assert "finder.suggest" in checked or "range_test" in checked


def test_every_schedule_rule_and_diagnosis_has_a_place_on_the_page():
    mentioned = set(spans(prose("which_rate.md")))
    assert set(schedules.__all__) - {"rates", "plot_schedule"} <= mentioned
    assert {f'"{name}"' for name in METHODS} <= mentioned
    told = {row[0] for row in rows("which_rate.md", "What is wrong with my curve?")}
    assert told == {diagnosis.value for diagnosis in Diagnosis}


@each_page
def test_calls_on_the_pages_fit_their_signatures(path):
    for code in spans(prose(path.name)):
        if re.match(r"(finder|schedules)\.\w+\(", code):
            check(code, OURS)


@each_page
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert (FOLDER / target).exists(), target


@pytest.mark.parametrize("name", ["README.md", "notebooks/which_rate.md"])
def test_measured_numbers_are_those_of_the_report(name):
    """Mean / median / worst: a row's cells stand side by side in the report."""
    report = (FOLDER.parent / "data/benchmark/README.md").read_text()
    number = r"\d[\d.]*(?:e\+\d+)?"
    cell = f"{number} / {number} / {number}"
    measured = [re.findall(cell, line) for line in (FOLDER.parent / name).read_text().splitlines()]
    assert any(measured)
    for cells in filter(None, measured):
        assert " | ".join(cells) in report, cells


def test_the_index_lists_every_notebook_and_page():
    text = (FOLDER / "README.md").read_text()
    files = {path.name for path in FOLDER.iterdir() if path.suffix in (".ipynb", ".md")}
    assert all(f"({name})" in text for name in files - {"README.md"})


def regression():
    """A training that every page can use: batches of inputs and of the sums of their rows."""
    torch.manual_seed(0)
    inputs = torch.randn(256, 3)
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
    model = nn.Linear(3, 1)
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "criterion": nn.MSELoss(),
        "train_loader": DataLoader(data, batch_size=32),
    }


def scope_of(page):
    """Return what the code of a page needs and does not define."""
    scope = regression()
    pairs = scope["train_loader"]
    if page == "own_training_step":
        scope["model"] = nn.Linear(3, 2)
        scope["optimizer"] = torch.optim.SGD(scope["model"].parameters(), lr=0.1)
        scope["train_loader"] = [{"image": x, "label": (y > 0).long().flatten()} for x, y in pairs]
        scope |= {"torch": torch, "critic": nn.Linear(3, 1), "generator": nn.Linear(16, 3)}
        for name in ("critic", "generator"):
            scope[f"{name}_optimizer"] = torch.optim.Adam(scope[name].parameters())
    if page == "hugging_face":
        scope["trainer"] = hugging_face_trainer(pairs.dataset)
    return scope


def lightning_module():
    from lightning.pytorch import LightningModule

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.lr = 0.1
            self.layer = nn.Linear(3, 1)

        def training_step(self, batch):
            return nn.functional.mse_loss(self.layer(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    return Module()


def hugging_face_trainer(data):
    import transformers

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x, labels):
            return {"loss": nn.functional.mse_loss(self.layer(x), labels)}

    samples = [{"x": x, "labels": y} for x, y in data]
    arguments = transformers.TrainingArguments(
        "trainer", max_steps=3, use_cpu=True, report_to=[], save_strategy="no"
    )
    return transformers.Trainer(Model(), arguments, train_dataset=samples)


def blocks_of(page):
    text = (FOLDER / f"{page}.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run_blocks(page, blocks, scope):
    for block in blocks:
        if page == "lightning":  # what a block has trained has nothing left to learn in the next
            scope["module"] = lightning_module()
        exec(compile(block, f"{page}.md", "exec"), scope)
    return scope


@pytest.mark.parametrize(
    "page", [path.stem for path in PAGES if path.stem != "distributed" and blocks_of(path.stem)]
)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    for framework in FRAMEWORKS.get(page, []):
        pytest.importorskip(framework)
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in blocks_of(page) if "learn." not in block]
    scope = run_blocks(page, blocks, scope_of(page))
    if page == "own_training_step":
        assert len(scope["finder"].range_test(regression()["train_loader"])) > 1
        assert isinstance(scope["setup"]()[0], LRFinder)


def test_a_fastai_learner_runs_as_the_page_says():
    learner = pytest.importorskip("fastai.learner")
    core = pytest.importorskip("fastai.data.core")
    task = regression()
    loaders = core.DataLoaders(task["train_loader"], task["train_loader"])
    learn = learner.Learner(loaders, task["model"], loss_func=task["criterion"])
    blocks = [block for block in blocks_of("coming_from") if "learn." in block]
    scope = run_blocks("coming_from", blocks, {"LRFinder": LRFinder, "learn": learn})
    assert scope["finder"].suggest().lr > 0


def test_the_code_for_several_processes_is_the_code_for_one():
    """It needs GPUs to run: it is compiled, and its calls are held to their signatures."""
    for block in blocks_of("distributed"):
        compile(block, "distributed.md", "exec")
        check(block, OURS)
