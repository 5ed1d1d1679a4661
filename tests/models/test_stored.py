"""Checkpoints that were quantised before: loaded where their package is there, else one sentence that names it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.errors import HoldfastError
from holdfast.models.loading import load_model, stored_bits_of

GROUP = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 16}
PACKED: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "quantization_status": "compressed",
    "config_groups": {"group_0": {"targets": ["re:.*language_model.*proj"], "weights": GROUP}},
    "ignore": ["lm_head"],
}
NEEDS = {
    "gptq": ({"bits": 4, "group_size": 16}, "gptqmodel and optimum", "gptqmodel"),
    "awq": ({"bits": 4, "group_size": 16, "version": "gemm"}, "gptqmodel", "gptqmodel"),
    "compressed-tensors": (PACKED, "compressed-tensors", "compressed_tensors"),
    "torchao": ({"quant_type": "int4_weight_only"}, "torchao", "torchao"),
}


def stored_as(tiny_llava: Path, folder: Path, section: Any, part: str | None = None) -> str:
    """The folder of a tiny model whose configuration says that it is quantised."""
    shutil.copytree(tiny_llava, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (config if part is None else config[part])["quantization_config"] = section
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize("part", [None, "text_config"])
@pytest.mark.parametrize("how", NEEDS)
def test_a_missing_package_is_named(tiny_llava: Path, tmp_path: Path, how: str, part: str | None) -> None:
    section, packages, module = NEEDS[how]
    if importlib.util.find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    place = stored_as(tiny_llava, tmp_path / "model", {"quant_method": how, **section}, part)
    with pytest.raises(
        HoldfastError, match=f"stored as {how}, which needs the packages? {packages}. Install"
    ) as refused:
        load_model(place, device="cpu")
    assert "pip install" in str(refused.value)


@pytest.mark.parametrize("section", [{"quant_method": "exl2", "bits": 4.0}, {"quant_method": "modelopt"}, {"bits": 4}])
def test_what_the_library_would_pass_over_is_refused(tiny_llava: Path, tmp_path: Path, section: Any) -> None:
    place = stored_as(tiny_llava, tmp_path / "model", section)
    with pytest.raises(HoldfastError, match="quantised in a way that transformers does not read"):
        load_model(place, device="cpu")


def test_an_empty_section_says_nothing(tiny_llava: Path, tmp_path: Path) -> None:
    place = stored_as(tiny_llava, tmp_path / "model", {})
    assert stored_bits_of(place) == ({}, set())
    load_model(place, device="cpu")


def test_compressed_tensors_are_unpacked_while_they_are_loaded(tiny_llava: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
    from safetensors.torch import save_file

    plain = load_model(str(tiny_llava), device="cpu").model
    expected = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    settings = QuantizationConfig(**{key: PACKED[key] for key in PACKED if key != "quantization_status"})
    apply_quantization_config(plain, settings)
    rounded = 0
    for name, layer in plain.named_modules():
        if hasattr(layer, "weight_scale"):
            groups = layer.weight.data.unflatten(1, (-1, 16))
            scale = groups.abs().amax(-1) / 7
            layer.weight_scale.data = scale
            expected[f"{name}.weight"] = ((groups / scale[..., None]).round() * scale[..., None]).flatten(1)
            rounded += 1
    assert rounded == 21
    ModelCompressor(quantization_config=settings).compress_model(plain)
    place = stored_as(tiny_llava, tmp_path / "model", PACKED)
    (tmp_path / "model" / "model.safetensors").unlink()
    tensors = {name: tensor.contiguous() for name, tensor in plain.state_dict().items()}
    save_file(tensors, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})

    assert stored_bits_of(place) == ({}, set()), "any method goes with it"
    loaded = load_model(place, device="cpu")
    found = loaded.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    assert not hasattr(loaded.model.config, "quantization_config"), "what is exported is not packed"
