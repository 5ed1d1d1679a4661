"""Which speed-ups engage, for training and for evaluation, and why others do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.config.schema import Speed, Train
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.events import CachingFeatures, FeaturesCached, Listener
from holdfast.files.places import path_of
from holdfast.models.kernels import FLASH
from holdfast.models.loading import Loaded
from holdfast.speed.decision import OFF, Decision, NotPossible, insist
from holdfast.speed.features.cache import FeatureCache
from holdfast.speed.features.folder import default_folder
from holdfast.speed.sharing.attention import NAME as IN_PIECES
from holdfast.speed.sharing.batcher import Batcher, repeated
from holdfast.speed.sharing.filling import PADDED, Filling
from holdfast.speed.sharing.supports import supports
from holdfast.speed.sharing.varlen import attention_of, go_through, tells_boundaries
from holdfast.speed.sharing.verify import some, verify_filling, verify_sharing
from holdfast.speed.worth import cache_work, sharing_pays, train_token

ASKED = Decision(True, "switched on")

SAMPLED = 20
"""Steps of which one is looked at for its padding, so that looking is a small part of the run."""


def shared_training(
    batcher: Batcher, speed: Speed, train: Train, examples: Sequence[Example], *, seen: float
) -> Decision:
    """Whether questions about one image become one row of a training batch.

    Args:
        batcher: Of the training.
        speed: What is wanted.
        train: How batches are made.
        examples: Of the target.
        seen: How many of them the run looks at, counted as often as it does.

    Raises:
        HoldfastError: It was switched on and cannot engage.
    """
    if speed.share_images == "off":
        return OFF
    decision = (
        supports(batcher.loaded.model, batcher.loaded.chat)
        and _gathered(train, examples)
        and (sharing_pays(examples, seen) if speed.share_images == "auto" else ASKED)
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


def packed_training(
    batcher: Batcher, speed: Speed, sample: Callable[[int], Iterable[Sequence[Example]]], *, steps: int
) -> tuple[Filling | None, Decision]:
    """Whether rows of different images stand behind each other in training, and when.

    Where nothing is shared and flash-attn is at hand, attention is told where each row begins, and goes through its
    kernels until :func:`holdfast.speed.sharing.attention.in_two_pieces` ends.
    ``on`` lays them so wherever a batch has padding; ``auto`` where counting says that it saves time.

    Args:
        batcher: Of the training, which knows already whether rows are shared.
        speed: What is wanted.
        sample: The batches of a step, by its number.
        steps: Of the run.

    Raises:
        HoldfastError: It was switched on and cannot engage.
    """
    if speed.packing == "off":
        return None, OFF
    filling, decision = _filling(batcher, speed, sample, steps)
    return (filling if decision else None), insist("speed.packing", speed.packing, decision)


def _filling(
    batcher: Batcher, speed: Speed, sample: Callable[[int], Iterable[Sequence[Example]]], steps: int
) -> tuple[Filling, Decision]:
    loaded, always = batcher.loaded, speed.packing == "on"
    text = loaded.model.config.get_text_config()  # type: ignore[union-attr, operator]
    token = math.inf if always else train_token(loaded)
    filling = Filling(token=token, layers=int(text.num_hidden_layers), padded=0.0 if always else PADDED)
    if steps < SAMPLED and not always:
        return filling, Decision(False, "the run is too short to look first at how much of its batches is padding")
    attention = attention_of(loaded)
    batches = [batch for step in range(1 if always else min(2, steps // SAMPLED)) for batch in sample(step)]
    told = _told(batcher, speed)
    if told:
        by_boundaries, decision = replace(filling, by_boundaries=True), _padded_and_told(batcher, filling, batches)
        if decision or attention == FLASH:
            return by_boundaries, decision
    if attention == FLASH:
        return filling, told
    possible = supports(loaded.model, loaded.chat)
    if not possible:
        return filling, possible
    if attention != IN_PIECES and not always:
        return filling, Decision(False, f"attention '{attention}' would compute the whole square of a packed row")
    return filling, _padded(batcher, filling, batches)


def _told(batcher: Batcher, speed: Speed) -> Decision:
    """Whether rows behind each other may go through kernels that are told where each begins."""
    loaded = batcher.loaded
    if batcher.layout == "shared":
        return Decision(False, "rows that share an image need a mask")
    if speed.compile:
        return Decision(False, "blocks would be compiled anew for every longest row")
    return supports(loaded.model, loaded.chat, masked=False) and tells_boundaries(loaded)


def _padded_and_told(batcher: Batcher, filling: Filling, batches: Sequence[Sequence[Example]]) -> Decision:
    """As :func:`_padded`, through those kernels; they stay engaged where it is a yes."""
    before = attention_of(batcher.loaded)
    batcher.by_boundaries = True
    go_through(batcher.loaded, FLASH)
    decision = _padded(batcher, replace(filling, by_boundaries=True), batches)
    if decision:
        return Decision(True, f"{decision.why}; flash attention is told where each row begins")
    batcher.by_boundaries = False
    go_through(batcher.loaded, before)
    return decision


def _padded(batcher: Batcher, filling: Filling, batches: Sequence[Sequence[Example]]) -> Decision:
    """Whether these batches are worth it, and two of their examples come out right."""
    held = taken = 0
    worth = False
    unlike: Sequence[Example] = ()
    for batch in batches:
        rows = batcher.rows(batch)
        sharing = batcher.layout == "shared" and repeated(batch)
        groups = batcher.groups(batch, rows) if sharing else [[index] for index in range(len(batch))]
        lengths = batcher.lengths(rows, groups)
        held, taken = held + sum(lengths), taken + len(lengths) * max(lengths)
        worth = worth or filling.lay(lengths) is not None
        first, last = (pick(range(len(groups)), key=lengths.__getitem__) for pick in (min, max))
        if lengths[first] < lengths[last]:
            unlike = unlike or [batch[groups[first][0]], batch[groups[last][0]]]
    if not unlike:
        return Decision(False, "the rows of a batch are equally long")
    share = 1 - held / taken
    if share <= filling.padded:
        return Decision(False, f"{share:.0%} of the first batches is padding")
    if not worth:
        return Decision(False, f"{share:.0%} of the first batches is padding, which costs less than more calls would")
    longest = batcher.longest
    if longest is not None and max(row.length for row in batcher.rows(unlike)) > longest:
        return Decision(False, "rows are longer than the model's window")
    return verify_filling(batcher, unlike) and Decision(
        True, f"{share:.0%} of the first batches is padding; compared with separate rows before the first step"
    )


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
            _check_worth(loaded, examples, passes)
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


def _check_worth(loaded: Loaded, examples: Sequence[Example], passes: float) -> None:
    if passes < 2:
        raise NotPossible("each image is seen once, so there is nothing to save")
    counted = cache_work(loaded, examples, passes).decision
    if not counted:
        raise NotPossible(counted.why)


def _fill(cache: FeatureCache, examples: Sequence[Example], listen: Listener) -> None:
    """Prove that features change nothing, then compute what is missing, with progress."""
    cache.missing(examples)  # told first what the run needs, the cache throws none of it away
    cache.check(examples)
    missing = cache.missing(examples)
    if missing:
        listen(CachingFeatures(len(missing)))
        cache.fill(missing, advance=lambda count: listen(FeaturesCached(count)))
