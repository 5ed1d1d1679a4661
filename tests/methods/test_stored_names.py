"""Folders that the library loads as the same tensors fuse, whatever their tensors are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.fusion.base import Fusion
from holdfast.methods.fusion.folders import fuse_folders
from holdfast.methods.registry import make_fusion
from tests.support.families import build
from tests.support.tiny import save_llava


def changed(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: (v + 0.5).contiguous().clone() if v.is_floating_point() else v for name, v in values.items()}


def beside(base: Path, name: str, tensors: dict[str, Tensor]) -> Path:
    folder = base.with_name(name)
    shutil.copytree(base, folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def half() -> Fusion:
    return make_fusion("wise_ft", {"alpha": 0.5})


def test_names_of_the_release_and_of_the_modules(tmp_path: Path) -> None:
    base = save_llava(tmp_path / "base")
    stored = load_file(base / "model.safetensors")
    from transformers import AutoModelForImageTextToText

    modules = AutoModelForImageTextToText.from_pretrained(base).state_dict()
    assert stored.keys() != modules.keys(), "the case is about names that differ"
    by_release, by_module = beside(base, "release", changed(stored)), beside(base, "module", changed(modules))
    fuse_folders(base, [by_release], half(), tmp_path / "one")
    fuse_folders(base, [by_module], half(), tmp_path / "two")
    one, two = load_file(tmp_path / "one/model.safetensors"), load_file(tmp_path / "two/model.safetensors")
    assert one.keys() == two.keys() == stored.keys()
    for name, values in stored.items():
        assert torch.equal(one[name], two[name]), name
        assert torch.allclose(one[name], values + 0.25, atol=1e-6), name
    fuse_folders(by_module, [base], half(), tmp_path / "back")
    back = load_file(tmp_path / "back/model.safetensors")
    assert back.keys() == modules.keys() and torch.allclose(back["lm_head.weight"], one[head(one)], atol=1e-6)


def head(tensors: dict[str, Tensor]) -> str:
    return next(name for name in tensors if name.endswith("lm_head.weight"))


def test_a_tied_head_stored_twice_or_once(tmp_path: Path) -> None:
    model = build("qwen2_vl")
    model.config.tie_word_embeddings = model.config.get_text_config().tie_word_embeddings = True
    model.tie_weights()
    base = tmp_path / "base"
    model.save_pretrained(base)
    once = load_file(base / "model.safetensors")
    assert not any(name.endswith("lm_head.weight") for name in once)
    embeddings = next(name for name in once if name.endswith("embed_tokens.weight"))
    twice = beside(base, "twice", {**changed(once), "lm_head.weight": (once[embeddings] + 0.5).clone()})
    fuse_folders(base, [twice], half(), tmp_path / "out")
    fused = load_file(tmp_path / "out/model.safetensors")
    assert fused.keys() == once.keys()
    assert torch.allclose(fused[embeddings], once[embeddings] + 0.25, atol=1e-6)
    # The library does not tie what is stored with different values, and the base has no place for a second tensor.
    apart = beside(base, "apart", {**changed(once), "lm_head.weight": (once[embeddings] + 0.7).clone()})
    with pytest.raises(HoldfastError, match=r"lm_head.weight.*differ.*tie_word_embeddings"):
        fuse_folders(base, [apart], half(), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_tensor_too_many_is_refused(tmp_path: Path) -> None:
    base = save_llava(tmp_path / "base")
    stored = load_file(base / "model.safetensors")
    more = beside(base, "more", {**stored, "extra.weight": torch.zeros(2)})
    with pytest.raises(HoldfastError, match=r"'extra.weight' stands in .*more and not in .*base"):
        fuse_folders(base, [more], half(), tmp_path / "out")
    fewer = dict(stored)
    gone = sorted(fewer)[0]
    del fewer[gone]
    with pytest.raises(HoldfastError, match=f"'{gone}' stands in .*base and not in .*fewer"):
        fuse_folders(base, [beside(base, "fewer", fewer)], half(), tmp_path / "out")
