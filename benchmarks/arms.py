"""The same training by four hands: Holdfast, TRL's SFTTrainer, transformers' Trainer with PEFT, and a bare loop.

Every arm gets the same weights, the same examples in batches of the same rows, AdamW with the same rate, no gradient
checkpointing, no dropout, no data workers, and no logging while it is timed. All report a :class:`Timed`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from common import synchronise
from setting import as_text

OFF: dict[str, Any] = {
    "share_images": "off", "packing": "off", "feature_cache": "off", "head": "full", "frozen_no_grad": False,
    "split_on_oom": False, "compile": False,
}  # fmt: skip
SPEEDS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours_plain": {"share_images": "off", "packing": "off", "feature_cache": "off"},
    "ours_off": OFF,
    "share": OFF | {"share_images": "on"},
    "cache": OFF | {"feature_cache": "on"},
}
"""What each of our arms switches: all by itself; neither sharing nor caching; nothing at all; one thing alone."""

PEERS = ("trl", "trainer")


@dataclass(frozen=True)
class Job:
    """What is trained on what.

    Attributes:
        examples: In the order in which the peers visit them; ours draws its own order of pictures.
        batch: Rows of a step.
        epochs: Passes over the examples.
        method: Of Holdfast, by name, with its options.
        lr: Of AdamW, constant.
        precision: ``fp32`` or ``bf16`` (autocast).
        load: Of Holdfast's configuration: in how many bits the base is kept; ours only.
        checkpointing: Whether blocks compute their activations again; ours only.
    """

    examples: tuple[Any, ...]
    batch: int
    epochs: int = 1
    method: str = "lora"
    options: dict[str, Any] = field(default_factory=lambda: {"r": 16, "alpha": 32, "dropout": 0.0})
    lr: float = 1e-4
    precision: str = "fp32"
    load: dict[str, Any] = field(default_factory=dict)
    checkpointing: bool = False

    @property
    def steps(self) -> int:
        """Optimizer steps; examples fill whole batches."""
        return self.epochs * len(self.examples) // self.batch


@dataclass
class Timed:
    """What one call of ``fit`` or ``train`` took.

    Attributes:
        seconds: The whole call: data, caches, steps.
        processor: The same in seconds of the processor, which other work on the machine does not count in.
        marks: Seconds from the call's beginning to the end of each step.
        processor_marks: The same in seconds of the processor.
        losses: Mean loss a supervised token of each step, where it was logged.
        supervised: Answer tokens of all steps.
        engaged: What our loop says of each speed-up: whether it engaged, and why not.
    """

    seconds: float = 0.0
    processor: float = 0.0
    marks: list[float] = field(default_factory=list)
    processor_marks: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    supervised: int = 0
    engaged: dict[str, Any] = field(default_factory=dict)

    def facts(self, epochs: int) -> dict[str, Any]:
        """As JSON: the whole, the first pass (with what fills caches) and a later pass."""
        each = len(self.marks) // epochs
        first = self.marks[each - 1]
        later = (self.marks[-1] - first) / (epochs - 1) if epochs > 1 else None
        gaps = [end - begin for begin, end in zip([0.0, *self.marks], self.marks, strict=False)]
        return {
            "seconds": self.seconds,
            "processor": self.processor,
            "first_epoch": first,
            "later_epoch": later,
            "step": self.seconds / len(self.marks),
            "gaps": [round(gap, 4) for gap in gaps],
            "supervised": self.supervised,
            "per_second": self.supervised / self.seconds,
            "engaged": self.engaged,
        }


def run(arm: str, loaded: Any, job: Job, *, cache: str | None = None, log: bool = False) -> Timed:
    """One training run of that arm; the model is as before afterwards where the method is LoRA."""
    if arm == "trl":
        return _trl(loaded, job, log)
    if arm == "trainer":
        return _trainer(loaded, job, log)
    return ours(loaded, job, SPEEDS[arm], cache=cache)


def ours(loaded: Any, job: Job, speed: dict[str, Any], *, cache: str | None = None) -> Timed:
    """Holdfast's loop; what fills the feature cache is inside the time."""
    from holdfast.config.schema import RunConfig
    from holdfast.events import Event, StepDone
    from holdfast.methods.recipe import Recipe
    from holdfast.models.loading import Loaded
    from holdfast.speed.decision import Engaged, to_json
    from holdfast.training.loop import Trainer

    config = RunConfig.model_validate(
        {
            "tune": {"llm": {"method": job.method, "lr": job.lr, **job.options}},
            "train": {
                "epochs": job.epochs, "batch_size": job.batch, "order": "images", "schedule": "constant", "warmup": 0,
                "precision": job.precision, "gradient_checkpointing": job.checkpointing,
            },
            "load": job.load,
            "speed": {**speed, "cache_dir": cache},
        }
    )  # fmt: skip
    # A fresh shell, so that what is remembered of the weights (their digest) is computed inside the time.
    loaded = Loaded(loaded.name, loaded.model, loaded.chat, loaded.anatomy)
    recipe = Recipe(config)
    recipe.attach(loaded, seed=0)
    if job.checkpointing:
        loaded.model.activation_checkpointing_enable({"use_reentrant": False})
    timed, device = Timed(), str(loaded.device)

    def listen(event: Event) -> None:
        if isinstance(event, StepDone):
            synchronise(device)
            timed.marks.append(time.perf_counter() - begun)
            timed.processor_marks.append(time.process_time() - computed)
            timed.losses.append(event.loss)
            timed.supervised += event.tokens
        elif isinstance(event, Engaged):
            timed.engaged = {name: str(value) for name, value in to_json(event.report).items()}

    begun, computed = time.perf_counter(), time.process_time()
    trainer = Trainer(loaded, recipe, config.train, job.examples, (), seed=0, speed=config.speed, listen=listen)
    trainer.fit()
    synchronise(device)
    timed.seconds, timed.processor = time.perf_counter() - begun, time.process_time() - computed
    recipe.detach()
    if job.checkpointing:
        loaded.model.activation_checkpointing_disable()
    return timed


class Counting:
    """A collator that counts answer tokens as they pass."""

    def __init__(self, collate: Callable[[list[Any]], Any], timed: Timed) -> None:
        self.collate, self.timed = collate, timed

    def __call__(self, rows: list[Any]) -> Any:
        batch = self.collate(rows)
        self.timed.supervised += int((batch["labels"][:, 1:] != -100).sum())
        return batch


def plain_collator(loaded: Any) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """What a person writes by hand: the processor on the batch, labels on the last tokens of each row."""
    chat = loaded.chat

    def collate(examples: Sequence[Any]) -> dict[str, Any]:
        from PIL import Image

        pairs = [as_text(loaded, example) for example in examples]
        images = [[Image.open(path).convert("RGB") for path in example.images] for example in examples]
        batch = chat.processor(
            text=[prompt + answer for prompt, answer in pairs], images=images, padding=True, padding_side="right",
            add_special_tokens=False, return_tensors="pt",
        )  # fmt: skip
        answers = chat.tokenizer([answer for _, answer in pairs], add_special_tokens=False)["input_ids"]
        labels = batch["input_ids"].clone().fill_(-100)
        for row, (kept, ids) in enumerate(zip(batch["attention_mask"].sum(dim=1).tolist(), answers, strict=True)):
            labels[row, kept - len(ids) : kept] = batch["input_ids"][row, kept - len(ids) : kept]
        return {**batch, "labels": labels}

    return collate


def targets(loaded: Any) -> list[str]:
    """The llm's attention and MLP layers by full name."""
    return list(loaded.anatomy.llm.linears(("attention", "mlp")))


def lora(loaded: Any, job: Job) -> Any:
    """PEFT's configuration of what Holdfast's ``lora`` trains."""
    from peft import LoraConfig

    rank, alpha = job.options["r"], job.options["alpha"]
    return LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=job.options["dropout"], target_modules=targets(loaded))


def _free_only(loaded: Any, job: Job) -> None:
    """For full tuning of the last two layers: everything else frozen."""
    loaded.model.requires_grad_(False)
    if job.method == "layers":
        for _, block in loaded.anatomy.llm.layers()[-2:]:
            block.requires_grad_(True)


def _settings(loaded: Any, job: Job, log: bool) -> dict[str, Any]:
    """Arguments that TRL's and transformers' trainers share."""
    return {
        "per_device_train_batch_size": job.batch, "num_train_epochs": job.epochs, "learning_rate": job.lr,
        "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 1.0, "optim": "adamw_torch",
        "gradient_checkpointing": False, "bf16": job.precision == "bf16", "fp16": False, "report_to": "none",
        "logging_strategy": "steps" if log else "no", "logging_steps": 1, "save_strategy": "no",
        "eval_strategy": "no", "disable_tqdm": True, "dataloader_num_workers": 0, "dataloader_pin_memory": False,
        "train_sampling_strategy": "sequential", "use_cpu": loaded.device.type == "cpu", "seed": 0,
    }  # fmt: skip


def _marks(timed: Timed, device: str) -> Any:
    from transformers import TrainerCallback

    class Marks(TrainerCallback):  # type: ignore[misc]
        begun = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            synchronise(device)
            timed.marks.append(time.perf_counter() - self.begun)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                timed.losses.append(float(logs["loss"]))

    return Marks()


def _train(trainer: Any, timed: Timed, device: str) -> Timed:
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.data_collator = Counting(trainer.data_collator, timed)
    marks = _marks(timed, device)
    trainer.add_callback(marks)
    synchronise(device)
    marks.begun = time.perf_counter()
    trainer.train()
    synchronise(device)
    timed.seconds = time.perf_counter() - marks.begun
    return timed


def _trl(loaded: Any, job: Job, log: bool) -> Timed:
    """SFTTrainer's own way for vision: a prompt-completion data set whose pictures are decoded as rows are taken."""
    from datasets import Dataset, Image, List, disable_progress_bars
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    rows = []
    for example in job.examples:
        prompt, answer = as_text(loaded, example)
        rows.append({"prompt": prompt, "completion": answer, "images": [str(path) for path in example.images]})
    data = Dataset.from_list(rows).cast_column("images", List(Image()))
    timed, adapter = Timed(), None
    if job.method == "lora":
        adapter = lora(loaded, job)
    else:
        _free_only(loaded, job)
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(output_dir=folder, max_length=None, **_settings(loaded, job, log))
        trainer = SFTTrainer(
            model=loaded.model, args=settings, train_dataset=data, processing_class=loaded.chat.processor,
            peft_config=adapter,
        )  # fmt: skip
        _train(trainer, timed, str(loaded.device))
    if adapter is not None:
        trainer.model.unload()
    return timed


def _trainer(loaded: Any, job: Job, log: bool) -> Timed:
    """transformers' Trainer over ``get_peft_model``, with a collator written by hand."""
    from peft import get_peft_model
    from transformers import Trainer, TrainingArguments

    timed, model = Timed(), loaded.model
    if job.method == "lora":
        model = get_peft_model(loaded.model, lora(loaded, job))
    else:
        _free_only(loaded, job)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(output_dir=folder, remove_unused_columns=False, **_settings(loaded, job, log))
        trainer = Trainer(
            model=model, args=settings, train_dataset=list(job.examples), data_collator=plain_collator(loaded)
        )
        _train(trainer, timed, str(loaded.device))
    if job.method == "lora":
        model.unload()
    return timed
