"""``holdfast plan``: what it prints, and one sentence for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.cli.main import run as command


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command(["plan", *words]) == 0
    return capsys.readouterr().out


def refuse(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command(["plan", *words]) == 2
    text = capsys.readouterr().err
    assert text.startswith("holdfast: ") and "Traceback" not in text
    return " ".join(text.split())


def test_json_has_the_agreed_keys(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(plan(capsys, "--model", "llava-1.5-7b", "--method", "lora", "--set", "tune.llm.r=128", "--json"))
    assert {"trainable", "added", "base", "trainable_percent", "components", "checkpoint_bytes", "memory"} <= set(found)
    assert set(found["components"]) == {"vision", "connector", "llm"}
    assert found["components"]["llm"]["trainable"] == found["trainable"] == found["added"] == 319_815_680
    assert found["memory"]["peak"] == sum(v for k, v in found["memory"].items() if k != "peak")
    assert found["flops"]["step"] == found["flops"]["forward"] + found["flops"]["backward"]


def test_a_recipe_file_is_the_one_of_tune(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: llava-1.5-13b\ntune:\n  connector: {method: full, lr: 2e-5}\n"
        "  llm: {method: adapter, bottleneck: 256, placement: mlp}\ntrain: {batch_size: 4}\nfuse: null\n",
        encoding="utf-8",
    )
    found = json.loads(plan(capsys, "--recipe", str(recipe), "--json"))
    assert f"{found['trainable_percent']:.3f}" == "2.532" and found["workload"]["batch_size"] == 4
    small = json.loads(plan(capsys, "--recipe", str(recipe), "--model", "pocket", "--json",
                            "--set", "tune.llm.bottleneck=16", "--batch-size", "2"))  # fmt: skip
    assert small["base"] < 2_000_000 and small["workload"]["batch_size"] == 2


def test_the_table_says_percent_memory_and_operations(capsys: pytest.CaptureFixture[str]) -> None:
    text = plan(capsys, "--model", "llava-onevision-0.5b", "--method", "full", "--length", "900", "--batch-size", "2")
    for part in ("Ledger", "trainable", "activations", "optimizer", "peak", "FLOPs", "%"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


def test_more_goes_in_more_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "qwen2.5-vl-7b", "--method", "lora", "--json")
    one = json.loads(plan(capsys, *words, "--batch-size", "1", "--length", "1000"))
    two = json.loads(plan(capsys, *words, "--batch-size", "2", "--length", "1000"))
    images = json.loads(plan(capsys, *words, "--batch-size", "1", "--length", "1000", "--images", "2"))
    wide = json.loads(plan(capsys, *words, "--batch-size", "1", "--length", "1000", "--precision", "fp32"))
    masks = 28 * 2 * 1000 * 1000 * 2  # of two padded rows: a bfloat16 number for each pair of places, in every layer
    assert two["memory"]["activations"] == 2 * one["memory"]["activations"] + masks
    assert one["flops"]["step"] < images["flops"]["step"] < two["flops"]["step"]
    assert wide["memory"]["weights"] > 1.8 * one["memory"]["weights"]
    assert one["trainable"] == two["trainable"] == wide["trainable"]


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def of(method: str, *sets: str, model: str = "llava-1.5-7b") -> str:
        return refuse(capsys, "--model", model, "--method", method, *(w for s in sets for w in ("--set", s)))

    assert "Did you mean 'llava-1.5-7b'" in of("lora", model="llava-1.5-7")
    assert "neither a model folder nor a known shape" in of("lora", model="./nowhere")
    assert "Did you mean 'lora'" in of("lorra")
    assert "rank 9000 is above the width 4096" in of("lora", "tune.llm.r=9000")
    assert "1.5" in of("random_mask", "tune.llm.ratio=1.5") and "share" in of("random_mask", "tune.llm.ratio=1.5")
    assert "works on the llm only" in of("lora", "tune.vision=prefix")
    assert "finds nothing to train" in of("bitfit")
    assert "no linear layer of kind 'w9'" in of("lora", "tune.llm.modules=[w9]")
    assert "looking at data" in of("random_mask", "tune.llm.ratio=auto")
    assert "unknown key 'tunes'" in of("lora", "tunes.llm.r=3")
    assert "no option 'rank'" in of("lora", "tune.llm.rank=3")
    assert "RECIPE.yaml or --method NAME" in refuse(capsys, "--model", "pocket")
    words = ("--model", "llava-1.5-7b", "--method", "lora")
    assert "cannot hold 1 images of 576 tokens" in refuse(capsys, *words, "--length", "500")
    assert "batch size is 0" in refuse(capsys, *words, "--batch-size", "0")
    assert "unknown precision 'bf61'. Did you mean 'bf16'" in refuse(capsys, *words, "--precision", "bf61")
    recipe = tmp_path / "recipe.yaml"
    assert "does not exist" in refuse(capsys, "--recipe", str(recipe))
    recipe.write_text("model: pocket\ntune:\n  lllm: lora\n", encoding="utf-8")
    assert "line 3" in refuse(capsys, "--recipe", str(recipe))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    assert "no image-text-to-text model" in refuse(capsys, "--model", str(tmp_path / "text"), "--method", "lora")
    (tmp_path / "text" / "config.json").write_text("{", encoding="utf-8")
    assert "cannot be read" in refuse(capsys, "--model", str(tmp_path / "text"), "--method", "lora")


def test_an_option_that_does_not_fit_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ``tune`` says it: the recipe's line, or what the command line set."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: pocket\ntune:\n  llm:\n    method: oft\n    block: 7\n", encoding="utf-8")
    said = refuse(capsys, str(recipe))
    assert f"{recipe}, line 3: tune.llm: block 7 does not divide" in said and "Choose a divisor" in said
    said = refuse(capsys, str(recipe), "--set", "tune.llm.block=13")
    assert ", line 3: tune.llm: block 13 does not divide" in said
    said = refuse(capsys, str(recipe), "--set", "tune.llm={method: loreft, positions: x3}")
    assert "option 'positions' is 'x3': it should be written as 'f7+l7' or 'l7' or 'all' (first and last" in said


WILL_NOT_RUN = {
    "tune: {llm: lora}\nkeep: [l2_sp, ewc]\n": (
        "line 3: stabiliser 'ewc' pulls trained base weights back, and this recipe trains none ('lora'). Use it with"
    ),
    "tune: {llm: lora}\nkeep: [promptkd]\n": "stabiliser 'promptkd' needs a teacher. Set run to the folder",
    "tune: {llm: lora}\nkeep: [{stabiliser: ldifs, blocks: [99]}]\n": "is to look at block 99, and the llm has",
    "tune: {llm: sift}\nkeep: [prograd]\n": "takes a second gradient, and method 'sift'",
    "tune: {llm: full}\nkeep: [replay]\ntarget: pocket:digits\n": (
        "stabiliser 'replay' needs training examples of the sources, and none were given. List sources"
    ),
    "tune: {llm: {method: lt_sft, first_steps: 1000000}}\ntrain: {steps: 200}\n": (
        "would train everything for 1,000,000 steps before the 200 of the run begin. Set first_steps to 2,000 or less"
    ),
    "tune: {llm: {method: adalora, warmup: 150, final: 60}}\ntrain: {steps: 200}\n": "fill the 200 steps",
}


@pytest.mark.parametrize("recipe", WILL_NOT_RUN)
def test_what_training_would_refuse_is_said_by_the_plan(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With file and line. That stabilisers say the same of every method on shapes and on values: test_ledger.py."""
    file = tmp_path / "recipe.yaml"
    file.write_text(f"model: pocket\n{recipe}", encoding="utf-8")
    said = refuse(capsys, str(file))
    assert WILL_NOT_RUN[recipe] in said and "recipe.yaml, line " in said


def test_a_plan_asks_for_no_sources_before_there_is_a_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("model: pocket\ntune: {llm: full}\nkeep: [replay, a_gem]\n", encoding="utf-8")
    assert "trainable" in plan(capsys, str(file))
