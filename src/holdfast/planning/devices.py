"""A run on several accelerators, on paper: memory a device, the largest batch that fits, hours and device-hours.

With the parts of :class:`holdfast.planning.memory.Memory`, ``N`` devices and a share of ``b`` rows on each:

- **whole** (what ``holdfast tune --processes`` does, as DDP): every part at ``b`` rows;
- **zero-2** (DeepSpeed as ``holdfast tune`` uses it under accelerate): gradients and optimizer divided by ``N``, and of
  the trained weights a float32 copy of the same share. Where only some examples reach what trains, gradients are whole;
- **fsdp** (FSDP2 as ``holdfast tune`` does it under accelerate): weights, gradients and optimizer of the llm's blocks
  divided by ``N``, what else there is whole, and two blocks more: the one at work and the one that is being fetched.
  Under gradient checkpointing one block at a time is converted to bf16. ZeRO-3 is done by FSDP2;
- **four bits**: whole, with ``load.bits: 4``.

Hours are the counted operations of the devices' shares over a share of the card's peak rate. Left out: communication,
loading of examples, evaluation, feature caches and shared rows, which save; a device's own context is taken as 1 GiB.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from holdfast.config.documents import read_mapping
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError, nearest
from holdfast.planning.flops import count_flops
from holdfast.planning.memory import Memory, estimate_memory
from holdfast.planning.plan import OnPaper, prepare
from holdfast.planning.workload import Precision
from holdfast.values import JSON

CARDS = Path(__file__).with_name("cards.yaml")
SHARE = 0.4
"""Of the peak rate; what large models reach in training is 0.3 to 0.5 of it."""

CONTEXT = 1 << 30
_MOST_ROWS = 1 << 16


@dataclass(frozen=True)
class Hardware:
    """A card.

    Attributes:
        name: As ``cards.yaml`` calls it.
        memory: Bytes.
        rate: Peak operations a second in the precision of the run.
    """

    name: str
    memory: int
    rate: float


@dataclass(frozen=True)
class Way:
    """One way of laying a run over devices.

    Attributes:
        name: As at the top of this file.
        memory: Bytes a device at the planned batch; None where the recipe does not go this way.
        fits: Whether that is within the card's memory.
        largest: Rows a device that still fit; 0 where one does not.
        why_not: What keeps the recipe from going this way.
    """

    name: str
    memory: int | None
    fits: bool
    largest: int
    why_not: str = ""


@dataclass(frozen=True)
class DevicePlan:
    """A run on ``count`` cards.

    Attributes:
        count: Of devices.
        card: What they are.
        rows: Of a step on one device.
        share: Of the peak rate that is counted on.
        steps: Of the run; None where neither recipe nor caller says how long it is.
        seconds: Of one step.
        ways: How it could be laid out.
    """

    count: int
    card: Hardware
    rows: int
    share: float
    steps: int | None
    seconds: float
    ways: tuple[Way, ...]

    @property
    def hours(self) -> float | None:
        """Of the whole run."""
        return None if self.steps is None else self.steps * self.seconds / 3600

    def to_json(self) -> JSON:
        """Plain values."""
        hours = self.hours
        return {
            "devices": self.count,
            "card": asdict(self.card),
            "rows_a_device": self.rows,
            "share_of_rate": self.share,
            "steps": self.steps,
            "seconds_a_step": self.seconds,
            "hours": hours,
            "device_hours": None if hours is None else hours * self.count,
            "ways": [asdict(way) for way in self.ways],
        }


def read_card(name: str, precision: Precision) -> Hardware:
    """A card by its name in ``cards.yaml``.

    Raises:
        HoldfastError: There is none of that name.
    """
    cards = read_mapping(CARDS)
    if name not in cards:
        raise HoldfastError(f"unknown card '{name}'", remedy=f"{nearest(name, cards)}; known: {', '.join(cards)}")
    return Hardware(name, int(cards[name]["memory"] * 2**30), cards[name][precision] * 1e12)


def plan_devices(
    config: RunConfig,
    *,
    devices: int,
    card: str,
    share: float = SHARE,
    examples: int | None = None,
    batch: int | None = None,
    length: int | None = None,
    images: int = 1,
    answer: int = 8,
    precision: Precision = "bf16",
) -> DevicePlan:
    """Plan the run of ``config`` on several cards.

    Args:
        config: The recipe.
        devices: How many.
        card: A name of ``cards.yaml``.
        share: Of the card's peak rate that the step reaches.
        examples: Of the target, for the hours where the recipe names no ``train.steps``.
        batch: Rows of a step over all devices; default: ``train.batch_size``.
        length: Tokens of a row; default: the images and 128 tokens of text.
        images: Images of a row.
        answer: Answer tokens of a row.
        precision: Of the computation.

    Raises:
        HoldfastError: As :func:`holdfast.planning.plan.make_plan`; an unknown card, or more devices than rows.
    """
    hardware = read_card(card, precision)
    rows_of_step = config.train.batch_size if batch is None else batch
    if not 0 < share <= 1:
        raise HoldfastError(f"the share of the card's rate is {share}", remedy="give a share above 0 and at most 1")
    if not 1 <= devices <= rows_of_step:
        raise HoldfastError(
            f"{rows_of_step} rows of a step are divided over {devices} devices",
            remedy="give at least one row a device: --batch-size, or fewer devices",
        )
    rows = math.ceil(rows_of_step / devices)

    def prepared(changed: RunConfig) -> OnPaper:
        return prepare(changed, batch=rows, length=length, images=images, answer=answer, precision=precision)

    plain = prepared(config)
    ways = [*_ways(plain, devices, rows, hardware)]
    if config.load.bits is None:
        ways.append(_four_bits(config, prepared, rows, hardware))
    seconds = count_flops(plain.sites, plain.workload).step / (hardware.rate * share) * config.train.accumulate
    steps = config.train.steps
    if steps is None and examples is not None:
        steps = max(1, math.ceil(config.train.epochs * examples / (rows_of_step * config.train.accumulate)))
    return DevicePlan(devices, hardware, rows, share, steps, seconds, tuple(ways))


def _ways(plan: OnPaper, devices: int, rows: int, card: Hardware) -> Iterator[Way]:
    blocks, trained = Blocks.of(plan), sum(p.numel() for p in plan.recipe.named_trainable().values())

    def whole(memory: Memory) -> float:
        return memory.peak

    def zero_2(memory: Memory) -> float:
        copy = 4 * trained / devices
        return memory.peak - (memory.gradients + memory.optimizer) * (1 - 1 / devices) + copy

    def fsdp(memory: Memory) -> float:
        divided = blocks.weights + blocks.share * (memory.gradients + memory.optimizer)
        passing = blocks.copies - blocks.largest_copy if plan.workload.checkpointing else 0
        return memory.peak - divided * (1 - 1 / devices) - passing + 2 * blocks.largest

    yield _way("whole", plan, rows, card, whole)
    if devices > 1:
        yield _way("zero-2", plan, rows, card, zero_2)
        yield _way("fsdp", plan, rows, card, fsdp)


def _four_bits(config: RunConfig, prepared: Callable[[RunConfig], OnPaper], rows: int, card: Hardware) -> Way:
    packed = config.model_copy(update={"load": config.load.model_copy(update={"bits": 4})})
    try:
        return _way("four bits", prepared(packed), rows, card, lambda memory: memory.peak)
    except HoldfastError as error:
        return Way("four bits", None, False, 0, error.problem)


def _way(name: str, plan: OnPaper, rows: int, card: Hardware, on_device: Callable[[Memory], float]) -> Way:
    room = card.memory - CONTEXT

    def need(count: int) -> int:
        other = replace(plan.workload, batch=count)
        return round(on_device(estimate_memory(plan.recipe, plan.sketch, plan.sites, other)))

    low, high = 0, 1
    while high < _MOST_ROWS and need(high) <= room:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if need(middle) <= room else (low, middle)
    memory = need(rows)
    return Way(name, memory, memory <= room, low)


@dataclass(frozen=True)
class Blocks:
    """The repeated blocks of the llm, which FSDP2 divides.

    Attributes:
        weights: Bytes of all of them.
        largest: Bytes of the largest.
        copies: Bytes of what autocast makes of trained matrices in all of them; 0 in float32.
        largest_copy: The same of the largest.
        share: Of all trained values, those that are in them.
    """

    weights: int
    largest: int
    copies: int
    largest_copy: int
    share: float

    @classmethod
    def of(cls, plan: OnPaper) -> Blocks:
        """Count them."""
        trained = {id(p): p.numel() for p in plan.recipe.named_trainable().values()}
        weights, copies = Counter[int](), Counter[int]()
        tensors = set()
        for site in plan.sites:
            if site.component != "llm" or site.block is None or site.added:
                continue
            for parameter in site.module.parameters(recurse=False):
                tensors.add(id(parameter))
                weights[site.block] += parameter.numel() * parameter.element_size()
                if id(parameter) in trained and parameter.ndim == 2 and plan.workload.precision == "bf16":
                    copies[site.block] += 2 * parameter.numel()
        there = sum(count for key, count in trained.items() if key in tensors)
        for key, method in plan.recipe.parts.items():  # the values of a sparse selection are no tensors of the model
            if key.partition(".")[0] == "llm" and hasattr(method, "selected"):
                there += sum(p.numel() for p in method.named_trainable().values() if id(p) not in tensors)
        return cls(
            weights=weights.total(),
            largest=max(weights.values(), default=0),
            copies=copies.total(),
            largest_copy=max(copies.values(), default=0),
            share=there / max(1, sum(trained.values())),
        )
