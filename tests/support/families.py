"""A tiny random model of every image-text-to-text family, made by shrinking the family's own default configuration.

Nothing is downloaded. :func:`build` gives the model, :func:`batch` a valid batch of two rows of different length with
one image each. What a family needs beyond the common shrinking stands in its line of :data:`FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

IMAGE, VOCABULARY = 4, 300
"""The id of the image token, and the number of tokens."""

_ANY = {
    "num_hidden_layers": 2, "depth": 2, "num_layers": 2, "encoder_layers": 2, "layers": 2, "num_global_layers": 1,
    "max_position_embeddings": 512, "vocab_size": VOCABULARY, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8, "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4, "v_head_dim": 8, "qk_head_dim": 8, "first_k_dense_replace": 1, "n_group": 1,
    "topk_group": 1, "global_head_dim": 8, "num_attn_heads": 2,
}  # fmt: skip
_TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "moe_intermediate_size": 16, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "n_shared_experts": 1, "ffn_dim": 48, "embed_dim": 32, "attention_heads": 4,
    "word_embed_proj_dim": 32, "moe_num_experts": 4, "moe_topk": 2, "moe_num_shared_experts": 1,
    "shared_expert_intermediate_size": 16, "dense_intermediate_size": 48, "intermediate_size_mlp": 48,
    "num_sparse_layers": 1,
}  # fmt: skip
_VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2, "num_heads": 2,
    "embed_dim": 16, "image_size": 16, "patch_size": 8, "out_hidden_size": 32, "text_hidden_size": 32,
    "projection_dim": 16, "head_dim": 8, "num_position_embeddings": 4, "mlp_dim": 32, "d_ff": 32,
    "attention_heads": 2,
}  # fmt: skip
_TOKENS = {"pad": 0, "bos": 1, "eos": 2, "image": IMAGE, "decoder": 1}


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        name: The model type in transformers.
        pixels: Which shape its images have, see :func:`_pixels`.
        tokens: Image tokens in the text per image.
        marks: Names of arguments that mark image tokens in ``input_ids``.
        config: What its configuration needs beyond the common shrinking.
    """

    name: str
    pixels: str
    tokens: int
    marks: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


_MM = ("mm_token_type_ids",)
_TYPES = ("token_type_ids",)
_MROPE = {"text_config": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}}}
_SIGLIP = {"vision_config": {"vision_use_head": False}}
_PINS = {"image_grid_pinpoints": [[16, 32], [32, 16]]}
_FULL = {"vision_feature_select_strategy": "full", "vision_feature_layer": -1}


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _with(*parts: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        _merge(merged, part)
    return merged


_OPT = {"text_config": {"model_type": "opt", "ffn_dim": 48, "hidden_size": 32, "num_attention_heads": 4,
                        "word_embed_proj_dim": 32, "num_hidden_layers": 2, "max_position_embeddings": 512,
                        "vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}}  # fmt: skip
_QFORMER = {"qformer_config": {"encoder_hidden_size": 16}, "num_query_tokens": 3, "image_token_index": IMAGE}

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("llava", "square", 4),
        Family("llava_next", "tiles", 14, config=_PINS),
        Family("llava_next_video", "tiles", 14, config=_PINS),
        Family("llava_onevision", "tiles", 14, config=_with(_PINS, _FULL)),
        Family("vipllava", "square", 4, config={"vision_feature_layers": [-2, -1]}),
        Family("video_llava", "square", 4),
        Family("qwen2_vl", "patches", 4, _MM, _with(_MROPE, {"vision_config": {"hidden_size": 32}})),
        Family("qwen2_5_vl", "patches", 4, _MM, _with(_MROPE, {"vision_config": {"window_size": 32}})),
        Family("qwen3_vl", "patches", 4, _MM, _with(_MROPE, {"vision_config": {"deepstack_visual_indexes": [0]}})),
        Family("qwen3_vl_moe", "patches", 4, _MM, _with(_MROPE, {"vision_config": {"deepstack_visual_indexes": [0]}})),
        Family("qwen3_5", "patches", 4, _MM, _with(_MROPE)),
        Family("qwen3_5_moe", "patches", 4, _MM, _with(_MROPE)),
        Family("internvl", "square", 1, config={"vision_config": {"image_size": [16, 16], "patch_size": [8, 8]}}),
        Family("qianfan_ocr", "square", 1, config={"vision_config": {
            "image_size": [16, 16], "patch_size": [8, 8], "drop_path_rate": 0.0}}),
        Family("idefics2", "nested", 3, config={"perceiver_config": {"resampler_n_latents": 3, "resampler_depth": 1,
                                                                    "resampler_n_heads": 2, "resampler_head_dim": 8}}),
        Family("idefics3", "nested", 1),
        Family("smolvlm", "nested", 1),
        Family("granite_docling", "masked", 1, config={"vision_config": {
            "scale_factor": 2, "use_fine_route": False, "deepstack_visual_indexes": [0]}}),
        Family("paligemma", "square", 4, _TYPES, {"projection_dim": 32, "vision_config": {"projection_dim": 32}}),
        Family("gemma3", "square", 4, _TYPES, _with({"mm_tokens_per_image": 4, "text_config": {"sliding_window": 16}},
                                                    _SIGLIP)),
        Family("mistral3", "sized", 1),
        Family("lighton_ocr", "sized", 1),
        Family("aya_vision", "square", 1, config=_with(_SIGLIP)),
        Family("cohere2_vision", "square", 1, config={"alignment_intermediate_size": 64}),
        Family("aria", "square", 2, config={"projector_patch_to_query_dict": {4: 2}}),
        Family("deepseek_vl", "square", 4),
        Family("ovis2", "square", 4),
        Family("glm4v", "patches", 4, _MM, _with(_MROPE)),
        Family("glm4v_moe", "patches", 4, _MM, {"text_config": {"rope_parameters": {
            "rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5, "mrope_section": [1, 1, 0]}}}),
        Family("glm46v", "patches", 4, _MM, _with(_MROPE)),
        Family("glm_ocr", "patches", 4, _MM, _with(_MROPE)),
        Family("exaone4_5", "patches", 4, config={"vision_config": {"num_key_value_heads": 2}}),
        Family("hyperclovax_vision_v2", "patches", 4),
        Family("cosmos3_omni", "patches", 4, _MM, _with(_MROPE, {"vision_config": {"deepstack_visual_indexes": [0]}})),
        Family("paddleocr_vl", "rows", 4, _MM, _with(_MROPE)),
        Family("video_llama_3", "merged", 4),
        Family("lfm2_vl", "naflex", 1, config={"projector_hidden_size": 32, "text_config": {
            "layer_types": ["conv", "full_attention"]}}),
        Family("got_ocr2", "pages", 4, config={"vision_config": {"output_channels": 4, "mlp_dim": 32, "image_size": 64,
                                               "patch_size": 8, "window_size": 4, "global_attn_indexes": [1]}}),
        Family("llama4", "square", 1, config={"vision_config": {
            "vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16, "intermediate_size": 64}}),
        Family("step3p7", "square", 1, config={"text_config": {"sliding_window": 16}}),
        Family("mllama", "crossed", 0, config={
            "text_config": {"cross_attention_layers": [1]},
            "vision_config": {"intermediate_layers_indices": [0, 1], "vision_output_dim": 48}}),
        Family("blip-2", "square", 3, config=_with(_OPT, _QFORMER)),
        Family("instructblip", "instructed", 3, config=_with(_OPT, _QFORMER)),
        Family("kosmos-2", "fixed", 3, config={"latent_query_num": 3}),
        Family("kosmos-2.5", "flattened", 3, config={"latent_query_num": 3, "text_config": {"dropout": 0.0}}),
        Family("deepseek_vl_hybrid", "both", 4, config={"high_res_vision_config": {
            "output_channels": 4, "mlp_dim": 32, "image_size": 32, "window_size": 2, "global_attn_indexes": [1],
            "num_pos_feats": 4}}),
        Family("lfm3_vl", "patches", 4, config={"projector_hidden_size": 32, "vision_config": {
            "layer_types": ["conv", "full_attention"]}, "text_config": {
            "layer_types": ["conv", "full_attention"]}}),
        Family("cosmos3_edge", "flat", 4, _MM, _with(_MROPE, {"projector_hidden_size": 32})),
        Family("kimi_k25", "rows", 4, config={"projection_hidden_size": 16, "text_config": {
            "num_key_value_heads": 4, "head_dim": 4}}),
        Family("blip", "square", 0),
        Family("idefics", "crossed_flat", 0),
    )
}  # fmt: skip


def shrink(values: Mapping[str, Any], vision: bool = False) -> dict[str, Any]:
    """The same configuration with a few layers, heads and channels; ids of special tokens inside the vocabulary."""
    table = {**_ANY, **(_VISION if vision else _TEXT)}
    small: dict[str, Any] = {}
    free = 20
    for key, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, dict) and "config" in key:
            small[key] = shrink(value, any(word in key for word in ("vision", "vit", "image")))
        elif number and key in table:
            small[key] = table[key]
        elif number and key.endswith(("_token_id", "_token_index")):
            free += 1
            small[key] = _TOKENS.get(key.strip("_").split("_")[0], free)
        elif isinstance(value, list) and key in ("layer_types", "mlp_layer_types"):
            small[key] = [value[0], value[-1]]
        elif isinstance(value, list) and key.endswith("_token_ids"):
            small[key] = list(range(30, 30 + len(value)))
        else:
            small[key] = value
    return small


def config_of(name: str) -> Any:
    """The tiny configuration of a family."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[name]
    values = shrink(kind().to_dict())
    values.pop("transformers_version", None)
    _merge(values, FAMILIES[name].config if name in FAMILIES else {})
    return kind.from_dict(values)


def model_class(config: Any) -> Any:
    """The image-text-to-text class of a configuration."""
    from transformers import AutoModelForImageTextToText

    found = AutoModelForImageTextToText._model_mapping[type(config)]
    return found[0] if isinstance(found, tuple) else found


def build(name: str, seed: int = 0) -> Any:
    """A random model of the family in float32, in evaluation mode."""
    config = config_of(name)
    torch.manual_seed(seed)
    model = model_class(config)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # closed gates and faint projections would hide a fault
            if parameter.ndim > 1 and float(parameter.std()) < 0.1:
                parameter.normal_(0, 0.1)
            elif parameter.ndim == 1 and not bool(parameter.any()):
                parameter.normal_(0, 0.3)
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    return model


def batch(name: str, model: Any, *, padded: bool = True) -> dict[str, Tensor]:
    """``input_ids``, ``attention_mask``, pixels and marks for two rows; the second row is shorter when ``padded``."""
    family = FAMILIES[name]
    generator = torch.Generator().manual_seed(1)
    image = torch.full((2, family.tokens), IMAGE)
    before = torch.randint(40, VOCABULARY - 5, (2, 3), generator=generator)
    after = torch.randint(40, VOCABULARY - 5, (2, 6), generator=generator)
    ids = torch.cat([torch.ones(2, 1, dtype=torch.long), before, image, after], dim=1)
    mask = torch.ones_like(ids)
    if padded:
        ids[1, -2:], mask[1, -2:] = 0, 0
    made = {"input_ids": ids, "attention_mask": mask, **_pixels(family, model, ids, generator)}
    return made | {mark: (ids == IMAGE).long() for mark in family.marks}


def _pixels(family: Family, model: Any, ids: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    vision = getattr(model.config, "vision_config", None)
    match family.pixels:
        case "square":
            return {"pixel_values": noise(2, 3, 16, 16)}
        case "pages":
            return {"pixel_values": noise(2, 3, 64, 64)}
        case "both":
            return {"pixel_values": noise(2, 3, 16, 16), "high_res_pixel_values": noise(2, 3, 32, 32)}
        case "flattened":
            place = torch.tensor([[1, 1], [1, 2], [2, 1], [2, 2]]).expand(2, 4, 2)
            return {
                "flattened_patches": torch.cat([place, noise(2, 4, 768)], dim=-1),
                "image_embeds_position_mask": (ids == IMAGE).long(),
            }
        case "sized":
            return {"pixel_values": noise(2, 3, 16, 16), "image_sizes": torch.tensor([[16, 16]] * 2)}
        case "tiles":
            return {"pixel_values": noise(2, 3, 3, 16, 16), "image_sizes": torch.tensor([[16, 32]] * 2)}
        case "nested":
            return {"pixel_values": noise(2, 1, 3, 16, 16)}
        case "masked":
            return {"pixel_values": noise(2, 1, 3, 16, 16), "pixel_attention_mask": torch.ones(2, 1).bool()}
        case "patches":
            channels = next(
                getattr(vision, key) for key in ("in_channels", "in_chans", "num_channels") if hasattr(vision, key)
            )
            size = channels * vision.temporal_patch_size * vision.patch_size**2
            return {"pixel_values": noise(32, size), "image_grid_thw": torch.tensor([[1, 4, 4]] * 2)}
        case "flat":
            return {
                "pixel_values": noise(32, 3 * vision.patch_size**2),
                "image_grid_thw": torch.tensor([[1, 4, 4]] * 2),
            }
        case "rows":
            grid = torch.tensor([[1, 4, 4]] * 2)
            return {"pixel_values": noise(32, 3, vision.patch_size, vision.patch_size), "image_grid_thw": grid}
        case "merged":
            grid, merge = torch.tensor([[1, 4, 4]] * 2), torch.tensor([2, 2])
            flat = noise(32, 3 * vision.patch_size**2)
            return {"pixel_values": flat, "image_grid_thw": grid, "image_merge_sizes": merge}
        case "naflex":
            return {
                "pixel_values": noise(2, 4, 3 * vision.patch_size**2),
                "spatial_shapes": torch.tensor([[2, 2]] * 2),
                "pixel_attention_mask": torch.ones(2, 4).long(),
            }
        case "crossed":
            return {
                "pixel_values": noise(2, 1, 4, 3, 16, 16),
                "aspect_ratio_ids": torch.tensor([[1]] * 2),
                "aspect_ratio_mask": torch.tensor([[[1, 0, 0, 0]]] * 2),
                "cross_attention_mask": torch.ones(2, ids.shape[1], 1, 4).long(),
            }
        case "crossed_flat":
            return {"pixel_values": noise(2, 1, 3, 16, 16), "image_attention_mask": torch.ones(2, ids.shape[1], 1)}
        case "instructed":
            words = torch.randint(40, VOCABULARY - 5, (2, 4), generator=generator)
            return {
                "pixel_values": noise(2, 3, 16, 16),
                "qformer_input_ids": words,
                "qformer_attention_mask": torch.ones_like(words),
            }
        case "fixed":
            return {
                "pixel_values": noise(2, 3, 16, 16),
                "image_embeds_position_mask": (ids == IMAGE).long(),
            }
    raise ValueError(family.pixels)
