"""Checkpoints of GPTQ and AWQ: what their layers hold is seen, and LoRA learns beside them where gptqmodel is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import holdfast
from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.methods.recipe import Recipe, restore
from holdfast.models.anatomy import resolve_anatomy
from holdfast.models.loading import Loaded, load_model
from holdfast.models.packed import show_words
from holdfast.models.quantised import packed_components, packed_elsewhere, stored_components
from holdfast.planning.plan import make_plan
from holdfast.training.loop import Trainer
from tests.support import tiny
from tests.support.methods import examples

GROUP = 32
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
LORA = {"llm": {"method": "lora", "r": 4, "alpha": 8, "lr": 1e-2, "dropout": 0.0}}


class Words(nn.Module):
    """A linear layer as gptqmodel's look from outside: integers in a buffer, and its sizes."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.bits, self.in_features, self.out_features = 4, layer.in_features, layer.out_features
        self.register_buffer("qweight", torch.zeros(layer.in_features // 8, layer.out_features, dtype=torch.int32))
        self.register_buffer("scales", torch.ones(1, layer.out_features))


@pytest.fixture
def stored(tiny_llava: Path) -> Loaded:
    """A model whose llm has such layers; it computes nothing."""
    loaded = load_model(str(tiny_llava), device="cpu")
    for name in loaded.anatomy.llm.linears(("attention", "mlp")):
        parent, _, child = name.rpartition(".")
        setattr(loaded.model.get_submodule(parent), child, Words(loaded.model.get_submodule(name)))  # type: ignore[arg-type]
    return loaded


def test_packed_integers_are_counted_as_the_weights_that_they_hold(stored: Loaded, tiny_llava: Path) -> None:
    plain, names = load_model(str(tiny_llava), device="cpu"), set(stored.model.state_dict())
    show_words(stored.model)
    anatomy = resolve_anatomy(stored.model)
    assert set(stored.model.state_dict()) == names, "what is saved and digested has the same names"
    assert {part.name: part.count() for part in anatomy} == {part.name: part.count() for part in plain.anatomy}
    assert packed_components(anatomy) == {"llm": 4} and packed_elsewhere(anatomy) == {"llm"}
    assert anatomy.llm.linears(("attention", "mlp")).keys() == plain.anatomy.llm.linears(("attention", "mlp")).keys()
    assert not any(p.requires_grad for name, p in stored.model.named_parameters() if name.endswith("qweight"))


@pytest.mark.parametrize("method", ["full", "dora", "adapter", "random_mask", "vera"])
def test_methods_that_do_not_know_such_layers_say_so(method: str, stored: Loaded) -> None:
    show_words(stored.model)
    loaded = Loaded(stored.name, stored.model, stored.chat, resolve_anatomy(stored.model))
    with pytest.raises(HoldfastError, match=f"method '{method}' does not know the layers of 'llm'.* Use lora"):
        Recipe(load_config({"tune": {"llm": {"method": method}}})).attach(loaded, 0)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``gptq`` and ``awq``: a tiny LLaVA packed by hand, and ``values``: what the packed weights stand for."""
    root, config = tmp_path_factory.mktemp("packed"), tiny.llava_config()
    text = config.text_config
    text.hidden_size, text.intermediate_size, text.head_dim = 64, 128, 16
    text.num_attention_heads = text.num_key_value_heads = 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "llava_config", lambda: config)
        plain = tiny.save_llava(root / "plain")
    state = load_file(plain / "model.safetensors")
    made: dict[str, dict[str, Tensor]] = {"gptq": {}, "awq": {}, "values": {}}
    for name, value in state.items():
        if "language_model" not in name or not name.endswith("proj.weight"):
            for tensors in made.values():
                tensors[name] = value.half()
            continue
        stem = name.removesuffix("weight")
        groups = value.t().reshape(-1, GROUP, len(value))
        scales = (groups.abs().amax(1) / 7).half()
        whole = ((groups / scales.float()[:, None]).round().clamp(-8, 7) + 8).int().reshape(-1, len(value))
        zeros = torch.full(scales.shape, 8, dtype=torch.int32)
        made["values"][name] = ((whole - 8) * scales.float().repeat_interleave(GROUP, 0)).t().contiguous()
        made["gptq"] |= {
            stem + "qweight": words(whole.t(), range(8)).t().contiguous(),
            stem + "qzeros": words(zeros - 1, range(8)),  # as the first version of the format has it
            stem + "scales": scales,
            stem + "g_idx": torch.arange(len(whole), dtype=torch.int32) // GROUP,
        }
        awq = {"qweight": words(whole, AWQ_ORDER), "qzeros": words(zeros, AWQ_ORDER), "scales": scales}
        made["awq"] |= {stem + part: tensor for part, tensor in awq.items()}
    told: dict[str, Any] = {
        "gptq": {"desc_act": False, "sym": True, "checkpoint_format": "gptq", "backend": "torch"},
        "awq": {
            "zero_point": True, "version": "gemm", "backend": "torch_awq",
            "modules_to_not_convert": ["model.vision_tower", "model.multi_modal_projector", "lm_head"],
        },
    }  # fmt: skip
    for way, tensors in made.items():
        shutil.copytree(plain, root / way)
        save_file(tensors, root / way / "model.safetensors", metadata={"format": "pt"})
        settings = json.loads((plain / "config.json").read_text("utf-8"))
        if way in told:
            settings["quantization_config"] = {"quant_method": way, "bits": 4, "group_size": GROUP, **told[way]}
        (root / way / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return root


def words(values: Tensor, order: Any) -> Tensor:
    """Eight numbers of four bits an int32, along the last dimension; ``order`` is theirs from the lowest bits on."""
    parts = values.reshape(*values.shape[:-1], -1, 8).long()
    packed = sum(parts[..., place] << (4 * shift) for shift, place in enumerate(order))
    assert isinstance(packed, Tensor)
    return torch.where(packed >= 1 << 31, packed - (1 << 32), packed).int().contiguous()


@pytest.mark.parametrize("way", ["gptq", "awq"])
def test_which_components_are_packed_is_known_before_anything_is_loaded(way: str, checkpoints: Path) -> None:
    folder = str(checkpoints / way)
    assert stored_components(folder, way, trust_remote_code=False) == ({"llm": 4}, {"llm"})


@pytest.mark.parametrize("way", ["gptq", "awq"])
def test_what_does_not_know_them_is_refused_by_plans_and_before_anything_is_loaded(
    way: str, checkpoints: Path, tmp_path: Path
) -> None:
    """Whether or not the package is there that would load them."""
    model = {"model": str(checkpoints / way), "target": "pocket:digits"}
    lora, vera, tower = ({**model, "tune": tune} for tune in (LORA, {"llm": "vera"}, {"vision": "full"}))
    refused = "method 'vera' does not know the layers of 'llm'.* Use lora"
    with pytest.raises(HoldfastError, match=refused):
        make_plan(load_config(vera))
    with pytest.raises(HoldfastError, match=refused):
        holdfast.tune(vera, out=tmp_path / "run")
    assert all(make_plan(load_config(fine)).ledger.trainable for fine in (lora, tower))


@pytest.mark.parametrize("way", ["gptq", "awq"])
def test_lora_learns_beside_them(way: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gptqmodel")
    pytest.importorskip("optimum")
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # it would compile each layer for minutes
    loaded, shown = load_model(str(checkpoints / way), device="cpu"), examples()
    batch = loaded.chat.encode(shown[:4], with_answers=False)
    values = load_model(str(checkpoints / "values"), device="cpu")
    assert packed_components(loaded.anatomy) == {"llm": 4}
    assert {part.name: part.count() for part in loaded.anatomy} == {part.name: part.count() for part in values.anatomy}
    right, mine = logits(values, batch), logits(loaded, batch)
    assert float((mine - right).abs().max()) <= 2e-3 * float(right.abs().max())
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    config = load_config({"tune": LORA, "train": {"steps": 6, "batch_size": 4, "warmup": 0.0, "trackers": []}})
    recipe = Recipe(config)
    recipe.attach(loaded, 0)
    losses = Trainer(loaded, recipe, config.train, shown, (), seed=0).fit().losses
    assert losses[-1] < losses[0] - 0.3
    tuned, artifacts = logits(loaded, batch), recipe.detach()
    after = loaded.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(tensor, after[n]) for n, tensor in before.items())
    fresh = load_model(str(checkpoints / way), device="cpu")
    assert fresh.identity == loaded.identity
    restore(fresh, artifacts)
    assert torch.allclose(logits(fresh, batch), tuned, atol=1e-5)


@torch.no_grad()
def logits(loaded: Loaded, batch: dict[str, Tensor]) -> Tensor:
    result: Tensor = loaded.model.eval()(**batch).logits.float()  # type: ignore[operator]
    return result
