"""Two processes among which DeepSpeed divides gradients and moments give what one gives, and leave what one leaves."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.launch import check_zero
from tests.support.desk import Desk
from tests.support.together import HALFWAY, ROOT, SAME, SHARDED, ZEROED, Divided, by_two, check_under, losses, meeting

installed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is an extra")


@pytest.fixture(scope="module")
def divided(tiny_llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Divided:
    asked = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
    return Divided(tiny_llava, ZEROED, tmp_path_factory.mktemp("zero"), **asked)


@installed
@pytest.mark.parametrize("recipe", sorted(ZEROED))
def test_gradients_that_are_divided_give_the_losses_and_the_tensors_of_one(divided: Divided, recipe: str) -> None:
    divided.check_same(recipe)


@installed
@pytest.mark.parametrize("recipe", HALFWAY)
def test_another_number_of_processes_goes_on(divided: Divided, recipe: str) -> None:
    divided.check_goes_on(recipe)


@installed
def test_a_run_under_accelerates_configuration_is_that_of_one_process(tmp_path: Path, tiny_llava: Path) -> None:
    check_under("zero2.yaml", tmp_path, tiny_llava, clip=0.5)


def set_by_accelerate(settings: Path) -> dict[str, str]:
    """What ``accelerate launch`` puts into the environment of the processes that it starts."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils import prepare_deepspeed_cmd_env

    words = ["--config_file", str(settings), "--main_process_port", "0", "-m", "holdfast"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    arguments.deepspeed_fields_from_accelerate_config = ""
    made = prepare_deepspeed_cmd_env(arguments)[1]
    return {name: value for name, value in made.items() if os.environ.get(name) != value and name != "PYTHONPATH"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"zero_stage: 2": "zero_stage: 1"}, "zero_stage: 1, and stages 2 and 3 are.*zero_stage: 3 to divide weights"),
        ({"optimizer_device: none": "optimizer_device: cpu"}, "offload_optimizer_device: cpu, which is not done here"),
        ({"param_device: none": "param_device: nvme"}, "offload_param_device: nvme, which is not done here"),
    ],
)
def test_what_deepspeed_does_not_do_here_is_refused_before_anything_is_loaded(
    changed: dict[str, str],
    says: str,
    tmp_path: Path,
    tiny_llava: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (ROOT / "examples" / "accelerate" / "zero2.yaml").read_text(encoding="utf-8")
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "asked.yaml").write_text(text, encoding="utf-8")
    asked = set_by_accelerate(tmp_path / "asked.yaml")
    assert asked["ACCELERATE_USE_DEEPSPEED"] == "true"
    for name, value in {**asked, **meeting(), "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("holdfast.runs.shelf.Shelf.model", lambda *_: pytest.fail("the model was loaded"))
    desk = Desk(tmp_path, tiny_llava, capsys)
    said = desk.tune()
    assert said.code == 2
    lines = [line for line in said.err.splitlines() if line.strip()]
    assert len(lines) == 1 and "distributed_type: DEEPSPEED" in lines[0]
    with pytest.raises(HoldfastError, match=says):
        check_zero()


def test_stage_3_divides_weights_and_says_who_does_it(tmp_path: Path, tiny_llava: Path) -> None:
    made = set_by_accelerate(ROOT / "examples" / "accelerate" / "zero3.yaml")
    asked = {name: value for name, value in made.items() if name.startswith("ACCELERATE_")}
    assert asked["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
    by_two(tiny_llava, tmp_path / "two.json", "full", **asked)
    curves = json.loads((tmp_path / "two.json").read_text(encoding="utf-8"))
    assert curves["full"] == pytest.approx(losses(tiny_llava, SHARDED["full"]), rel=SAME)
    assert (tmp_path / "two.txt").read_text(encoding="utf-8") == (
        "weights of the llm's blocks, their gradients and optimizer state are divided among 2 processes by FSDP2 "
        "(ZeRO-3 was asked for)"
    )


@installed
def test_a_run_under_stage_3_is_that_of_one_process(tmp_path: Path, tiny_llava: Path) -> None:
    check_under("zero3.yaml", tmp_path, tiny_llava)
    told = json.loads((tmp_path / "two" / "environment.json").read_text(encoding="utf-8"))["engaged"]["divided"]
    assert told.endswith("by FSDP2 (ZeRO-3 was asked for)")


@pytest.mark.parametrize(
    ("version", "says"), [(None, r"not installed.*holdfast\[deepspeed\]"), ("0.17.2", r"version 0.17.2 is too old")]
)
def test_deepspeed_that_is_missing_or_old_is_named(
    version: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    def found(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", found)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(HoldfastError, match=says):
        check_zero()


THEIRS: dict[str, Any] = {
    "fp16": {"enabled": "auto", "loss_scale": 0, "loss_scale_window": 1000, "hysteresis": 2, "min_loss_scale": 1},
    "bf16": {"enabled": "auto"},
    "train_micro_batch_size_per_gpu": "auto",
    "train_batch_size": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "zero_allow_untested_optimizer": True,
    "steps_per_print": 100,
    "comms_config": {"verbose": False},
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto"}},
    "zero_optimization": {
        "stage": 2,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
        "allgather_bucket_size": 5e8,
    },
}
"""What files of DeepSpeed's own hold that other trainers ship."""


@installed
@pytest.mark.parametrize("stage", [2, 3])
def test_a_run_under_a_file_of_deepspeeds_own_is_that_of_one_process(
    tmp_path: Path, tiny_llava: Path, stage: int
) -> None:
    theirs = {**THEIRS, "zero_optimization": {**THEIRS["zero_optimization"], "stage": stage}}
    (tmp_path / "ds.json").write_text(json.dumps(theirs), encoding="utf-8")
    settings = (ROOT / "examples" / "accelerate" / "zero2.yaml").read_text(encoding="utf-8")
    kept = settings[: settings.index("  zero_stage")] + f"  deepspeed_config_file: {tmp_path / 'ds.json'}\n"
    (tmp_path / "asked.yaml").write_text(kept + "  zero3_init_flag: true\n", encoding="utf-8")
    check_under(str(tmp_path / "asked.yaml"), tmp_path, tiny_llava)
    told = json.loads((tmp_path / "two" / "environment.json").read_text(encoding="utf-8"))["engaged"]["divided"]
    assert told.endswith(f"by {'DeepSpeed' if stage == 2 else 'FSDP2'} (ZeRO-{stage} was asked for)")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"zero_optimization": {"stage": 1}}, "zero_stage: 1, and stages 2 and 3"),
        ({"zero_optimization": {"overlap_comm": True}}, "zero_stage: 0, and stages 2 and 3"),
        ({"zero_optimization": 3}, "no section zero_optimization"),
        ({"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}}, 'offload_param: {"device": "cpu"}'),
        ({"train_micro_batch_size_per_gpu": 4}, 'size_per_gpu: 4, and train.batch_size of the recipe says.*"auto"'),
        ({"zero_optimization": {"stage": 3, "zero_quantized_gradients": True}}, "zero_quantized_gradients: true"),
        ({"scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": "auto"}}}, "train.schedule.*Leave it out"),
        ({"bf16": {"enabled": True}}, "bf16.*train.precision of the recipe"),
        ({"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}}, "optimizer.*tune and train of the recipe"),
        ({"sparse_attention": {"mode": "fixed"}}, "sparse_attention.*not done here.*Leave it out"),
    ],
)
def test_what_a_file_of_deepspeeds_own_says_otherwise_is_refused(
    change: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ds.json"
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(file))
    stage_3 = {**THEIRS, "zero_optimization": {"stage": 3}}
    for own in ({}, {"fp16": {"enabled": False, "loss_scale": 0}}, {"gradient_accumulation_steps": 1}):
        file.write_text(json.dumps({**stage_3, **own}), encoding="utf-8")
        check_zero()
    file.write_text(json.dumps({**stage_3, **change}), encoding="utf-8")
    with pytest.raises(HoldfastError, match=says):
        check_zero()


@pytest.mark.parametrize(
    ("text", "says"), [(None, "does not exist"), ("{", "line 1.*not valid JSON"), ("[]", "no section")]
)
def test_a_file_of_deepspeeds_own_that_is_none_is_named(
    text: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ds.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(file))
    with pytest.raises(HoldfastError, match=says) as caught:
        check_zero()
    assert caught.value.file == str(file)
