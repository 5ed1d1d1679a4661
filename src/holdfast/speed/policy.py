"""Which speed-ups engage, for training and for evaluation, and why others do not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from holdfast.config.schema import Speed, Train
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.events import CachingFeatures, FeaturesCached, Listener
from holdfast.files.places import path_of
from holdfast.models.loading import Loaded
from holdfast.speed.decision import OFF, Decision, NotPossible, insist
from holdfast.speed.features.cache import FeatureCache
from holdfast.speed.features.folder import default_folder
from holdfast.speed.sharing.batcher import Batcher, repeated
from holdfast.speed.sharing.supports import supports
from holdfast.speed.sharing.verify import some, verify_sharing

WORTH = 5_000_000
"""Parameters from which on ``auto`` keeps a vision encoder's features: a smaller one is faster than a file."""


def shared_training(batcher: Batcher, speed: Speed, train: Train, examples: Sequence[Example]) -> Decision:
    """Whether questions about one image become one row of a training batch.

    Raises:
        HoldfastError: It was switched on and cannot engage.
    """
    if speed.share_images == "off":
        return OFF
    decision = (
        supports(batcher.loaded.model, batcher.loaded.chat)
        and _gathered(train, examples)
        and verify_sharing(batcher, examples)
        and Decision(True, "compared with separate rows before the first step")
    )
    return insist("speed.share_images", speed.share_images, decision)


def _gathered(train: Train, examples: Sequence[Example]) -> Decision:
    """Whether batches will hold several questions about an image."""
    if not repeated(examples):
        return Decision(False, "every image has one question")
    if train.order == "random":
        return Decision(False, "train.order is random, which takes the questions of an image apart")
    if train.batch_size == 1:
        return Decision(False, "a batch of one has nothing to share")
    return Decision(True, "several questions about an image stand in a batch")


def something_shared(batcher: Batcher, examples: Sequence[Example], batch_size: int) -> Decision:
    """Whether these questions have a beginning in common, whatever the model; a no is no mistake, so never refused."""
    if not repeated(examples):
        return Decision(False, "every image has one question")
    if batch_size == 1:
        return Decision(False, "a batch of one has nothing to share")
    if batcher.pack(some(examples)) is None:
        return Decision(False, "questions about an image do not begin alike, or are longer than the model's window")
    return Decision(True, "several questions about an image begin alike")


def feature_cache(
    loaded: Loaded,
    frozen: Collection[str],
    speed: Speed,
    examples: Sequence[Example],
    *,
    passes: float,
    listen: Listener,
    pixels_for: str | None = None,
) -> tuple[FeatureCache | None, Decision]:
    """The cache with the features of all examples in it, or None, and the decision.

    Args:
        loaded: The model.
        frozen: Components that do not change, of ``vision`` and ``connector``.
        speed: What is wanted.
        examples: Whose images will be looked at.
        passes: How often.
        listen: Hears how the features come along.
        pixels_for: Who looks at the pixels themselves, if anybody.

    Raises:
        HoldfastError: It was switched on and cannot engage.
    """
    if speed.feature_cache == "off":
        return None, OFF
    try:
        if pixels_for is not None:
            raise NotPossible(f"'{pixels_for}' looks at the pixels")
        if speed.feature_cache == "auto" and "vision" in frozen:
            _check_worth(loaded, passes)
        folder = path_of(speed.cache_dir) if speed.cache_dir else _home()
        cache = FeatureCache.open(loaded, frozen, folder=folder, cap=int(speed.cache_gb * 1e9))
        _fill(cache, examples, listen)
    except NotPossible as refused:
        return None, insist("speed.feature_cache", speed.feature_cache, refused.decision)
    return cache, Decision(True, cache.note or f"features behind the {cache.stage}, compared with pixels on one batch")


def _home() -> Path:
    try:
        return default_folder()
    except HoldfastError as error:
        raise NotPossible(error.problem) from error


def evaluation_cache(
    loaded: Loaded, frozen: Collection[str], speed: Speed, examples: Sequence[Example], listen: Listener
) -> FeatureCache | None:
    """Features of test images, which base and tuned model both look at; by itself on a CPU only.

    On a GPU, where towers are quick in batches and features are filled one by one, it waits to be switched on.
    """
    if "vision" not in frozen or (speed.feature_cache == "auto" and loaded.device.type != "cpu"):
        return None
    return feature_cache(loaded, frozen, speed, examples, passes=2, listen=listen)[0]


def _check_worth(loaded: Loaded, passes: float) -> None:
    if passes < 2:
        raise NotPossible("each image is seen once, so there is nothing to save")
    size = loaded.anatomy.vision.count()
    if size < WORTH:
        raise NotPossible(f"an encoder of {size:,} parameters is faster than reading its features")


def _fill(cache: FeatureCache, examples: Sequence[Example], listen: Listener) -> None:
    """Prove that features change nothing, then compute what is missing, with progress."""
    cache.missing(examples)  # told first what the run needs, the cache throws none of it away
    cache.check(examples)
    missing = cache.missing(examples)
    if missing:
        listen(CachingFeatures(len(missing)))
        cache.fill(missing, advance=lambda count: listen(FeaturesCached(count)))
