"""Model folders with a processor for the families whose processors differ most, made without torchvision.

Families with a video slot are saved the way their checkpoints look: tokenizer, ``preprocessor_config.json``,
``processor_config.json`` with the plain settings, ``chat_template.jinja``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.families import build
from tests.support.tiny import tokenizer


@dataclass(frozen=True)
class Kit:
    """How a family's processor is made.

    Attributes:
        images: Makes the image processor.
        mark: What the chat template writes for an image.
        special: Further special tokens, by attribute of the tokenizer.
        settings: Plain settings of the processor.
        kind: Name of the processor class; None where it has a video slot and cannot be made here.
    """

    images: Callable[[], Any]
    mark: str = "<image>"
    special: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None


def _siglip() -> Any:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    return SiglipImageProcessorPil(size={"height": 16, "width": 16})


def _clip() -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})


def _tiles(kind: str) -> Any:
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

    pins = [[16, 32], [32, 16]]
    if kind == "onevision":
        return LlavaOnevisionImageProcessorPil(size={"height": 16, "width": 16}, image_grid_pinpoints=pins)
    return LlavaNextImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, image_grid_pinpoints=pins
    )


def _qwen() -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, min_pixels=16 * 16, max_pixels=48 * 48)


def _idefics() -> Any:
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    return Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16})


def _got() -> Any:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    return GotOcr2ImageProcessorPil(size={"height": 16, "width": 16}, crop_to_patches=False)


def _gemma() -> Any:
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    return Gemma3ImageProcessorPil(size={"height": 16, "width": 16}, do_pan_and_scan=False)


_QWEN_TOKENS = {"video_token": "<|video_pad|>", "vision_bos_token": "<|vision_start|>"}
_QWEN = Kit(_qwen, special=_QWEN_TOKENS)
_GEMMA_TOKENS = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}

KITS: dict[str, Kit] = {
    "llava": Kit(
        _clip,
        settings={"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
        kind="LlavaProcessor",
    ),
    "llava_next": Kit(
        lambda: _tiles("next"),
        settings={"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
        kind="LlavaNextProcessor",
    ),
    "llava_onevision": Kit(
        lambda: _tiles("onevision"),
        special={"video_token": "<video>"},
        settings={
            "num_image_tokens": 4, "vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_9",
        },
    ),
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": _QWEN,
    "idefics3": Kit(_idefics, settings={"image_seq_len": 1}, kind="Idefics3Processor"),
    "internvl": Kit(
        _got,
        mark="<IMG_CONTEXT>",
        special={
            "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        settings={"image_seq_length": 1},
    ),
    "gemma3": Kit(
        _gemma, mark="<start_of_image>", special=_GEMMA_TOKENS, settings={"image_seq_length": 4}, kind="Gemma3Processor"
    ),
    "paligemma": Kit(_siglip, kind="PaliGemmaProcessor"),
}  # fmt: skip


def save(folder: Path, family: str, template: str) -> Path:
    """A complete model folder of ``family`` whose chat template is ``template`` with the family's image mark."""
    import transformers

    kit = KITS[family]
    text = template.replace("<image>", kit.mark)
    tokens = tokenizer(text)
    special = {"image_token": "<image>", **kit.special}
    tokens.add_special_tokens({"additional_special_tokens": list(kit.special.values())})
    tokens = type(tokens)(
        tokenizer_object=tokens.backend_tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        unk_token="<unk>", extra_special_tokens=special,
    )  # fmt: skip
    tokens.chat_template = text
    model = build(family)
    image = tokens.convert_tokens_to_ids("<IMG_CONTEXT>" if family == "internvl" else "<image>")
    for name in ("image_token_id", "image_token_index"):
        if name in type(model.config).__dataclass_fields__:
            setattr(model.config, name, image)
    images = kit.images()
    if kit.kind is not None:
        if family == "paligemma":
            images.image_seq_length = 4
        kind = getattr(transformers, kit.kind)
        kind(image_processor=images, tokenizer=tokens, chat_template=text, **kit.settings).save_pretrained(folder)
        tokens = None
    model.save_pretrained(folder)
    if tokens is not None:
        tokens.save_pretrained(folder)
        images.save_pretrained(folder)
        (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
        (folder / "processor_config.json").write_text(json.dumps(dict(kit.settings)), encoding="utf-8")
    return folder
