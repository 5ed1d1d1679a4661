"""Leaving the house: what ``holdfast export`` writes gives the run's logits in plain transformers and plain PEFT."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from holdfast import api
from holdfast.cli.tune import next_commands
from holdfast.config.loading import load_config
from holdfast.data.examples import Example, Turn
from holdfast.runs.two_models import TwoModels
from tests.support.closeness import FLOAT32, assert_near, deviation
from tests.support.desk import Desk
from tests.support.processors import save
from tests.support.tiny import ROLES

TRAIN = {"steps": 4, "batch_size": 4, "trackers": []}
RECIPES: dict[str, dict[str, Any]] = {
    "lora": {"llm": {"method": "lora", "r": 2, "lr": 1e-2}},
    "lora and full": {"llm": {"method": "lora", "r": 2, "lr": 1e-2}, "connector": {"method": "full", "lr": 1e-2}},
    "mask": {"vision": {"method": "magnitude_mask", "ratio": 0.3, "lr": 1e-2}},
    "prefix": {"llm": {"method": "prefix", "tokens": 2, "lr": 1e-2}},
    "lora and norms": {"llm": [{"method": "lora", "r": 2, "lr": 1e-2}, {"method": "norms", "lr": 1e-2}]},
    "lora and adapter": {"llm": [{"method": "lora", "r": 2}, {"method": "adapter", "bottleneck": 4}]},
    "nothing": {},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_llava: Path) -> Desk:
    """One finished run for each recipe."""
    desk = Desk(tmp_path_factory.mktemp("desk"), tiny_llava, None)  # type: ignore[arg-type]
    for name, tune in RECIPES.items():
        train = TRAIN if tune else {**TRAIN, "steps": 0}
        api.tune(desk.config(tune=tune, train=train), desk.folder / name)
    return desk


@pytest.fixture
def desk(runs: Desk, capsys: pytest.CaptureFixture[str]) -> Desk:
    """The finished runs, and the command line."""
    runs.capsys = capsys
    return runs


@torch.no_grad()
def logits(model: Any, batch: Any) -> torch.Tensor:
    result: torch.Tensor = model.eval()(**batch).logits
    return result


def rounded(model: Any, batch: Any) -> float:
    """How far the logits go when every weight is rounded once, up or down: what merging does to it."""
    other, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1 + (torch.rand(parameter.shape, generator=generator) * 2 - 1) * 2**-23)
    return deviation(logits(other, batch), logits(model, batch))


@pytest.fixture
def batch(desk: Desk) -> Any:
    """Two questions about two pictures that no part of export has seen."""
    pixels = [np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8) for seed in (1, 2)]
    asked = [Example(str(i), (image,), (Turn("what colour ?", ("red",)),)) for i, image in enumerate(pixels)]
    return api.load(str(desk.model)).chat.encode(asked, with_answers=False)


@pytest.mark.parametrize("name", ["lora", "lora and full", "mask", "lora and norms", "nothing"])
def test_an_exported_model_is_plain_transformers(desk: Desk, batch: Any, name: str, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    said = desk.run("export", desk.folder / name, "--out", tmp_path / "model")
    assert said.code == 0, said.err
    said_deviation = float(said.out.split("deviation from the run: ")[1].split("\n")[0].rstrip("."))
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "model", dtype=torch.float32)
    run, base = (logits(api.load(place).model, batch) for place in (desk.folder / name, str(desk.model)))
    # Merging rounds every weight once, and attention that has learned to be sharp passes roundings on enlarged: on one
    # kind of processor a run of this test came to 7e-5 of the largest logit, on another to 5e-7.
    bound = max(10 * rounded(plain, batch), FLOAT32)
    assert_near(logits(plain, batch), run, bound)
    assert said_deviation <= bound * float(run.abs().max())
    if name == "nothing":
        assert torch.equal(run, base)
    else:
        assert deviation(base, run) > 100 * bound  # the run did change something
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors"} <= names
    assert not any(name.endswith((".bin", ".partial")) for name in names)
    assert AutoProcessor.from_pretrained(tmp_path / "model").chat_template
    state = plain.state_dict()
    assert not [key for key in state if "lora" in key or "adapter" in key or "holdfast" in key]


def test_an_exported_model_answers_as_the_run_does(desk: Desk, tmp_path: Path) -> None:
    assert desk.run("export", desk.folder / "lora", "--out", tmp_path / "model").code == 0
    files = []
    for name, place in (("run", desk.folder / "lora"), ("model", tmp_path / "model")):
        said = desk.run("eval", place, "--tasks", desk.data, "--out", tmp_path / name / "eval", "--json")
        assert said.code == 0, said.err
        assert json.loads(said.out)["tasks"]["data"]["n"] == 12
        files.append((tmp_path / name / "eval/predictions/data.jsonl").read_bytes())
    assert files[0] == files[1]


def test_an_exported_adapter_is_plain_peft(desk: Desk, batch: Any, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    said = desk.run("export", desk.folder / "lora", "--adapter", "--out", tmp_path / "adapter")
    assert said.code == 0, said.err
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    fresh = AutoModelForImageTextToText.from_pretrained(desk.model, dtype=torch.float32)
    plain = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter"))
    run = logits(api.load(desk.folder / "lora").model, batch)
    base = logits(api.load(str(desk.model)).model, batch)
    assert torch.equal(logits(plain, batch), run)
    assert not torch.equal(run, base)


def test_a_prefix_leaves_where_plain_peft_reads_it_as_it_was_learned(desk: Desk, tmp_path: Path) -> None:
    """Qwen2.5-VL counts positions from its tokens, and PEFT hands on embeddings behind a longer mask."""
    said = desk.run("export", desk.folder / "prefix", "--adapter", "--out", tmp_path / "llava")
    assert said.code == 0 and (tmp_path / "llava" / "adapter_config.json").is_file(), said.err
    (tmp_path / "desk").mkdir()
    other = Desk(tmp_path / "desk", save(tmp_path / "qwen", "qwen2_5_vl", ROLES), desk.capsys)
    for method in ("prefix", "prompt_tuning"):
        api.tune(other.config(tune={"llm": {"method": method, "tokens": 2}}), other.folder / method)
        said = other.run("export", other.folder / method, "--adapter", "--out", tmp_path / method)
        said.refused(f"with this {method} plain PEFT", "embeddings in place of tokens", "holdfast.load")
        assert not (tmp_path / method).exists()


@pytest.mark.parametrize("name", ["lora and full", "lora and norms"])
def test_what_is_tuned_in_full_goes_with_the_adapter(desk: Desk, batch: Any, name: str, tmp_path: Path) -> None:
    """LLaVA's own recipe, or two methods on the llm, as one PEFT adapter: ``modules_to_save``."""
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    said = desk.run("export", desk.folder / name, "--adapter", "--out", tmp_path / "adapter")
    assert said.code == 0, said.err
    fresh = AutoModelForImageTextToText.from_pretrained(desk.model, dtype=torch.float32)
    plain = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter"))
    run = logits(api.load(desk.folder / name).model, batch)
    lora_alone = logits(api.load(desk.folder / "lora").model, batch)
    assert torch.equal(logits(plain, batch), run) and not torch.equal(run, lora_alone)


def test_several_methods_on_one_component_are_told_apart(desk: Desk, batch: Any) -> None:
    entry = desk.json("lora and norms/scores.json")["recipes"]["lora and norms"]
    assert entry["method"] == "lora + norms on llm" and entry["paradigm"] == "reparameterization + selective"
    parts = desk.json("lora and norms/ledger.json")["components"]["llm"]["notes"]["parts"]
    assert [part["method"] for part in parts] == ["lora", "norms"]
    assert sum(part["trainable"] for part in parts) == entry["trainable"]
    assert desk.json("lora/ledger.json")["components"]["llm"]["notes"] == {}
    commands = {
        name: [line for line, _ in next_commands(desk.folder / name, load_config(desk.folder / name / "config.yaml"))]
        for name in ("lora and norms", "lora and adapter")
    }
    assert any("export" in line for line in commands["lora and norms"])
    assert not any("export" in line for line in commands["lora and adapter"])
    base = logits(api.load(str(desk.model)).model, batch)
    for name in commands:
        two = TwoModels(desk.folder / name)
        tuned = logits(two.tuned.model, batch)
        with two.base() as plain:
            assert torch.equal(logits(plain.model, batch), base)
        assert torch.equal(logits(two.tuned.model, batch), tuned) and not torch.equal(tuned, base)


def test_a_connector_tuned_in_full_may_stand_apart(desk: Desk, batch: Any, tmp_path: Path) -> None:
    """LLaVA's own recipe as two files: the connector under the base's names, then the adapter."""
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForImageTextToText

    said = desk.run("export", desk.folder / "lora and full", "--adapter", "--apart", "--out", tmp_path / "adapter")
    assert said.code == 0 and "full.safetensors" in said.out, said.err
    fresh = AutoModelForImageTextToText.from_pretrained(desk.model, dtype=torch.float32)
    left = fresh.load_state_dict(load_file(tmp_path / "adapter" / "full.safetensors"), strict=False)
    assert not left.unexpected_keys
    plain = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter"))
    assert torch.equal(logits(plain, batch), logits(api.load(desk.folder / "lora and full").model, batch))
    said = desk.run("export", desk.folder / "lora", "--adapter", "--apart", "--out", tmp_path / "one")
    assert said.code == 2 and "nothing was tuned in full" in said.err and not (tmp_path / "one").exists()
    said = desk.run("export", desk.folder / "lora", "--apart", "--out", tmp_path / "one")
    assert said.code == 2 and "--adapter" in said.err


def test_runs_are_fused_as_the_models_they_came_to(desk: Desk, tmp_path: Path) -> None:
    """Half way between base and tuned, weight by weight, whether the run or its merged model is given."""
    from safetensors.torch import load_file

    assert desk.run("export", desk.folder / "lora", "--out", tmp_path / "model").code == 0
    options = ["--method", "wise_ft", "--set", "alpha=0.5"]
    for name, tuned in (("by-run", desk.folder / "lora"), ("by-model", tmp_path / "model")):
        said = desk.run("fuse", str(desk.model), tuned, *options, "--out", tmp_path / name)
        assert said.code == 0, said.err
    by_run, by_model = (load_file(tmp_path / name / "model.safetensors") for name in ("by-run", "by-model"))
    base, tuned_values = (
        load_file(Path(desk.model) / "model.safetensors"),
        load_file(tmp_path / "model/model.safetensors"),
    )
    assert by_run.keys() == by_model.keys() == base.keys()
    assert all(torch.equal(by_run[key], by_model[key]) for key in base)
    moved = [key for key in base if key in tuned_values and not torch.equal(base[key], tuned_values[key])]
    assert moved and all(torch.allclose(by_run[key], (base[key] + tuned_values[key]) / 2, atol=1e-6) for key in moved)
    assert not list(tmp_path.glob(".merged-*"))
    told = json.loads((tmp_path / "by-run/fusion.json").read_text("utf-8"))
    assert told["tuned"] == [str(desk.folder / "lora")]
    said = desk.run("fuse", "pocket", desk.folder / "lora", *options, "--out", tmp_path / "other")
    assert said.code == 2 and "the run was tuned from" in said.err


def test_what_serving_tools_would_miss(desk: Desk, tmp_path: Path) -> None:
    from holdfast.runs.serving import missing_for_serving

    said = desk.run("export", desk.folder / "lora", "--out", tmp_path / "model")
    assert "vLLM " in said.out and "llama.cpp " in said.out
    assert "transformers 4 would miss a tokenizer class that it knows" in said.out
    whole = missing_for_serving(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()
    for file in tmp_path.glob("model/chat_template*"):
        file.unlink()
    config = json.loads((tmp_path / "model/config.json").read_text("utf-8"))
    (tmp_path / "model/config.json").write_text(json.dumps({**config, "architectures": None}), encoding="utf-8")
    less = missing_for_serving(tmp_path / "model")
    assert (
        "tokenizer.json or tokenizer.model" in less["vLLM"] and "tokenizer.json or tokenizer.model" in less["llama.cpp"]
    )
    assert "architectures in config.json" in less["vLLM"] and len(less["vLLM"]) > len(whole["vLLM"]) == 0
    older = {"tokenizer_class": "LlamaTokenizerFast", "chat_template": "{{ messages }}"}
    (tmp_path / "model/tokenizer_config.json").write_text(json.dumps(older), encoding="utf-8")
    (tmp_path / "model/tokenizer.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model/preprocessor_config.json").write_text("{}", encoding="utf-8")
    assert missing_for_serving(tmp_path / "model")["transformers 4"] == ["architectures in config.json"]


def test_the_model_card(desk: Desk, tmp_path: Path) -> None:
    import yaml

    assert desk.run("export", desk.folder / "lora", "--out", tmp_path / "model").code == 0
    _, head, body = (tmp_path / "model/README.md").read_text("utf-8").split("---\n", 2)
    about = yaml.safe_load(head)
    assert about["library_name"] == "transformers" and about["pipeline_tag"] == "image-text-to-text"
    entry = desk.json("lora/scores.json")["recipes"]["lora"]
    row = entry["target"]["data"]
    assert f"| data | target | {row['n']} | {row['before']:.1f} | {row['after']:.1f} |" in body
    recipe = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    assert recipe["tune"]["llm"]["method"] == "lora" and recipe["train"]["steps"] == 4
    assert str(desk.folder) not in body and str(desk.model.parent) not in body, "no path of this machine"  # type: ignore[union-attr]
    assert recipe["model"] == Path(desk.model).name
    assert "One seed (0)" in body and "trained on: data.jsonl" in body
    assert (tmp_path / "model/model.safetensors").stat().st_mode & 0o777 == (
        tmp_path / "model/README.md"
    ).stat().st_mode & 0o777


def test_refusals(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "x"
    desk.run("export", desk.folder / "prefix", "--out", out).refused(
        "'prefix' cannot be folded into the weights", "holdfast.load"
    )
    said = desk.run("export", desk.folder / "lora and adapter", "--out", out)
    said.refused("'adapter' cannot be folded into the weights", "holdfast.load")
    for name in ("mask", "lora and adapter", "nothing"):
        desk.run("export", desk.folder / name, "--adapter", "--out", out).refused("not one PEFT adapter")
    assert not out.exists()
    assert not list(tmp_path.glob("*.partial"))
    (tmp_path / "taken").mkdir()
    desk.run("export", desk.folder / "lora", "--out", tmp_path / "taken").refused("exists already", "another --out")


def test_a_recipe_that_changes_nothing_scores_zero(desk: Desk) -> None:
    entry = desk.json("nothing/scores.json")["recipes"]["nothing"]
    assert (entry["E"], entry["learned"], entry["forgot"]) == (0.0, 0, 0)
    assert entry["trainable"] == 0


def test_eval_goes_on_and_keeps_to_its_items(desk: Desk, tmp_path: Path) -> None:
    words = ("eval", desk.model, "--tasks", desk.data, "--out", tmp_path / "e", "--max-new-tokens", "3")
    first = desk.run(*words)
    assert first.code == 0, first.err
    file = tmp_path / "e/predictions/data.jsonl"
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:5]) + lines[5][:9])
    assert desk.run(*words).code == 0
    assert file.read_bytes() == whole
    desk.run(*words, "--limit", "4").refused("answers to other items of 'data'", "another --out")
    desk.run(*words[:-1], "9").refused("of another length")
    desk.run("eval", desk.folder / "lora", *words[2:]).refused("answers of another model", "another --out")
    desk.run("eval", desk.model, "--tasks", "", "--out", tmp_path / "e").refused("no task is named")
    desk.run(*words, "--metric", "exact_mach").refused("unknown metric 'exact_mach'", "'exact_match'?")
    assert file.read_bytes() == whole
    # Another task joins the folder; the first one's score stays.
    other = desk.folder / "other.jsonl"
    other.write_text(desk.data.read_text("utf-8").replace("what colour", "which"), encoding="utf-8")
    assert desk.run("eval", desk.model, "--tasks", other, *words[4:]).code == 0
    assert set(json.loads((tmp_path / "e/scores.json").read_text("utf-8"))["tasks"]) == {"data", "other"}


def test_an_evaluation_never_writes_into_a_run(desk: Desk) -> None:
    from tests.support.desk import snapshot

    before = snapshot(desk.folder / "lora")
    said = desk.run("eval", desk.folder / "lora", "--tasks", desk.data, "--out", desk.folder / "lora")
    said.refused("not the folder of an evaluation")
    assert snapshot(desk.folder / "lora") == before


def test_paths_start_at_the_configuration_and_a_run_loads_from_anywhere(
    tmp_path: Path, tiny_llava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, "model", None)  # type: ignore[arg-type]
    (tmp_path / "model").symlink_to(tiny_llava)
    config = desk.config()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    api.tune(config, "run")
    monkeypatch.chdir(tmp_path)
    assert api.load("elsewhere/run").name == str(tiny_llava.resolve())
    assert api.tune(config, "elsewhere/run").scores["name"] == "run"
