"""Which speed-ups engage in a run, and why others do not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from holdfast.config.schema import Speed, Train
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.methods.recipe import Recipe
from holdfast.models.anatomy import decoder_of
from holdfast.models.loading import Loaded
from holdfast.speed.features.cache import FeatureCache
from holdfast.speed.features.folder import default_folder
from holdfast.speed.refusal import NotPossible
from holdfast.speed.report import said
from holdfast.speed.sharing.batcher import Batcher, repeated
from holdfast.speed.sharing.check import check
from holdfast.speed.sharing.gate import refusal

WORTH = 5_000_000
"""Parameters from which on ``auto`` keeps a vision encoder's features: a smaller one is faster than a file."""

Report = dict[str, Any]


@dataclass
class SpeedUps:
    """What engaged: ``report`` has ``{"on": bool, "why": str}`` a speed-up, for ``environment.json``."""

    batcher: Batcher
    report: Report = field(default_factory=dict)


def engage(
    loaded: Loaded,
    recipe: Recipe,
    speed: Speed,
    train: Train,
    examples: Sequence[Example],
    validation: Sequence[Example],
    *,
    passes: float,
    listen: Callable[..., None],
) -> SpeedUps:
    """Decide, check and prepare; the recipe is attached.

    Args:
        loaded: The model.
        recipe: What trains.
        speed: What is wanted.
        train: The length limit.
        examples: What is trained on.
        validation: What is validated on.
        passes: How often each training example is seen.
        listen: Hears ``caching`` and ``cached`` while features are computed.

    Raises:
        HoldfastError: A speed-up that was switched on cannot engage.
    """
    frozen = frozen_components(recipe)
    cache, cache_report = feature_cache(loaded, frozen, speed, [*examples, *validation], passes, listen)
    batcher = Batcher(loaded, max_length=train.max_length, share=speed.share_images != "off", cache=cache)
    batcher.share, share_report = _sharing(batcher, speed, train, examples)
    report: Report = {"share_images": share_report, "feature_cache": cache_report}
    report["frozen_no_grad"] = said(
        speed.frozen_no_grad and bool(frozen), "frozen: " + (", ".join(sorted(frozen)) or "no encoder is")
    )
    return SpeedUps(batcher, report)


def frozen_components(recipe: Recipe) -> set[str]:
    """Image encoder and connector, where nothing changes them."""
    return {name for name in ("vision", "connector") if name not in recipe.active}


def _sharing(batcher: Batcher, speed: Speed, train: Train, examples: Sequence[Example]) -> tuple[bool, dict[str, Any]]:
    if speed.share_images == "off":
        return False, said(False, "switched off")
    why = refusal(batcher.loaded.model, batcher.loaded.chat)
    if why is None and not repeated(examples):
        why = "every image has one question"
    elif why is None and train.order == "random":
        why = "train.order is random, which takes the questions of an image apart"
    elif why is None and train.batch_size == 1:
        why = "a batch of one has nothing to share"
    if why is None:
        why = check(batcher, examples)
    if why is not None and speed.share_images == "on":
        raise HoldfastError(f"speed.share_images is on, and {why}", remedy="set speed.share_images: auto")
    return why is None, said(why is None, why or "compared with separate rows before the first step")


def feature_cache(
    loaded: Loaded,
    frozen: Collection[str],
    speed: Speed,
    examples: Sequence[Example],
    passes: float,
    listen: Callable[..., None],
) -> tuple[FeatureCache | None, dict[str, Any]]:
    """The cache with the features of all examples in it, or None, and what is to be said of it.

    Args:
        loaded: The model.
        frozen: Components that do not change, of ``vision`` and ``connector``.
        speed: What is wanted.
        examples: Whose images will be looked at.
        passes: How often.
        listen: Hears ``caching`` and ``cached``.

    Raises:
        HoldfastError: It was switched on and cannot engage.
    """
    if speed.feature_cache == "off":
        return None, said(False, "switched off")
    try:
        if speed.feature_cache == "auto" and "vision" in frozen:
            if passes < 2:
                raise NotPossible("each image is seen once, so there is nothing to save")
            size = loaded.anatomy.vision.count()
            if size < WORTH:
                raise NotPossible(f"an encoder of {size:,} parameters is faster than reading its features")
        cache = open_cache(loaded, frozen, speed)
        fill(cache, examples, listen)
    except NotPossible as refused:
        if speed.feature_cache == "on":
            raise HoldfastError(
                f"speed.feature_cache is on, and {refused.reason}", remedy="set speed.feature_cache: auto"
            ) from refused
        return None, said(False, refused.reason)
    return cache, said(True, cache.note or f"features behind the {cache.stage}, compared with pixels on one batch")


def open_cache(loaded: Loaded, frozen: Collection[str], speed: Speed) -> FeatureCache:
    """The cache as the configuration says.

    Raises:
        NotPossible: With the reason.
    """
    folder = Path(speed.cache_dir).expanduser() if speed.cache_dir else default_folder()
    return FeatureCache.open(loaded, frozen, folder=folder, cap=int(speed.cache_gb * 1e9))


def fill(cache: FeatureCache, examples: Sequence[Example], listen: Callable[..., None]) -> None:
    """Prove that features change nothing, then compute what is missing, with progress.

    Raises:
        NotPossible: With the reason.
    """
    cache.missing(examples)  # told first what the run needs, the cache throws none of it away
    cache.check(examples)
    missing = cache.missing(examples)
    if missing:
        listen("caching", total=len(missing))
        cache.fill(missing, advance=lambda count: listen("cached", count=count))


@contextmanager
def without_kv_cache(model: Any) -> Iterator[None]:
    """Inside, forward passes keep no keys and values for tokens that are never generated."""
    config = model.config.get_text_config()
    before = getattr(config, "use_cache", None)
    config.use_cache = False
    try:
        yield
    finally:
        config.use_cache = before


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of the llm, whatever was added to them."""
    lists = [module for module in decoder_of(model).modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=lambda blocks: sum(p.numel() for p in blocks.parameters()), default=()))


@contextmanager
def compiled(blocks: Sequence[nn.Module], wanted: bool) -> Iterator[None]:
    """Inside, the blocks are compiled one by one: alike as they are, one compilation serves them all."""
    if not wanted:
        yield
        return
    for block in blocks:
        block.compile()
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None
