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
        fill: The token that stands for image features, where it is not ``<image>``.
        named: The processor class that the files name, where the family has none of its own.
    """

    images: Callable[[], Any]
    mark: str = "<image>"
    special: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None
    fill: str = "<image>"
    named: str | None = None


def _images(kind: str, **settings: Any) -> Callable[[], Any]:
    """An image processor of the library by its name."""

    def make() -> Any:
        import transformers

        return getattr(transformers, kind)(**settings)

    return make


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


_SQUARE: dict[str, Any] = {"size": {"height": 16, "width": 16}}
_CROPPED: dict[str, Any] = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
_PATCHES: dict[str, Any] = {
    "patch_size": 8, "merge_size": 2, "size": {"shortest_edge": 16 * 16, "longest_edge": 48 * 48},
}  # fmt: skip
_VIDEO = {"video_token": "<video>"}
_LLAVA: dict[str, Any] = {
    "patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1,
}  # fmt: skip
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
        fill="<IMG_CONTEXT>",
    ),
    "gemma3": Kit(
        _gemma, mark="<start_of_image>", special=_GEMMA_TOKENS, settings={"image_seq_length": 4}, kind="Gemma3Processor"
    ),
    "paligemma": Kit(_siglip, kind="PaliGemmaProcessor"),
    "mllama": Kit(_images("MllamaImageProcessorPil", **_SQUARE, max_image_tiles=4), kind="MllamaProcessor"),
    "idefics2": Kit(
        _images("Idefics2ImageProcessorPil", size={"shortest_edge": 16, "longest_edge": 32}),
        special={"image_boundary_token": "<fake_token_around_image>"}, settings={"image_seq_len": 3},
        kind="Idefics2Processor",
    ),
    "qianfan_ocr": Kit(
        _images("GotOcr2ImageProcessorPil", **_SQUARE),
        special={
            "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
        },
        settings={"image_seq_length": 1}, kind="QianfanOCRProcessor", fill="<IMG_CONTEXT>",
    ),
    "aya_vision": Kit(
        _images("GotOcr2ImageProcessorPil", **_SQUARE, crop_to_patches=True, max_patches=2),
        special={"begin": "<|START_OF_IMG|>", "end": "<|END_OF_IMG|>", "patch": "<|IMG_PATCH|>"},
        settings={"patch_size": 8, "img_size": 16, "downsample_factor": 2}, kind="AyaVisionProcessor",
        fill="<|IMG_PATCH|>",
    ),
    "ovis2": Kit(
        _images("Ovis2ImageProcessorPil", **_SQUARE, crop_to_patches=True, max_patches=2),
        special={
            name: f"<IMG_{name.upper()}>" for name in ("start", "atom", "grid", "col", "row", "end")
        },
        settings={"image_seq_length": 4}, kind="Ovis2Processor", fill="<IMG_ATOM>",
    ),
    "deepseek_vl": Kit(
        _images("DeepseekVLImageProcessorPil", **_SQUARE, min_size=2),
        settings={"num_image_tokens": 4}, kind="DeepseekVLProcessor",
    ),
    "deepseek_vl_hybrid": Kit(
        _images("DeepseekVLHybridImageProcessorPil", **_SQUARE, min_size=2, high_res_size={"height": 32, "width": 32}),
        settings={"num_image_tokens": 4}, kind="DeepseekVLHybridProcessor",
    ),
    "lighton_ocr": Kit(
        _images("PixtralImageProcessorPil", patch_size={"height": 16, "width": 16}, size={"longest_edge": 32}),
        special={"image_break_token": "[B]", "image_end_token": "[E]"},
        settings={"patch_size": 8, "spatial_merge_size": 2}, kind="LightOnOcrProcessor",
    ),
    "granite_docling": Kit(
        _images("GraniteDoclingImageProcessorPil", **_SQUARE),
        special={"around": "<fake_token_around_image>", "whole": "<global-img>"},
        settings={"image_seq_len": 1}, kind="GraniteDoclingProcessor",
    ),
    "vipllava": Kit(_images("CLIPImageProcessorPil", **_CROPPED), settings=_LLAVA, kind="LlavaProcessor"),
    "video_llava": Kit(_images("VideoLlavaImageProcessor", **_CROPPED), special=_VIDEO, settings=_LLAVA),
    "llava_next_video": Kit(lambda: _tiles("next"), special=_VIDEO, settings=_LLAVA),
    "paddleocr_vl": Kit(_images("PaddleOCRVLImageProcessorPil", **_PATCHES), kind="PaddleOCRVLProcessor"),
    "video_llama_3": Kit(_images("VideoLlama3ImageProcessorPil", **_PATCHES), special=_VIDEO),
    "cosmos3_edge": Kit(_images("Cosmos3EdgeImageProcessorPil", **_PATCHES), special=_VIDEO),
    "cosmos3_omni": Kit(_qwen, special=_QWEN_TOKENS, named="Qwen3VLProcessor"),
    "glm4v": Kit(_images("Glm4vImageProcessorPil", **_PATCHES), special=_VIDEO),
    "glm4v_moe": Kit(_images("Glm4vImageProcessorPil", **_PATCHES), special=_VIDEO),
    "glm46v": Kit(_images("Glm46VImageProcessorPil", **_PATCHES), special=_VIDEO),
    "glm_ocr": Kit(_images("Glm46VImageProcessorPil", **_PATCHES), special=_VIDEO, named="Glm46VProcessor"),
    **dict.fromkeys(
        ("exaone4_5", "hyperclovax_vision_v2", "lfm3_vl"), Kit(_qwen, special=_VIDEO),
    ),
    **dict.fromkeys(("qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"), _QWEN),
}  # fmt: skip


DIFFERING = (
    "llava", "llava_next", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl", "gemma3",
    "paligemma",
)  # fmt: skip
"""Families whose processors differ most, for what need not be tried on every one."""


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
        unk_token="<unk>", extra_special_tokens=special, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    tokens.chat_template = text
    model = build(family)
    image = tokens.convert_tokens_to_ids(kit.fill)
    for name in ("image_token_id", "image_token_index"):
        if name in type(model.config).__dataclass_fields__:
            setattr(model.config, name, image)
    if hasattr(model.config, "visual_indicator_token_ids"):
        indicators = [token for name, token in kit.special.items() if name != "atom"]
        model.config.visual_indicator_token_ids = tokens.convert_tokens_to_ids(indicators)
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
        named = {} if kit.named is None else {"processor_class": kit.named}
        (folder / "processor_config.json").write_text(json.dumps({**kit.settings, **named}), encoding="utf-8")
    return folder
