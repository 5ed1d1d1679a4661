"""How much goes through the model in one step: rows, tokens of a row, images of a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from holdfast.errors import HoldfastError

Precision = Literal["bf16", "fp32"]

DYNAMIC_PATCHES = 1024
"""Patches of an image where the model takes any size: 448 x 448 pixels in patches of 14."""

QUESTION = 128
"""Text tokens of a row where no length is given."""


@dataclass(frozen=True)
class Workload:
    """One optimizer step without accumulation.

    Attributes:
        batch: Rows.
        length: Tokens of a row, image tokens included.
        images: Images of a row; a tile counts as an image.
        answer: Answer tokens of a row.
        precision: Of the computation; under ``bf16`` trained values and their moments stay float32.
        checkpointing: Whether blocks are computed again in the backward pass.
        answer_logits_only: Whether the head runs at answer positions only.
        patches: Patches of one image in the vision encoder.
        image_tokens: Tokens of one image in the llm.
    """

    batch: int
    length: int
    images: int
    answer: int
    precision: Precision
    checkpointing: bool
    answer_logits_only: bool
    patches: int
    image_tokens: int

    @property
    def width(self) -> int:
        """Bytes of one value in the computation."""
        return 2 if self.precision == "bf16" else 4

    def tokens(self, component: str) -> int:
        """Positions that pass through a component in one step."""
        if component == "llm":
            return self.batch * self.length
        return self.batch * self.images * (self.patches if component == "vision" else self.image_tokens)

    def span(self, component: str) -> int:
        """Positions that one position may attend to."""
        return self.length if component == "llm" else self.patches

    @property
    def logits(self) -> int:
        """Positions with logits: answers of different rows may stand at different places, and the head runs at the
        union of the places.
        """
        places = min(self.length, self.answer * self.batch) if self.answer_logits_only else self.length
        return self.batch * places


def make_workload(
    config: Any,
    *,
    batch: int,
    length: int | None,
    images: int,
    answer: int,
    precision: Precision,
    checkpointing: bool,
    answer_logits_only: bool,
) -> Workload:
    """Fill in what the model's configuration says about images.

    Raises:
        HoldfastError: A number below its least, or a row that is too short for its images.
    """
    for name, value, least in (("batch size", batch, 1), ("images", images, 0), ("answer", answer, 1)):
        if value < least:
            raise HoldfastError(f"{name} is {value}", remedy=f"give at least {least}")
    patches, tokens = image_size(config)
    length = images * tokens + QUESTION if length is None else length
    if length < images * tokens + answer:
        raise HoldfastError(
            f"a row of {length} tokens cannot hold {images} images of {tokens} tokens and an answer of {answer}",
            remedy=f"give a length of at least {images * tokens + answer}",
        )
    return Workload(
        batch=batch,
        length=length,
        images=images,
        answer=answer,
        precision=precision,
        checkpointing=checkpointing,
        answer_logits_only=answer_logits_only,
        patches=patches,
        image_tokens=tokens,
    )


@dataclass(frozen=True)
class Row:
    """The size of one training row.

    Attributes:
        length: Tokens, image tokens included.
        answer: Those of them that are answers.
        image_tokens: Those of them that stand for images.
        images: Images; a tile counts as an image.
        pixels: Height and width of one of them, or, where the processor cuts them up itself, how many patches one is.
    """

    length: int
    answer: int
    image_tokens: int
    images: int
    pixels: tuple[int, ...] = ()


def with_rows(workload: Workload, row: Row, config: Any) -> Workload:
    """The same step on rows of this size; what a row does not tell of its images stays."""
    patches, tokens, patch = workload.patches, workload.image_tokens, _sides(config)[1]
    if row.images:
        tokens = max(1, round(row.image_tokens / row.images))
    if len(row.pixels) == 1:
        patches = row.pixels[0]
    elif row.pixels and patch:
        patches = max(1, (row.pixels[0] // patch) * (row.pixels[1] // patch))
    return replace(
        workload, length=row.length, answer=max(1, row.answer), images=row.images, patches=patches, image_tokens=tokens
    )


def image_size(config: Any) -> tuple[int, int]:
    """Patches in the vision encoder and tokens in the llm of one image (of one tile, where images are tiled)."""
    vision = getattr(config, "vision_config", None)
    size, patch = _sides(config)
    patches = (size // patch) ** 2 if size and patch else DYNAMIC_PATCHES
    for holder, name in ((config, "image_seq_length"), (config, "mm_tokens_per_image")):
        tokens = getattr(holder, name, None)
        if isinstance(tokens, int) and tokens > 0 and config.model_type in ("llava", "gemma3"):
            return patches, tokens
    merge = getattr(vision, "spatial_merge_size", None) or getattr(config, "scale_factor", None) or 1
    return patches, max(1, round(patches / merge**2))


def _sides(config: Any) -> tuple[int | None, int | None]:
    """Of an image and of a patch, where the configuration names them."""
    vision = getattr(config, "vision_config", None)
    return _first(getattr(vision, "image_size", None)), _first(getattr(vision, "patch_size", None))


def _first(value: Any) -> int | None:
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    return value if isinstance(value, int) and value > 0 else None
