"""The range test with Hugging Face's own Trainer, on a tiny model of random weights."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

pytest.importorskip("transformers")

from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from lrfinder import InvalidInputError, LRFinder, LRFinderWarning
from lrfinder.integrations.transformers import range_test, recommend
from tests.integrations.helpers import assert_same

SWEEP = {"num_iter": 40, "progress": False}
SMOOTH = {"num_iter": 80, "progress": False, "cached_batches": 1}  # a curve that names a rate
# The whole fall is in a few steps.
COARSE = {"start_lr": 3e-3, "end_lr": 0.1, **SMOOTH, "num_iter": 10}


class Sentences(Dataset):
    """Token sequences of different lengths, with a label that the first token tells."""

    def __init__(self, label=lambda tokens: tokens[0] % 2):
        generator = torch.Generator().manual_seed(0)
        lengths = torch.randint(3, 9, (32,), generator=generator).tolist()
        self.tokens = [torch.randint(5, 20, (n,), generator=generator) for n in lengths]
        self.label = label

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "labels": self.label(self.tokens[index])}


def collate(items):
    """Pad, as a data collator does: without it a batch cannot be made."""
    tokens = [item["input_ids"] for item in items]
    padded = nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    labels = [item["labels"] for item in items]
    stacked = torch.stack(labels) if labels[0].dim() == 0 else padded.where(padded > 0, -100)
    return {"input_ids": padded, "attention_mask": (padded > 0).long(), "labels": stacked}


def classifier(dropout=0.1):
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=20,
            num_attention_heads=2,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            **size,
        )
    )


def language_model():
    torch.manual_seed(0)
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2, **off))


class Witness(TrainerCallback):
    def __init__(self):
        self.calls = 0

    def on_train_begin(self, *_, **__):
        self.calls += 1

    on_step_begin = on_log = on_save = on_train_begin


def make_trainer(tmp_path, model=None, data=None, trainer=Trainer, optimizers=(None, None), **args):
    args = {"max_steps": 6, "learning_rate": 1e-3, "per_device_train_batch_size": 8, **args}
    return trainer(
        model=model if model is not None else classifier(),
        args=TrainingArguments(
            tmp_path / "out",
            use_cpu=True,
            weight_decay=0.1,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            **args,
        ),
        train_dataset=data if data is not None else Sentences(),
        data_collator=collate,
        optimizers=optimizers,
    )


def trained(trainer):
    torch.manual_seed(3)
    trainer.train()
    return [value.clone() for value in trainer.model.state_dict().values()]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_training_afterwards_equals_training_without(tmp_path, accumulation):
    """And the batch size is that of an optimizer step."""
    options = {"gradient_accumulation_steps": accumulation}
    plain, probed = (make_trainer(tmp_path, **options) for _ in range(2))
    assert range_test(probed, **SWEEP).batch_size == 8 * accumulation
    assert_same(trained(plain), trained(probed))
    assert plain.state.log_history[-1]["train_loss"] == probed.state.log_history[-1]["train_loss"]


def test_the_trainer_is_left_as_it_was(tmp_path):
    trainer, witness = make_trainer(tmp_path), Witness()
    trainer.add_callback(witness)
    weights = [value.clone() for value in trainer.model.state_dict().values()]
    random = torch.get_rng_state()
    range_test(trainer, **SWEEP)
    assert_same(weights, trainer.model.state_dict().values())
    assert torch.equal(torch.get_rng_state(), random)
    assert (trainer.optimizer, trainer.lr_scheduler) == (None, None)
    assert (witness.calls, trainer.state.global_step) == (0, 0)
    assert trainer.args.learning_rate == 1e-3
    assert not trainer.accelerator.gradient_state.in_dataloader
    assert not list(tmp_path.rglob("*.*"))


class Logging(Trainer):
    """Keeps numbers until the next log, as the trainers of TRL do, and an object of its own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.kept, self.batches = defaultdict(list), 0
        self.rebound, self.filled = torch.zeros(()), torch.zeros(())
        self.meter = SimpleNamespace(total=0)
        self.examples = [{"text": str(number)} for number in range(5000)]  # data, not copied

    def compute_loss(self, model, inputs, *args, **kwargs):
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        self.kept["loss"].append(loss.item())
        self.batches += 1
        self.lazy = getattr(self, "lazy", 0) + 1
        self.rebound = self.rebound + 1
        self.filled += 1
        self.meter.total += 1
        self.state.num_input_tokens_seen += inputs["input_ids"].numel()
        return loss * (1 + 0.1 * self.batches)

    def numbers(self):
        tensors = self.rebound.item(), self.filled.item()
        seen = self.state.num_input_tokens_seen
        own = self.batches, getattr(self, "lazy", 0), self.meter.total
        return dict(self.kept), *own, *tensors, seen


def test_what_the_loss_keeps_in_the_trainer_is_restored(tmp_path):
    plain, probed = (make_trainer(tmp_path, trainer=Logging) for _ in range(2))
    kept, before = probed.kept, probed.numbers()
    range_test(probed, preserve=[probed.meter], **SWEEP)
    assert probed.numbers() == before == ({}, 0, 0, 0, 0, 0, 0)
    assert probed.kept is kept
    assert_same(trained(plain), trained(probed))
    assert probed.numbers() == plain.numbers()


def test_every_trial_begins_with_the_attributes_of_the_trainer(tmp_path):
    trainer = make_trainer(tmp_path, trainer=Logging)
    found = recommend(trainer, budget=120, progress=False)
    assert len({trial.losses[0] for trial in found.trials}) == 1


@pytest.mark.parametrize("function", [range_test, recommend])
def test_an_accumulation_of_its_own_is_refused(tmp_path, function):
    with pytest.raises(InvalidInputError, match="gradient_accumulation_steps"):
        function(make_trainer(tmp_path), accumulation_steps=2)


def test_a_failing_loss_arrives_unchanged_and_leaves_the_trainer_as_it_was(tmp_path):
    class Failing(Trainer):
        calls = 0

        def compute_loss(self, *args, **kwargs):
            self.calls += 1
            if self.calls == 10:
                raise ZeroDivisionError("mine")
            return super().compute_loss(*args, **kwargs)

    plain, probed = make_trainer(tmp_path), make_trainer(tmp_path, trainer=Failing)
    with pytest.raises(ZeroDivisionError, match="mine"):
        range_test(probed, **SWEEP)
    assert probed.optimizer is None
    assert not probed.accelerator.gradient_state.in_dataloader
    assert_same(trained(plain), trained(probed))


def test_the_curve_is_that_of_a_plain_loop(tmp_path):
    whole = {"per_device_train_batch_size": 32}  # the order of the samples does not matter
    trainer = make_trainer(tmp_path, classifier(dropout=0.0), max_grad_norm=0.5, **whole)
    ours = range_test(trainer, **SWEEP)
    model = classifier(dropout=0.0)
    decayed = trainer.get_decay_parameter_names(model)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in model.named_parameters() if n in decayed]},
            {
                "params": [p for n, p in model.named_parameters() if n not in decayed],
                "weight_decay": 0.0,
            },
        ],
        lr=1e-3,
        weight_decay=0.1,
    )
    loader = DataLoader(Sentences(), 32, collate_fn=collate)
    plain = LRFinder(model, optimizer, clip_grad=0.5).range_test(loader, **SWEEP)
    assert ours.lr == plain.lr
    assert ours.loss[:25] == pytest.approx(plain.loss[:25], rel=1e-4)  # then rounding grows


@pytest.mark.parametrize(
    ("make", "accumulation", "val_batches"),
    [(classifier, 1, 4), (classifier, 2, 2), (language_model, 1, 4), (language_model, 2, 4)],
)
def test_the_validation_loss_is_that_of_evaluate(tmp_path, make, accumulation, val_batches):
    data = Sentences(label=(lambda tokens: tokens) if make is language_model else Sentences().label)
    options = {"data": data, "gradient_accumulation_steps": accumulation}
    plain, probed = (make_trainer(tmp_path, make(), **options) for _ in range(2))
    probed.eval_dataset = torch.utils.data.Subset(data, range(8 * val_batches))
    expected = probed.evaluate()["eval_loss"]
    validated = {"val_loader": probed.get_eval_dataloader(), "val_batches": val_batches}
    # A first step at a rate of almost nothing changes nothing to speak of.
    result = range_test(probed, start_lr=1e-9, **validated, **SWEEP)
    assert result.val_loss[0] == pytest.approx(expected, rel=1e-5)
    assert not probed.accelerator.gradient_state.in_dataloader
    assert_same(trained(plain), trained(probed))


def test_accumulation_weighs_every_target_alike_as_the_trainer_does(tmp_path):
    data = Sentences(label=lambda tokens: tokens)
    # The whole data set in one update, either way.
    whole, parts = (
        range_test(
            make_trainer(tmp_path, language_model(), data, max_grad_norm=0, **options), **SWEEP
        )
        for options in ({"per_device_train_batch_size": 32}, {"gradient_accumulation_steps": 4})
    )
    assert parts.loss[:25] == pytest.approx(whole.loss[:25], rel=1e-4)


@pytest.mark.parametrize("make", [classifier, language_model])
def test_micro_batches_of_different_sizes_weigh_as_in_the_training(tmp_path, make):
    """The oracle is what the trainer logs, at a rate that changes the loss from step to step."""
    data = Sentences(label=(lambda tokens: tokens) if make is language_model else Sentences().label)
    model = (lambda: make(dropout=0.0)) if make is classifier else make
    plain, probed = (
        make_trainer(
            tmp_path,
            model(),
            data,
            train_sampling_strategy="sequential",
            per_device_train_batch_size=24,  # and 8 in the second half of every update
            gradient_accumulation_steps=2,
            learning_rate=0.01,
            lr_scheduler_type="constant",
            logging_steps=1,
        )
        for _ in range(2)
    )
    result = range_test(probed, start_lr=0.01, end_lr=0.01000001, num_iter=6, progress=False)
    plain.train()
    logged = [entry["loss"] for entry in plain.state.log_history if "loss" in entry]
    assert result.loss == pytest.approx(logged, abs=1e-4)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_checkpointing_is_that_of_the_trainers_arguments(tmp_path, checkpointing):
    """A layer whose activations were not kept runs once more in each backward."""
    plain, probed = (make_trainer(tmp_path, gradient_checkpointing=checkpointing) for _ in range(2))
    calls = []
    layer = probed.model.bert.encoder.layer[0].intermediate
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    result = range_test(probed, **SWEEP)
    assert len(calls) == len(result) * (2 if checkpointing else 1)
    assert not probed.model.is_gradient_checkpointing
    assert_same(trained(plain), trained(probed))


def test_neftune_is_that_of_the_trainers_arguments(tmp_path):
    """The curve is that of uniform noise on the embeddings, scaled as in the paper (section 2)."""
    alpha = 5.0

    def noisy(_, __, embedded):
        bound = alpha / (embedded.shape[1] * embedded.shape[2]) ** 0.5
        return embedded + torch.zeros_like(embedded).uniform_(-bound, bound)

    plain, probed = (make_trainer(tmp_path, neftune_noise_alpha=alpha) for _ in range(2))
    by_hand = make_trainer(tmp_path)
    by_hand.model.get_input_embeddings().register_forward_hook(noisy)
    quiet = make_trainer(tmp_path)
    curves = []
    for trainer in (probed, by_hand, quiet):
        torch.manual_seed(7)
        curves.append(range_test(trainer, **SWEEP).loss)
    assert curves[0][:20] == pytest.approx(curves[1][:20], rel=1e-5)
    assert curves[0][0] != pytest.approx(curves[2][0], rel=1e-5)
    assert not probed.model.get_input_embeddings()._forward_hooks
    assert_same(trained(plain), trained(probed))


class Perturbed(Trainer):
    """Adds the gradients at weights that were moved along the first gradients (FGM)."""

    def training_step(self, model, inputs, *args, **kwargs):
        loss = super().training_step(model, inputs, *args, **kwargs)
        weight = model.get_input_embeddings().weight
        step = weight.grad / weight.grad.norm()
        weight.data.add_(step)
        self.accelerator.backward(self.compute_loss(model, self._prepare_inputs(inputs)))
        weight.data.sub_(step)
        return 3 * loss


class Prepared(Trainer):
    """Makes what the model takes only when a batch is used, as trainers that generate do."""

    def _prepare_inputs(self, inputs):
        inputs = super()._prepare_inputs(inputs)
        if "tokens" not in inputs:
            return inputs
        return {"input_ids": inputs["tokens"], "labels": inputs["tokens"].sum(1) % 2}


def only_tokens(items):
    return {"tokens": collate(items)["input_ids"]}


@pytest.mark.parametrize(
    ("kind", "collator", "options"),
    [
        (Perturbed, collate, {}),
        (Perturbed, collate, {"gradient_accumulation_steps": 2}),
        (Prepared, only_tokens, {"remove_unused_columns": False}),
        (Trainer, collate, {"bf16": True, "label_smoothing_factor": 0.1}),
    ],
)
def test_losses_and_gradients_are_those_of_the_training_step(tmp_path, kind, collator, options):
    """The oracle is what the trainer logs, at a rate that changes the loss from step to step."""
    plain, probed = (
        make_trainer(
            tmp_path,
            classifier(dropout=0.0),
            trainer=kind,
            train_sampling_strategy="sequential",
            learning_rate=0.01,
            lr_scheduler_type="constant",
            logging_steps=1,
            **options,
        )
        for _ in range(2)
    )
    for trainer in (plain, probed):
        trainer.data_collator = collator
    result = range_test(probed, start_lr=0.01, end_lr=0.01000001, num_iter=6, progress=False)
    plain.train()
    logged = [entry["loss"] for entry in plain.state.log_history if "loss" in entry]
    assert result.loss == pytest.approx(logged, abs=1e-4)
    assert "forward" not in vars(probed.model)
    assert_same(plain.model.state_dict().values(), trained(probed))


def test_a_gradient_scaler_changes_nothing_but_the_rounding(tmp_path):
    curves = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**10)):
        trainer = make_trainer(tmp_path, classifier(dropout=0.0), max_grad_norm=0.1)
        trainer.accelerator.scaler = scaler
        curves.append(range_test(trainer, **SWEEP).loss[:25])
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_a_range_test_keeps_no_loader_in_the_accelerator(tmp_path):
    trainer = make_trainer(tmp_path)
    evaluated = trainer.get_eval_dataloader(trainer.train_dataset)
    for _ in range(2):
        range_test(trainer, val_loader=evaluated, **SWEEP)
    assert trainer.accelerator._dataloaders == [evaluated]


def test_bf16_is_that_of_the_trainers_arguments(tmp_path):
    trainer, dtypes = make_trainer(tmp_path, bf16=True), set()
    trainer.model.classifier.register_forward_hook(lambda *call: dtypes.add(call[-1].dtype))
    range_test(trainer, val_loader=trainer.get_eval_dataloader(trainer.train_dataset), **SWEEP)
    assert dtypes == {torch.bfloat16}


def test_set_lr_is_what_the_trainer_trains_with(tmp_path):
    trainer = make_trainer(tmp_path, classifier(dropout=0.0), max_steps=1, warmup_steps=0)
    result = range_test(trainer, set_lr=True, **SMOOTH)
    lr = result.suggest().lr
    assert trainer.args.learning_rate == pytest.approx(lr)
    trainer.train()
    assert trainer.optimizer.param_groups[0]["initial_lr"] == pytest.approx(lr)


def test_set_lr_after_a_training_that_ended_at_a_rate_of_0(tmp_path):
    trainer = make_trainer(tmp_path, classifier(dropout=0.0), max_steps=3)
    trainer.train()
    assert trainer.optimizer.param_groups[0]["lr"] == 0
    result = range_test(trainer, set_lr=True, **SMOOTH)
    lr = result.suggest().lr
    assert trainer.args.learning_rate == pytest.approx(lr)
    assert trainer.optimizer.param_groups[0]["initial_lr"] == pytest.approx(lr)


def test_set_lr_warns_of_a_low_confidence(tmp_path):
    with pytest.warns(LRFinderWarning, match="low confidence"):
        range_test(make_trainer(tmp_path, classifier(dropout=0.0)), set_lr=True, **COARSE)


def test_set_lr_reaches_an_optimizer_of_the_users_own(tmp_path):
    model = classifier(dropout=0.0)
    optimizer = torch.optim.SGD(
        [
            {"params": model.bert.parameters(), "lr": 0.01},
            {"params": model.classifier.parameters(), "lr": 0.1},
        ],
        momentum=0.9,
    )
    trainer = make_trainer(tmp_path, model, optimizers=(optimizer, None))
    result = range_test(trainer, set_lr=True, **SMOOTH)
    assert trainer.optimizer is optimizer
    lrs = [group["lr"] for group in optimizer.param_groups]
    assert lrs == pytest.approx(result.suggest().lrs)
    assert lrs[1] == pytest.approx(10 * lrs[0])


def test_set_lr_with_a_scheduler_that_has_no_optimizer_yet_is_not_refused(tmp_path):
    other = torch.optim.SGD(classifier().parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(other, lambda step: 1 / (step + 1))
    trainer = make_trainer(tmp_path, optimizers=(None, scheduler))
    with pytest.warns(LRFinderWarning, match="was not changed"):
        range_test(trainer, set_lr=True, start_lr=1e-9, end_lr=1e-8, **SWEEP)


def test_set_lr_refuses_a_scheduler_that_would_undo_it_also_after_a_training(tmp_path):
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    trainer = make_trainer(tmp_path, model, optimizers=(optimizer, scheduler), max_steps=1)
    trainer.train()
    with pytest.raises(InvalidInputError, match="trainer's LambdaLR"):
        range_test(trainer, set_lr=True, progress=False)


@pytest.mark.parametrize("function", [range_test, recommend])
def test_set_lr_refuses_a_scheduler_that_would_undo_it(tmp_path, function):
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    trainer = make_trainer(tmp_path, model, optimizers=(optimizer, scheduler), max_steps=1)
    steps = []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    with pytest.raises(
        InvalidInputError, match=r"trainer's LambdaLR.*optimizers=\(optimizer, None"
    ):
        function(trainer, set_lr=True, progress=False)
    assert steps == []
    range_test(trainer, **SWEEP)  # without set_lr there is nothing to undo


@pytest.mark.filterwarnings("ignore:.*low confidence")
def test_set_lr_is_what_a_scheduler_without_a_rate_of_its_own_trains_with(tmp_path):
    model, used = classifier(dropout=0.0), []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100)
    trainer = make_trainer(tmp_path, model, optimizers=(optimizer, scheduler), max_steps=1)
    lr = range_test(trainer, set_lr=True, **SMOOTH).suggest().lr
    optimizer.register_step_post_hook(lambda each, *_: used.append(each.param_groups[0]["lr"]))
    trainer.train()
    assert used == [pytest.approx(lr)]


@pytest.mark.parametrize("function", [range_test, recommend])
def test_a_model_in_place_of_the_trainer_is_refused(function):
    with pytest.raises(
        InvalidInputError, match=r"trainer must be .*Trainer of transformers, got B"
    ):
        function(classifier())


class TwoRates(Trainer):
    """Creates an optimizer whose groups have different rates."""

    steps = 0

    def create_optimizer(self, model=None):
        if self.optimizer is None:
            lr, model = self.args.learning_rate, self.model
            groups = [
                {"params": model.bert.parameters(), "lr": lr / 10},
                {"params": model.classifier.parameters(), "lr": lr},
            ]
            self.optimizer = torch.optim.SGD(groups, momentum=0.9)
        return self.optimizer

    def compute_loss(self, *args, **kwargs):
        self.steps += 1
        return super().compute_loss(*args, **kwargs)


@pytest.mark.filterwarnings("ignore:.*low confidence")
@pytest.mark.parametrize(
    "options", [{"groups": [0]}, {"start_lr": [1e-5, 1e-6], "end_lr": [0.1, 1.0]}]
)
def test_set_lr_refuses_rates_that_one_number_cannot_express(tmp_path, options):
    trainer = make_trainer(tmp_path, classifier(dropout=0.0), trainer=TwoRates, max_steps=1)
    with pytest.raises(InvalidInputError, match=r"set_lr.*create_optimizer"):
        range_test(trainer, set_lr=True, **options, **SMOOTH)
    assert (trainer.steps, trainer.optimizer, trainer.args.learning_rate) == (0, None, 1e-3)
    trainer.create_optimizer()  # as the message says
    lrs = range_test(trainer, set_lr=True, **options, **SMOOTH).suggest().lrs
    trainer.train()
    trained_at = [group["initial_lr"] for group in trainer.optimizer.param_groups]
    assert trained_at == pytest.approx(lrs)


def test_set_lr_takes_bounds_for_each_group_that_keep_the_ratio(tmp_path):
    trainer = make_trainer(tmp_path, classifier(dropout=0.0), trainer=TwoRates, max_steps=1)
    bounds = {"start_lr": [1e-6, 1e-5], "end_lr": [0.1, 1.0]}
    lrs = range_test(trainer, set_lr=True, **bounds, **SMOOTH).suggest().lrs
    trainer.train()
    trained_at = [group["initial_lr"] for group in trainer.optimizer.param_groups]
    assert trained_at == pytest.approx(lrs)


def test_a_curve_without_a_suggestion_leaves_the_rate(tmp_path):
    trainer = make_trainer(tmp_path)
    with pytest.warns(LRFinderWarning, match="learning rate was not changed"):
        result = range_test(trainer, set_lr=True, start_lr=1e-9, end_lr=1e-8, **SWEEP)
    assert len(result) == SWEEP["num_iter"]
    assert trainer.args.learning_rate == 1e-3


def test_a_sharded_model_is_refused(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.is_fsdp_enabled = True
    with pytest.raises(InvalidInputError, match="sharded"):
        range_test(trainer, **SWEEP)
