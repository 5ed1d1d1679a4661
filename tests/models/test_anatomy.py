"""Every parameter belongs to exactly one component, in every family."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from holdfast.errors import HoldfastError
from holdfast.models.anatomy import Anatomy, Component, check_complete, output_head, resolve_anatomy
from tests.support.families import FAMILIES, model_class
from tests.support.models import anatomy, model

WITHOUT_CONNECTOR = {"blip", "idefics"}
"""Their llm reads the tower by cross-attention; Idefics 1 has a resampler only where its configuration says so."""

FUSED_EXPERTS = {"qwen3_vl_moe"}
"""All layers of the tiny model are sparse, and experts are tensors, not linear layers."""


@pytest.mark.parametrize("name", FAMILIES)
def test_components_are_disjoint_and_complete(name: str) -> None:
    parts = [set(component.parameters) for component in anatomy(name)]
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert set().union(*parts) == {name for name, _ in model(name).named_parameters()}
    empty = {component.name for component in anatomy(name) if not component.parameters}
    assert empty == ({"connector"} if name in WITHOUT_CONNECTOR else set())
    assert sum(component.count() for component in anatomy(name)) == sum(p.numel() for p in model(name).parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_attention_and_mlp_of_llm_and_tower(name: str) -> None:
    parts = anatomy(name)
    kinds = ("attention",) if name in FUSED_EXPERTS else ("attention", "mlp")
    llm, vision = parts.llm.linears(kinds), parts.vision.linears(("attention", "mlp"))
    assert not set(llm) & set(vision)
    for component, found in ((parts.llm, llm), (parts.vision, vision)):
        assert all(f"{layer}.weight" in component.parameters for layer in found)
        for path, _ in component.layers():
            if "conv" not in str(getattr(model(name).config.get_text_config(), "layer_types", "")):
                assert any(layer.startswith(path + ".") for layer in found), f"{path} holds no linear layer"
    for kind in kinds:
        by_kind = parts.llm.linears((kind,))
        assert by_kind and set(by_kind) <= set(llm)
    assert output_head(model(name)) not in parts.llm.linears(("all",)).values()


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_are_the_blocks_of_the_configuration(name: str) -> None:
    blocks = anatomy(name).llm.layers()
    assert len(blocks) == 2
    assert all(model(name).get_submodule(path) is block for path, block in blocks)
    assert len(anatomy(name).vision.layers()) == 2


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("qwen2_vl", "model.visual.merger."),
        ("qwen2_5_vl", "model.visual.merger."),
        ("qwen3_vl", "model.visual.deepstack_merger_list."),
        ("glm4v", "model.visual.downsample."),
        ("granite_docling", "model.vision_model.connector."),
        ("llama4", "vision_model.vision_adapter."),
        ("blip-2", "query_tokens"),
        ("blip-2", "qformer."),
        ("blip-2", "language_projection."),
        ("llava_next", "model.image_newline"),
        ("ovis2", "model.visual_embeddings_table."),
        ("deepseek_vl_hybrid", "model.high_res_vision_alpha"),
    ],
)
def test_connectors_in_unusual_places(name: str, inside: str) -> None:
    assert any(parameter.startswith(inside) for parameter in anatomy(name).connector.parameters)
    assert not any(parameter.startswith(inside) for parameter in anatomy(name).vision.parameters)


def test_second_towers_are_vision_and_cross_attention_is_llm() -> None:
    assert any(name.startswith("model.video_tower.") for name in anatomy("video_llava").vision.parameters)
    hybrid = anatomy("deepseek_vl_hybrid").vision.parameters
    assert any(name.startswith("model.high_res_vision_model.") for name in hybrid)
    assert any(".cross_attn." in name for name in anatomy("mllama").llm.parameters)
    assert any(name.startswith("model.gated_cross_attn_layers.") for name in anatomy("idefics").llm.parameters)


def test_head_below_the_language_model_is_llm_and_tied_weights_count_once() -> None:
    tied = model("gemma3")
    assert tied.lm_head.weight is tied.get_input_embeddings().weight
    embedding = tied.lm_head.weight.numel()
    llm = anatomy("gemma3").llm
    assert llm.count() == sum(parameter.numel() for parameter in llm.parameters.values())
    assert sum(parameter.numel() == embedding for parameter in llm.parameters.values()) == 1
    assert "language_model.lm_head.weight" in anatomy("llama4").llm.parameters


def test_kinds_by_place_not_by_name() -> None:
    qformer = anatomy("blip-2").connector
    attention, mlp = qformer.linears(("attention",)), qformer.linears(("mlp",))
    assert not set(attention) & set(mlp)
    assert any(name.endswith("intermediate_query.dense") for name in mlp)
    assert any(name.endswith("attention.output.dense") for name in attention)
    shortconv = [name for name in anatomy("lfm2_vl").llm.linears(("all",)) if ".conv." in name]
    assert shortconv and not set(shortconv) & set(anatomy("lfm2_vl").llm.linears(("attention", "mlp")))


def test_layers_that_nobody_calls_are_left_out() -> None:
    tower = model("cohere2_vision").model.vision_tower
    assert isinstance(tower.head.attention, nn.MultiheadAttention)
    assert not any(".head.attention." in name for name in anatomy("cohere2_vision").vision.linears(("all",)))


def test_missing_kinds_are_explained() -> None:
    with pytest.raises(HoldfastError, match=r"no linear layer of kind 'k_projj'.*Present: down_proj"):
        anatomy("llava").llm.linears(("k_projj",))
    with pytest.raises(HoldfastError, match=r"experts are fused tensors.*modules: .attention."):
        anatomy("qwen3_vl_moe").llm.linears(("mlp",))
    with pytest.raises(HoldfastError, match=r"'connector' has no linear layer of kind 'all'. Present: none"):
        anatomy("gemma3").connector.linears(("all",))
    with pytest.raises(HoldfastError, match="unknown component 'projector'"):
        anatomy("llava").component("projector")


def test_unassigned_and_shared_parameters_are_errors_with_names() -> None:
    whole = anatomy("llava")
    kept = dict(whole.vision.parameters)
    lost = kept.pop("model.vision_tower.post_layernorm.weight")
    with pytest.raises(
        HoldfastError, match=r"1 parameters .* belong to no component: model.vision_tower.post_layernorm"
    ):
        check_complete(model("llava"), replace(whole, vision=Component("vision", model("llava"), kept)))
    twice = {**whole.llm.parameters, "model.vision_tower.post_layernorm.weight": lost}
    with pytest.raises(HoldfastError, match=r"1 parameters .* belong to several components"):
        check_complete(model("llava"), replace(whole, llm=Component("llm", model("llava"), twice)))
    with pytest.raises(HoldfastError, match=r"no parameters in component 'vision'|belong to no component"):
        nothing = Anatomy(*(Component(part, model("llava"), {}) for part in ("vision", "connector", "llm")))
        check_complete(model("llava"), nothing)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("janus", "belong to no component: model.generation_aligner"),
        ("qwen2_5_omni_thinker", "belong to no component: model.audio_tower"),
        ("florence2", "is an encoder-decoder"),
        ("t5gemma2", "is an encoder-decoder"),
        ("udop", "is an encoder-decoder"),
        ("pix2struct", "is an encoder-decoder"),
        ("git", "has no separate vision encoder"),
        ("fuyu", "has no separate vision encoder"),
    ],
)
def test_refused_families_say_why(name: str, reason: str) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[name]()
    with torch.device("meta"):
        made = model_class(config)(config)
    with pytest.raises(HoldfastError, match=reason):
        resolve_anatomy(made)


def test_a_plain_module_is_refused() -> None:
    with pytest.raises(HoldfastError, match="Linear"):
        resolve_anatomy(nn.Linear(2, 2))
