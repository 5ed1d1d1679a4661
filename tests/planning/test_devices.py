"""A run on several cards: memory a device against the plan of one, the largest batch, and hours from operations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.cli.main import run as command
from holdfast.config.loading import load_config
from holdfast.planning.devices import CONTEXT, DevicePlan, Way, plan_devices, read_card
from holdfast.planning.plan import make_plan

LORA = {"llm": {"method": "lora", "r": 64}}
FULL = {"llm": "full", "connector": "full"}
STEP: dict[str, Any] = {"length": 800, "answer": 16}


def spread(tune: dict[str, Any], devices: int, card: str, batch: int = 32, **more: Any) -> DevicePlan:
    config = load_config({"model": "llava-1.5-7b", "tune": tune, "train": {"gradient_checkpointing": True}})
    return plan_devices(config, devices=devices, card=card, batch=batch, **STEP, **more)


def ways(plan: DevicePlan) -> dict[str, Way]:
    return {way.name: way for way in plan.ways}


def one_device(tune: dict[str, Any], rows: int, **load: Any) -> Any:
    config = load_config(
        {"model": "llava-1.5-7b", "tune": tune, "train": {"gradient_checkpointing": True}, "load": load}
    )
    return make_plan(config, batch=rows, **STEP)


def test_each_way_holds_its_share_of_what_one_device_would_hold() -> None:
    found, alone = ways(spread(FULL, 8, "h100")), one_device(FULL, 4).memory
    assert found["whole"].memory == alone.peak
    divided = alone.gradients + alone.optimizer
    trained = alone.optimizer / 2  # 8 bytes a value of moments, 4 of the copy that DeepSpeed moves
    assert found["zero-2"].memory == pytest.approx(alone.peak - divided * 7 / 8 + trained / 8, abs=2)
    matrices = 4 * 4096**2 + 3 * 4096 * 11008
    block = matrices + 2 * 4096  # values of one of the 32, of 4 + 4 + 8 bytes each, and 2 for the matrices in bf16
    fsdp = alone.peak - 32 * block * 16 * 7 / 8 - 31 * 2 * matrices + 2 * 4 * block
    assert found["fsdp"].memory == pytest.approx(fsdp, abs=2)
    assert not found["whole"].fits
    assert found["fsdp"].fits


def test_four_bits_are_planned_as_load_bits_and_refused_where_weights_are_written() -> None:
    four = ways(spread(LORA, 8, "rtx-4090"))["four bits"]
    assert four.memory == one_device(LORA, 4, bits=4).memory.peak
    full = ways(spread(FULL, 8, "h100"))["four bits"]
    assert full.memory is None
    assert "writes the weights" in full.why_not


@pytest.mark.parametrize(("tune", "card"), [(LORA, "a100-40"), (LORA, "h100"), (FULL, "b200")])
def test_the_largest_batch_fits_and_one_row_more_does_not(tune: dict[str, Any], card: str) -> None:
    largest = ways(spread(tune, 8, card))["whole"].largest
    room = read_card(card, "bf16").memory - CONTEXT
    assert one_device(tune, largest).memory.peak <= room < one_device(tune, largest + 1).memory.peak


def test_hours_are_operations_over_a_share_of_the_rate() -> None:
    plan = spread(LORA, 8, "h100", share=0.5, examples=64_000)
    assert plan.steps == 3 * 64_000 / 32
    operations = plan.steps * one_device(LORA, 4).flops.step
    assert plan.hours == pytest.approx(operations / (0.5 * 989.4e12) / 3600)
    assert plan.to_json()["device_hours"] == pytest.approx(8 * plan.hours)
    assert spread(LORA, 8, "h100").hours is None


def test_full_tuning_of_llava_takes_the_order_of_the_published_hours() -> None:
    """Its authors name about 10 hours for 665,000 examples on eight A100 with ZeRO-3, and no length or rate: rows of
    700 to 900 tokens at 30 to 40 % of the peak are 6 to 13 hours.
    """
    config = load_config(
        {
            "model": "llava-1.5-7b",
            "tune": FULL,
            "train": {"epochs": 1, "batch_size": 128, "gradient_checkpointing": True},
        }
    )
    given: dict[str, Any] = {"devices": 8, "card": "a100-40", "examples": 665_000, "answer": 100}
    short = plan_devices(config, length=700, share=0.4, **given)
    long = plan_devices(config, length=900, share=0.3, **given)
    assert 6 < (short.hours or 0) < 10 < (long.hours or 0) < 13
    assert not ways(short)["whole"].fits
    assert ways(short)["fsdp"].fits


def test_the_command_shows_it_and_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--model", "llava-1.5-7b", "--method", "lora", "--batch-size", "16", "--devices", "8"]
    assert command([*words, "--card", "h100", "--examples", "1000"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("8 x h100", "whole", "zero-2", "fsdp", "four bits", "device-hours", "40% of the card's peak rate"):
        assert part in text
    assert command([*words, "--card", "h100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spread"]["rows_a_device"] == 2
    for more, said in (
        ([], "add --card"),
        (["--card", "h1000"], "unknown card 'h1000'"),
        (["--card", "h100", "--batch-size", "4"], "at least one row a device"),
        (["--card", "h100", "--share", "2"], "a share above 0 and at most 1"),
    ):
        assert command([*words, *more]) == 2
        assert said in " ".join(capsys.readouterr().err.lower().split())
