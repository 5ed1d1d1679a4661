"""Every mistake in a configuration, a model folder or an --out, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from holdfast.runs.shelf import Shelf
from tests.support.desk import Desk, snapshot


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modle": "x"}, ["recipe.yaml, line 14: unknown key 'modle'", "did you mean 'model'?"]),
        ({"tune": {"visoin": "lora"}}, ["line 3: unknown key 'tune.visoin'", "did you mean 'vision'?"]),
        ({"tune": {"llm": {"method": "lorra"}}}, ["line 4: tune.llm: unknown method 'lorra'", "mean 'lora'?"]),
        ({"tune": {"llm": "zzz"}}, ["line 3: tune.llm: unknown method 'zzz'", "known: "]),
        ({"tune": {"llm": {"method": "full", "rank": 3}}}, ["tune.llm: method 'full' has no option 'rank'"]),
        (
            {"tune": {"llm": {"method": "lora", "r": 99}}},
            ["line 3: tune.llm: rank 99 is above the width 32 of layer ", "choose r of at most"],
        ),
        (
            {"tune": {"llm": {"method": "lora", "r": 0}}},
            ["line 5: tune.llm: method 'lora', option 'r' is 0", "greater than 0"],
        ),
        ({"tune": {"llm": {"method": "lora", "alhpa": 8}}}, ["method 'lora' has no option 'alhpa'", "mean 'alpha'?"]),
        ({"tune": {"llm": {"method": "lora", "modules": ["q_prj"]}}}, ["no linear layer of kind 'q_prj'", "q_proj"]),
        ({"tune": {"llm": {"method": "adapter", "bottleneck": 4000}}}, ["bottleneck 4000 exceeds the width"]),
        ({"tune": {"vision": "prefix"}}, ["line 3: tune.vision: method 'prefix' works on the llm only", "tune.llm"]),
        (
            {"tune": {"connector": "hft"}},
            ["line 3: tune.connector: component 'connector' has no repeated layers", "use the method on llm or vision"],
        ),
        ({"tune": {"llm": "bitfit"}}, ["'bitfit'", "'llm'"]),
        ({"tune": {"llm": {"method": "full", "lr": -1}}}, ["line 5: 'tune.llm.lr' is -1", "greater than 0"]),
        ({"tune": {"llm": {"method": "full", "lr": float("inf")}}}, ["'tune.llm.lr' is inf", "finite"]),
        ({"tune": {}}, ["trains nothing", "frozen"]),
        ({"keep": ["l2_sp", {"stabiliser": "replya"}]}, ["line 16: unknown stabiliser 'replya'", "mean 'replay'?"]),
        ({"keep": [{"stabiliser": "replay"}]}, ["'replay' needs training examples of the sources"]),
        ({"tune": {"llm": {"method": "adapter", "bottleneck": 4}}, "keep": ["l2_sp"]}, ["'l2_sp'", "selective"]),
        ({"fuse": {"method": "wise_tf"}}, ["unknown fusion 'wise_tf'", "mean 'wise_ft'?"]),
        (
            {"tune": {"llm": {"method": "adapter", "bottleneck": 4}}, "fuse": "wise_ft"},
            ["fusion 'wise_ft'", "'adapter'"],
        ),
        ({"train": {"steps": -3}}, ["line 9: 'train.steps' is -3", "greater than or equal to 0"]),
        ({"train": {"steps": "many"}}, ["'train.steps' is 'many'", "integer"]),
        ({"train": {"schedule": "cosin"}}, ["'train.schedule' is 'cosin'", "'cosine'"]),
        (
            {"train": {"trackers": ["wandb"]}},
            ["line 9: tracker 'wandb' of train.trackers is not installed", "pip install wandb"],
        ),
        ({"target": None}, ["the configuration names no target"]),
        ({"target": {"dta": "data.jsonl"}}, ["line 8: unknown key 'target.dta'", "mean 'data'?"]),
        (
            {"target": {"data": "data.jsonl", "metric": "exct_match"}},
            ["unknown metric 'exct_match'", "mean 'exact_match'?"],
        ),
        ({"target": {"data": "data.jsonl", "validation": 0.6, "test": 0.6}}, ["leave nothing to train on"]),
        ({"target": {"data": "data.jsonl", "test": -0.1}}, ["line 9: 'target.test' is -0.1", "from 0 to below 1"]),
        ({"target": "pocket:digts"}, ["the pocket world has no task 'digts'", "mean 'digits'?"]),
        ({"sources": ["data.jsonl"]}, ["two tasks are called 'data'", "own name"]),
        ({"evaluate": {"batch_size": 0}}, ["'evaluate.batch_size' is 0"]),
        ({"model": "no/such/folder"}, ["line 1: there is no model folder 'no/such/folder'"]),
        ({"model": "nobody/nothing-at-all"}, ["neither a local folder nor reachable on the Hub"]),
        ({"seed": -1}, ["'seed' is -1"]),
        ({"seed": 2**63}, ["'seed' is 9223372036854775808", "less than or equal to 18014398509481984"]),
        ({"train": "a" * 5000}, ["'train' is 'aaaa", "aaa': it should be a mapping of keys"]),
        ({"speed": {"share_images": "on"}}, ["line 15: speed.share_images is on, and"]),
    ],
)
def test_bad_settings(desk: Desk, changes: dict[str, Any], words: list[str]) -> None:
    said = desk.tune(config=desk.config(**changes))
    said.refused("recipe.yaml", *words)
    # Nothing was trained, so the mended recipe runs in the same folder.
    assert not (desk.folder / "run" / "train.jsonl").exists()
    assert not (desk.folder / "run" / "artifact").exists()


STABILISERS = ("a_gem", "ewc", "null_space", "replay")


@pytest.mark.parametrize(
    ("who", "changes", "line"),
    [
        *((f"stabiliser '{name}'", {"keep": ["l2_sp", name]}, f"- {name}") for name in STABILISERS),
        ("method 'corda'", {"tune": {"llm": {"method": "corda", "mode": "knowledge"}}}, "  llm:"),
        ("method 'model_dowser'", {"tune": {"llm": {"method": "model_dowser", "prompts": "sources"}}}, "  llm:"),
        ("method 'alphaedit'", {"tune": {"llm": {"method": "alphaedit"}}}, "  llm:"),
        ("fusion 'fisher'", {"tune": {"llm": {"method": "full"}}, "fuse": {"method": "fisher"}}, "fuse:"),
    ],
)
def test_what_needs_sources_says_so_before_the_model_is_loaded(
    who: str, changes: dict[str, Any], line: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shelf, "model", lambda self, config: pytest.fail("the model was loaded"))
    file = desk.config(**changes)
    number = 1 + file.read_text(encoding="utf-8").splitlines().index(line)
    words = f"line {number}: {who} needs training examples of the sources, and none were given. List sources"
    desk.tune(config=file).refused("recipe.yaml", words)


def test_a_mended_recipe_runs_in_the_same_folder(desk: Desk) -> None:
    desk.tune(config=desk.config(tune={"llm": {"method": "lora", "r": 99}})).refused("rank 99")
    said = desk.tune(config=desk.config())
    assert said.code == 0, said.err
    assert desk.json("run/scores.json")["recipes"]["run"]["method"] == "lora on llm"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: [", ["bad YAML", "line 1"]),
        ("model: pocket\nmodel: other\n", ["line 2: key 'model' stands twice"]),
        ("- model", ["not a mapping"]),
        ("a: \x00", ["bad YAML: unacceptable character"]),
        ("tune:\n\tllm: lora\n", ["line 2: bad YAML"]),
    ],
)
def test_bad_yaml(desk: Desk, text: str, words: list[str]) -> None:
    file = desk.folder / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    desk.tune(config=file).refused("recipe.yaml", *words)


def test_configurations_that_cannot_be_read(desk: Desk) -> None:
    desk.tune(config=desk.folder / "none.yaml").refused("none.yaml: the configuration does not exist", "check the path")
    desk.tune(config=desk.folder).refused("the configuration cannot be read")
    (desk.folder / "latin.yaml").write_bytes(b"name: caf\xe9")
    desk.tune(config=desk.folder / "latin.yaml").refused("latin.yaml: the configuration cannot be read")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("garbage", ["'--set garbage' is not key=value", "--set train.steps=100"]),
        ("=3", ["is not key=value"]),
        ("train.stepz=3", ["unknown key '--set train.stepz'", "mean 'steps'?"]),
        ("train.steps=many", ["'--set train.steps' is 'many'"]),
        ("train.steps=[", ["the value is not YAML"]),
        ("train.steps.more=1", ["'steps' holds no keys"]),
        ("..=1", ["unknown key"]),
        ("tune.llm.method=lorra", ["holdfast: --set tune.llm.method: tune.llm: unknown method", "mean 'lora'?"]),
        ("seed=" + "9" * 5000, ["the value is not YAML"]),
        ("train=" + "a" * 5000, ["'--set train' is 'aaaa", "aaa': it should be a mapping of keys"]),
    ],
)
def test_garbage_in_set(desk: Desk, override: str, words: list[str]) -> None:
    desk.tune("--set", override).refused(*words)


def model_copy(desk: Desk) -> Path:
    folder = desk.folder / "model"
    shutil.copytree(desk.model, folder)
    desk.model = folder
    return folder


def test_a_model_folder_without_config(desk: Desk) -> None:
    (model_copy(desk) / "config.json").unlink()
    desk.tune().refused("recipe.yaml, line 1", "config.json is missing", "give the folder that holds config.json")


def test_a_run_is_no_model_folder(desk: Desk) -> None:
    assert desk.tune().code == 0
    desk.tune("--set", f"model={desk.folder / 'run'}", out="other").refused("config.json is missing", "Holdfast run")


def test_pickled_weights_are_refused(desk: Desk) -> None:
    folder = model_copy(desk)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    desk.tune().refused("has no safetensors weights", "convert them to safetensors")


def test_damaged_weights(desk: Desk) -> None:
    file = model_copy(desk) / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    desk.tune().refused("the weights of model", "are damaged", "download them again")


def test_incomplete_weights(desk: Desk) -> None:
    file = model_copy(desk) / "model.safetensors"
    tensors = load_file(file)
    del tensors["lm_head.weight" if "lm_head.weight" in tensors else "language_model.lm_head.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    desk.tune().refused("lack 1 tensors, the first 'lm_head.weight'")


def test_a_model_without_chat_template(desk: Desk) -> None:
    folder = model_copy(desk)
    (folder / "chat_template.jinja").unlink()
    for name in ("tokenizer_config.json", "processor_config.json"):
        settings = json.loads((folder / name).read_text("utf-8"))
        settings.pop("chat_template", None)
        (folder / name).write_text(json.dumps(settings), encoding="utf-8")
    desk.tune().refused("the model has no chat template", "add chat_template.jinja")


def test_a_model_that_sees_nothing(desk: Desk) -> None:
    folder = model_copy(desk)
    settings = json.loads((folder / "config.json").read_text("utf-8"))["text_config"]
    settings |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    desk.tune().refused("is not an image-text-to-text model", "such as LLaVA")


def test_a_config_that_is_no_json(desk: Desk) -> None:
    (model_copy(desk) / "config.json").write_text("{", encoding="utf-8")
    desk.tune().refused("model", "cannot be loaded")


def other_weights(folder: Path) -> None:
    """Move one value of one weight."""
    tensors = load_file(folder / "model.safetensors")
    name = min(name for name in tensors if name.endswith("weight"))
    tensors[name].view(-1)[0] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_an_artifact_of_another_model(desk: Desk) -> None:
    folder = model_copy(desk)
    assert desk.tune().code == 0
    before = snapshot(desk.folder / "run")
    other_weights(folder)
    for words in (["eval", desk.folder / "run", "--tasks", desk.data, "--out", desk.folder / "e"],
                  ["export", desk.folder / "run", "--out", desk.folder / "x"]):  # fmt: skip
        desk.run(*words).refused("the artifact was trained on", "not on these weights", "load the model it was")
    assert not (desk.folder / "x").exists()
    assert not (desk.folder / "e").exists()
    assert snapshot(desk.folder / "run") == before


def interrupted(desk: Desk) -> None:
    """Leave a run that was stopped after its checkpoint: its artifact and all that follows are taken away."""
    from holdfast import api
    from tests.support.stopping import Stop, stop_after

    with pytest.raises(Stop):
        api.tune(desk.config(train={"steps": 4, "batch_size": 2, "trackers": [], "checkpoint_every": 2}),
                 desk.folder / "run", listen=stop_after(3))  # fmt: skip


def test_a_checkpoint_of_another_model_or_of_other_data(desk: Desk) -> None:
    folder = model_copy(desk)
    interrupted(desk)
    config = desk.folder / "recipe.yaml"
    before = snapshot(desk.folder / "run")
    assert "checkpoint/tensors.safetensors" in before
    kept = desk.data.read_text("utf-8")
    desk.data.write_text(kept.replace('"red"', '"violet"'), encoding="utf-8")
    desk.tune(config=config).refused(
        "the questions or answers of 'data' have changed since the run began", "another --out"
    )
    desk.data.write_text(kept, encoding="utf-8")
    weights = (folder / "model.safetensors").read_bytes()
    other_weights(folder)
    desk.tune(config=config).refused("the weights of the model have changed", "another --out")
    assert snapshot(desk.folder / "run") == before
    (folder / "model.safetensors").write_bytes(weights)
    assert desk.tune(config=config).code == 0


def test_a_damaged_checkpoint(desk: Desk) -> None:
    interrupted(desk)
    file = desk.folder / "run/checkpoint/tensors.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    said = desk.tune(config=desk.folder / "recipe.yaml")
    said.refused("checkpoint: the checkpoint is damaged", "delete this folder")


def test_a_damaged_artifact(desk: Desk) -> None:
    assert desk.tune().code == 0
    file = desk.folder / "run/artifact/llm.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    said = desk.run("eval", desk.folder / "run", "--tasks", desk.data, "--out", desk.folder / "e")
    said.refused("artifact", "damaged", "trains it again")


def test_an_out_of_another_configuration(desk: Desk) -> None:
    assert desk.tune().code == 0
    before = snapshot(desk.folder / "run")
    desk.tune("--set", "seed=1").refused("run: the folder holds a run of another configuration", "another --out")
    assert desk.tune().code == 0  # and the same command finds it finished
    assert snapshot(desk.folder / "run") == {**before, "report.html": snapshot(desk.folder / "run")["report.html"]}


def test_an_out_that_is_no_run(desk: Desk) -> None:
    (desk.folder / "run").mkdir()
    (desk.folder / "run" / "thesis.txt").write_text("years of work", encoding="utf-8")
    before = snapshot(desk.folder / "run")
    desk.tune().refused("this exists and is not a Holdfast run", "choose another --out")
    desk.tune(out="data.jsonl").refused("this exists and is not a Holdfast run")
    desk.tune(out="data.jsonl/below").refused("a file stands where a folder is needed")
    said = desk.run("eval", desk.model, "--tasks", desk.data, "--out", desk.folder / "run")
    said.refused("not the folder of an evaluation", "another --out")
    assert snapshot(desk.folder / "run") == before


def test_things_that_are_no_run(desk: Desk) -> None:
    desk.run("export", desk.folder / "none", "--out", desk.folder / "x").refused("none", "not a Holdfast run")
    desk.run("export", desk.folder / "none", "--adapter", "--out", desk.folder / "x").refused(
        "none", "not a Holdfast run"
    )
    desk.run("eval", desk.folder / "none", "--tasks", desk.data).refused("there is no model folder")
    (desk.folder / "half").mkdir()
    shutil.copy(desk.config(), desk.folder / "half" / "config.yaml")
    desk.run("eval", desk.folder / "half", "--tasks", desk.data).refused("no finished artifact", "let the run finish")


def test_a_loss_that_is_no_number(desk: Desk) -> None:
    said = desk.tune("--set", "tune.llm.lr=1e30", "--set", "train.steps=5", "--set", "tune.llm.method=full",
                     config=desk.config(tune={"llm": "full"}))  # fmt: skip
    said.refused("recipe.yaml", "the loss of step", "item q", "lower the learning rate")
    assert (desk.folder / "run" / "ledger.json").exists()
    assert not (desk.folder / "run" / "artifact").exists()


def test_unknown_commands_and_options(desk: Desk) -> None:
    desk.run("tnue").refused("unknown command 'tnue'", "did you mean 'tune'?")
    said = desk.run("tune", "--nonsense")
    assert said.code == 2
    assert "--nonsense" in said.err
    assert "Traceback" not in said.err
