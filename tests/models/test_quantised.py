"""Bases of four and eight bits: what trains beside them, what is refused, what is saved, merged and planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast import api
from holdfast.config.loading import load_config
from holdfast.config.schema import Load
from holdfast.errors import HoldfastError
from holdfast.methods.recipe import Recipe, restore
from holdfast.methods.registry import METHODS
from holdfast.models.anatomy import resolve_anatomy
from holdfast.models.loading import Loaded, load_model
from holdfast.models.quantised import keep_still
from holdfast.planning.plan import make_plan
from holdfast.training.loop import Trainer
from tests.support.closeness import FLOAT32, assert_near, deviation
from tests.support.desk import Desk
from tests.support.methods import SOURCES, Pools, examples, tune_section

bitsandbytes = pytest.importorskip("bitsandbytes")

BESIDE = sorted(name for name in METHODS.names() if 4 in METHODS.find(name).over_quantised)
LORA = {"llm": {"method": "lora", "r": 2, "alpha": 4, "lr": 1e-2}}
TRAIN = {"steps": 4, "batch_size": 4, "trackers": [], "warmup": 0.0}


def unpacked(loaded: Loaded) -> Loaded:
    """The same model with plain matrices of the values that the packed ones stand for."""
    for name, layer in list(loaded.model.named_modules()):
        if isinstance(layer, bitsandbytes.nn.Linear4bit):
            plain = nn.Linear(layer.in_features, layer.out_features, bias=False)
            values = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            plain.weight = nn.Parameter(values.clone(), requires_grad=False)
            parent, _, child = name.rpartition(".")
            setattr(loaded.model.get_submodule(parent), child, plain)
    return Loaded(loaded.name, loaded.model, loaded.chat, resolve_anatomy(loaded.model))


@torch.no_grad()
def logits(model: Any, batch: Any) -> Tensor:
    result: Tensor = model.eval()(**batch).logits
    return result


def batch_of(loaded: Loaded) -> dict[str, Tensor]:
    return loaded.chat.encode(examples(4), with_answers=False)


@pytest.mark.parametrize("method", BESIDE)
def test_what_is_learned_over_packed_weights_is_what_plain_ones_of_their_values_would_have(
    tiny_llava: Path, method: str
) -> None:
    loaded = load_model(str(tiny_llava), load=Load(bits=4))
    config = load_config({"tune": tune_section(method), "train": {**TRAIN, "batch_size": 8}, "load": {"bits": 4}})
    recipe, shown = Recipe(config), examples()
    pools = Pools(loaded, config.train, 0, shown, shown, SOURCES)
    base, batch = logits(loaded.model, batch_of(loaded)), batch_of(loaded)
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    recipe.attach(loaded, 0, pools, pools.loss)
    outcome = Trainer(loaded, recipe, config.train, shown, (), seed=0).fit()
    assert min(outcome.losses) < outcome.losses[0]
    tuned = logits(loaded.model, batch)
    with recipe.suspended():
        assert torch.equal(logits(loaded.model, batch), base)
    artifacts = recipe.detach()
    after = loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert deviation(tuned, base) > 1e-3
    other = unpacked(load_model(str(tiny_llava), load=Load(bits=4)))
    restore(other, artifacts)
    assert_near(logits(other.model, batch), tuned, FLOAT32)


@pytest.mark.parametrize("method", sorted(set(METHODS.names()) - set(BESIDE) - {"frozen"}))
def test_methods_that_need_the_weights_are_refused_before_anything_is_loaded(method: str) -> None:
    component = "vision" if method == "bitfit" else "llm"
    config = {"tune": {component: {"method": method}}, "load": {"bits": 4, "components": [component]}}
    with pytest.raises(HoldfastError) as refused:
        Recipe(load_config(config))
    assert f"'{method}'" in str(refused.value)
    assert "4 bits" in str(refused.value)


def test_an_option_may_need_the_weights_where_the_method_does_not() -> None:
    dora = {"llm": {"method": "lora", "use_dora": True}}
    Recipe(load_config({"tune": dora, "load": {"bits": 4}}))
    with pytest.raises(HoldfastError, match="method 'lora' reads the weights of 'llm', which are kept in 8 bits"):
        Recipe(load_config({"tune": dora, "load": {"bits": 8}}))


def test_a_component_that_is_not_packed_takes_any_method_and_any_fusion() -> None:
    fusion = {"method": "wise_ft", "components": ["connector"]}
    Recipe(load_config({"tune": {"connector": "full", **LORA}, "fuse": fusion, "load": {"bits": 4}}))
    with pytest.raises(HoldfastError, match="fusion 'wise_ft' edits the weights of 'llm'"):
        Recipe(load_config({"tune": LORA, "fuse": "wise_ft", "load": {"bits": 4}}))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_llava: Path) -> Desk:
    """Runs on bases of four and eight bits."""
    desk = Desk(tmp_path_factory.mktemp("desk"), tiny_llava, None)  # type: ignore[arg-type]
    for bits in (4, 8):
        api.tune(desk.config(tune=LORA, train=TRAIN, load={"bits": bits}), desk.folder / f"bits{bits}")
    api.tune(desk.config(tune=LORA, train={**TRAIN, "steps": 0}, load={"bits": 4}), desk.folder / "untrained")
    return desk


@pytest.mark.parametrize("bits", [4, 8])
def test_a_run_says_what_its_base_was_kept_in(finished: Desk, bits: int, tiny_llava: Path) -> None:
    run = finished.folder / f"bits{bits}"
    rows = json.loads((run / "ledger.json").read_text())["components"]
    assert rows["llm"]["notes"]["bits"] == bits
    assert "bits" not in rows["vision"]["notes"]
    plain = load_model(str(tiny_llava))
    added = rows["llm"]["trainable"]
    assert rows["llm"]["total"] - added == plain.anatomy.llm.count()
    tuned, packed = api.load(run), load_model(str(tiny_llava), load=Load(bits=bits))  # type: ignore[arg-type]
    record = json.loads((run / "artifact" / "artifact.json").read_text())
    assert record["base_identity"] == packed.identity != plain.identity
    assert deviation(logits(tuned.model, batch_of(packed)), logits(packed.model, batch_of(packed))) > 1e-3


def test_a_run_that_trains_nothing_forgets_exactly_nothing(finished: Desk) -> None:
    entry = next(iter(json.loads((finished.folder / "untrained" / "scores.json").read_text())["recipes"].values()))
    assert entry["E"] == 0
    assert all(row["learned"] == row["forgot"] == 0 for row in entry["target"].values())
    assert all(row["learned"] == row["forgot"] == 0 for row in entry["sources"].values())


def test_the_adapter_loads_in_plain_peft_on_the_same_packed_base(finished: Desk, tiny_llava: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    from holdfast.runs.export import export_adapter

    export_adapter(finished.folder / "bits4", finished.folder / "adapter")
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=["lm_head", "model.vision_tower", "model.multi_modal_projector"],
    )
    base = AutoModelForImageTextToText.from_pretrained(tiny_llava, quantization_config=settings, dtype=torch.float32)
    keep_still(base)  # on some processors the library cannot answer with matrices as small as these
    run = api.load(finished.folder / "bits4")
    batch = batch_of(run)
    assert_near(logits(PeftModel.from_pretrained(base, finished.folder / "adapter"), batch), logits(run.model, batch))


def test_a_merged_model_is_the_change_on_the_base_before_it_was_packed(finished: Desk, tiny_llava: Path) -> None:
    from transformers import AutoModelForImageTextToText

    from holdfast.runs.artifacts import load_artifacts
    from holdfast.runs.export import export_model

    said = export_model(finished.folder / "bits4", finished.folder / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(finished.folder / "merged", dtype=torch.float32)
    assert not hasattr(merged.config, "quantization_config")
    plain = load_model(str(tiny_llava))
    restore(plain, load_artifacts(finished.folder / "bits4" / "artifact")[0])
    batch = batch_of(plain)
    assert_near(logits(merged, batch), logits(plain.model, batch), 1e-4)
    assert said > 1e-4 * float(logits(merged, batch).abs().max())  # four bits are not what stood there before


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, tiny_llava: Path) -> Path:
    """A checkpoint that holds four bits a weight."""
    folder = tmp_path_factory.mktemp("stored")
    packed = load_model(str(tiny_llava), load=Load(bits=4))
    packed.model.save_pretrained(folder)  # type: ignore[operator]
    packed.chat.processor.save_pretrained(folder)
    return folder


def test_a_checkpoint_that_is_stored_packed_is_taken_as_it_is_and_not_packed_twice(
    stored: Path, tiny_llava: Path, tmp_path: Path
) -> None:
    packed, loaded = load_model(str(tiny_llava), load=Load(bits=4)), load_model(str(stored))
    assert loaded.identity == packed.identity
    assert torch.equal(logits(loaded.model, batch_of(loaded)), logits(packed.model, batch_of(loaded)))
    with pytest.raises(HoldfastError, match=r"in 4 bits already .bitsandbytes., and a base cannot be quantised twice"):
        load_model(str(stored), load=Load(bits=8))
    desk = Desk(tmp_path, stored, None)  # type: ignore[arg-type]
    api.tune(desk.config(tune=LORA, train=TRAIN), tmp_path / "run")
    assert desk.json("run/ledger.json")["components"]["llm"]["notes"] == {"bits": 4}
    from holdfast.runs.export import export_model

    with pytest.raises(HoldfastError, match=r"stored packed.*--adapter"):
        export_model(tmp_path / "run", tmp_path / "merged")


def test_a_method_that_writes_is_refused_before_a_packed_checkpoint_is_loaded(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, stored, None)  # type: ignore[arg-type]
    monkeypatch.setattr("holdfast.runs.shelf.load_model", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(HoldfastError, match="method 'full' writes the weights of 'llm', which are kept in 4 bits"):
        api.tune(desk.config(tune={"llm": {"method": "full", "lr": 1e-3}}, train=TRAIN), tmp_path / "run")


def test_a_missing_package_is_named(tiny_llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.models.quantised.find_spec", lambda name: None)
    with pytest.raises(HoldfastError, match=r"load\.bits: 4 needs the package bitsandbytes.*holdfast\[bits\]"):
        load_model(str(tiny_llava), load=Load(bits=4))


@pytest.mark.parametrize("load", [{"bits": 4}, {"bits": 4, "double": False}, {"bits": 8}])
def test_a_plan_weighs_packed_weights_as_they_are_kept(tiny_llava: Path, load: dict[str, Any]) -> None:
    planned = make_plan(load_config({"model": str(tiny_llava), "tune": LORA, "load": load}), precision="fp32")
    model = load_model(str(tiny_llava), load=Load(**load)).model
    kept = sum(t.numel() * t.element_size() for n, t in model.state_dict().items() if ".quant_state." not in n)
    maps = sum(t.numel() * t.element_size() for n, t in model.state_dict().items() if n.endswith("quant_map"))
    trained = 4 * next(row.trainable for row in planned.ledger.rows if row.component == "llm")
    largest = 4 * 32 * 48  # unpacked for one product
    formats = sum(1 for name in model.state_dict() if name.endswith("weight_format"))
    assert planned.memory.weights == pytest.approx(kept - maps - formats + trained + largest, rel=0.01)


def test_a_seven_billion_base_in_four_bits_is_planned_at_four_bits_and_its_scales() -> None:
    tune = {"tune": {"llm": {"method": "lora", "r": 8}}, "model": "llava-1.5-7b"}
    packed, plain = (make_plan(load_config({**tune, **more})) for more in ({"load": {"bits": 4}}, {}))
    matrices = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    saved = matrices * (16 - 4.127) / 8 - 2 * 4096 * 11008
    assert plain.memory.weights - packed.memory.weights == pytest.approx(saved, rel=1e-3)
    assert packed.ledger.base == plain.ledger.base
