"""Whether a step of an attached recipe is estimated to need more memory than its device has, and what would help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from holdfast.config.schema import RunConfig
from holdfast.events import MemoryShort
from holdfast.methods.recipe import Recipe
from holdfast.methods.selective.dense import Dense
from holdfast.models.loading import Loaded
from holdfast.models.size import memory_of
from holdfast.planning.memory import COPIES, Memory, estimate_memory
from holdfast.planning.meta import Sketch
from holdfast.planning.sites import find_sites
from holdfast.planning.workload import Row, Workload, make_workload, with_rows

_WAYS = 3


def step_memory(config: RunConfig, recipe: Recipe, loaded: Loaded, row: Row | None = None) -> Memory | None:
    """What ``holdfast plan`` says of a step, of a model that is loaded; counted, not measured.

    Args:
        config: Of the run.
        recipe: Attached to ``loaded``.
        loaded: The model as it will be trained; nothing is built a second time.
        row: How long rows are; default: as ``holdfast plan`` takes them.

    Returns:
        None where the model has shapes that cannot be estimated.
    """
    try:
        return _counted(recipe, loaded, _workload(config, loaded, row))
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, StopIteration):
        return None  # an estimate stops no run


def memory_short(
    config: RunConfig, recipe: Recipe, loaded: Loaded, need: Memory | None, row: Row | None = None
) -> MemoryShort | None:
    """What ``holdfast plan`` says of a step, held against the memory of the device that the model is on.

    Args:
        config: Of the run.
        recipe: Attached to ``loaded``.
        loaded: The model as it will be trained.
        need: From :func:`step_memory`.
        row: As there.

    Returns:
        None where it fits, where the device does not tell, or where the model has shapes that cannot be estimated.
    """
    has = memory_of(str(loaded.device))
    if has is None or need is None or need.peak <= has:
        return None
    try:
        easier = _easier(config, _workload(config, loaded, row))
        # With the bytes that each leaves over.
        ways = {way: need.peak - _counted(recipe, loaded, other).peak for way, other in easier}
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, StopIteration):
        return None  # an estimate stops no run
    ways |= _lighter(recipe, loaded, need)
    best = [way for way in sorted(ways, key=lambda way: -ways[way]) if ways[way] > 0]
    best.append("a smaller model or a larger device")
    return MemoryShort(need.peak, has, loaded.device.type, tuple(best[:_WAYS]))


def _counted(recipe: Recipe, loaded: Loaded, workload: Workload) -> Memory:
    sketch = Sketch(loaded.name, loaded.model.config, loaded.model, loaded.anatomy)
    found = estimate_memory(recipe, sketch, find_sites(recipe, sketch.anatomy), workload)
    if loaded.device.type != "cpu":
        return found
    # Base values of whole trained tensors wait in the host's memory: here that is where everything is.
    dense = [part for part in recipe.parts.values() if isinstance(part, Dense) and part.card.name not in COPIES]
    waiting = sum(values.numel() * values.element_size() for part in dense for values in part.base.values())
    return replace(found, method=found.method + waiting)


def _workload(config: RunConfig, loaded: Loaded, row: Row | None) -> Workload:
    half = config.train.precision == "bf16" or (config.train.precision == "auto" and loaded.device.type == "cuda")
    model = loaded.model.config
    workload = make_workload(
        model,
        batch=config.train.batch_size,
        length=None,
        images=1,
        answer=8,
        precision="bf16" if half else "fp32",
        checkpointing=config.train.gradient_checkpointing,
        answer_logits_only=config.speed.head != "full",
    )
    return workload if row is None else with_rows(workload, row, model)


def _easier(config: RunConfig, workload: Workload) -> Iterator[tuple[str, Workload]]:
    """Settings of the same training that take less, and the step that each makes."""
    train, half = config.train, workload.batch // 2
    if half:
        text = f"train.batch_size={half} with train.accumulate={2 * train.accumulate}"
        yield text, replace(workload, batch=half)
    if not train.gradient_checkpointing:
        yield "train.gradient_checkpointing=true", replace(workload, checkpointing=True)
    if config.speed.head == "full":
        yield "speed.head=answers", replace(workload, answer_logits_only=True)


def _lighter(recipe: Recipe, loaded: Loaded, need: Memory) -> dict[str, int]:
    """A method that trains less on the component that trains most, and what could be saved by it at most."""
    counts = {
        component: sum(p.numel() for p in method.named_trainable().values())
        for component, method in recipe.active.items()
    }
    largest = max(counts, key=counts.__getitem__, default=None)
    if largest is None or not counts[largest]:
        return {}
    if 10 * counts[largest] > sum(p.numel() for p in loaded.anatomy.component(largest).parameters.values()):
        way = f"a method that trains less, such as tune.{largest}.method=lora"
    else:
        way = f"fewer trained values in {largest}, such as a smaller rank"
    return {way: need.gradients + need.optimizer + need.method}
