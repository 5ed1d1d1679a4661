"""The plan of a run: its ledger, its memory and its work, known in seconds before anything is downloaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from holdfast.config.schema import RunConfig
from holdfast.events import Ledger
from holdfast.methods.ledger import write_ledger
from holdfast.methods.recipe import Recipe
from holdfast.models.quantised import packed_layers, stored_elsewhere
from holdfast.planning.flops import Flops, count_flops
from holdfast.planning.memory import Memory, estimate_memory
from holdfast.planning.meta import Sketch, attach_recipe, sketch_model
from holdfast.planning.sites import Site, find_sites
from holdfast.planning.workload import Precision, Workload, make_workload
from holdfast.values import JSON


@dataclass(frozen=True)
class Plan:
    """What a recipe costs on a model."""

    model: str
    ledger: Ledger
    memory: Memory
    flops: Flops
    workload: Workload

    def to_json(self) -> JSON:
        """Plain values; bytes and operations are whole numbers, ``flops`` those of one optimizer step."""
        ledger = self.ledger.to_json()
        work = self.workload
        return {
            "model": self.model,
            "trainable": ledger["trainable"],
            "added": ledger["added"],
            "base": ledger["base"],
            "trainable_percent": ledger["trainable_percent"],
            "components": ledger["components"],
            "checkpoint_bytes": sum(row.checkpoint_bytes for row in self.ledger.rows),
            "memory": self.memory.to_json(),
            "flops": {"forward": self.flops.forward, "backward": self.flops.backward, "step": self.flops.step},
            "workload": {
                "batch_size": work.batch,
                "length": work.length,
                "images": work.images,
                "answer": work.answer,
                "precision": work.precision,
                "gradient_checkpointing": work.checkpointing,
                "image_tokens": work.image_tokens,
            },
        }


def make_plan(
    config: RunConfig,
    *,
    batch: int | None = None,
    length: int | None = None,
    images: int = 1,
    answer: int = 8,
    precision: Precision = "bf16",
) -> Plan:
    """Plan the run of ``config`` without weights or data.

    Args:
        config: The recipe; its target may be absent.
        batch: Rows of a step; default: ``train.batch_size``.
        length: Tokens of a row, image tokens included; default: the images and 128 tokens of text.
        images: Images of a row.
        answer: Answer tokens of a row.
        precision: Of the computation.

    Raises:
        HoldfastError: Unknown model, a method that does not fit it, or a workload that cannot be.
    """
    made = prepare(config, batch=batch, length=length, images=images, answer=answer, precision=precision)
    memory = estimate_memory(made.recipe, made.sketch, made.sites, made.workload)
    return Plan(config.model, made.ledger, memory, count_flops(made.sites, made.workload), made.workload)


@dataclass(frozen=True)
class OnPaper:
    """A recipe attached to a model without values, and the step that it is to do."""

    recipe: Recipe
    sketch: Sketch
    ledger: Ledger
    sites: list[Site]
    workload: Workload


def prepare(
    config: RunConfig, *, batch: int | None, length: int | None, images: int, answer: int, precision: Precision
) -> OnPaper:
    """Attach a recipe as far as shapes go; the arguments are those of :func:`make_plan`.

    Raises:
        HoldfastError: As :func:`make_plan`.
    """
    recipe = Recipe(config)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    sketch = sketch_model(config.model, dtype, trust_remote_code=config.trust_remote_code)
    workload = make_workload(
        sketch.config,
        batch=config.train.batch_size if batch is None else batch,
        length=length,
        images=images,
        answer=answer,
        precision=precision,
        checkpointing=config.train.gradient_checkpointing,
        answer_logits_only=config.speed.head != "full",
    )
    packed = packed_layers(sketch.anatomy, sketch.config, config.load)
    recipe.check_packed(
        {component: bits for component, (bits, _) in packed.items()}, elsewhere=stored_elsewhere(sketch.config, packed)
    )
    recipe.check_steps(config.train.steps or 0)
    recipe.check_sources(config.target is None or bool(config.sources))
    attach_recipe(recipe, sketch)
    ledger = write_ledger(recipe, sketch.anatomy)
    return OnPaper(recipe, sketch, ledger, find_sites(recipe, sketch.anatomy), workload)
