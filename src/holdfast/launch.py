"""What accelerate was asked to divide among processes, as ``accelerate launch`` leaves it in the environment.

accelerate's configuration names an engine (FSDP, DeepSpeed) and its settings; for DeepSpeed it may name a file of
DeepSpeed's own instead. What would be passed over although it asks for something else is refused: the recipe says how
many examples a step has, in which precision, with which optimizer and rate.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files.records import read_json
from holdfast.values import JSON

_SHARDED = {
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor or context parallelism",
}
"""How accelerate tells what it was asked for, and the engine's name."""

_FSDP = {
    "FSDP_OFFLOAD_PARAMS": ("fsdp_offload_params: true", "leave it out; load.bits: 4 is the way to less memory"),
    "FSDP_ACTIVATION_CHECKPOINTING": (
        "fsdp_activation_checkpointing: true",
        "leave it out, and set train.gradient_checkpointing: true in the recipe",
    ),
}
"""Settings of FSDP that would be passed over, and what to do instead."""

_OFFLOAD = {
    "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "offload_optimizer_device",
    "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "offload_param_device",
}
"""Settings of DeepSpeed that would be passed over unless they are ``none``."""

_FILE = "ACCELERATE_DEEPSPEED_CONFIG_FILE"

_RECIPES = {
    "train_batch_size": "train.batch_size",
    "train_micro_batch_size_per_gpu": "train.batch_size",
    "gradient_accumulation_steps": "train.accumulate",
    "gradient_clipping": "train.clip",
    "fp16": "train.precision",
    "bf16": "train.precision",
    "optimizer": "tune and train",
    "scheduler": "train.schedule",
}
"""What a file of DeepSpeed's may say, and where the recipe says it."""

_SILENT = (
    "comms_config",
    "comms_logger",
    "csv_monitor",
    "dump_state",
    "flops_profiler",
    "memory_breakdown",
    "monitor_config",
    "steps_per_print",
    "tensorboard",
    "wall_clock_breakdown",
    "wandb",
    "zero_allow_untested_optimizer",
    "zero_force_ds_cpu_optimizer",
)
"""What in a file of DeepSpeed's changes no result."""

_OFFLOADS = ("offload_optimizer", "offload_param")
_ZERO_PLUS = ("zero_quantized", "zero_hpz", "mics_")
"""How settings of ZeRO++ and MiCS begin: values that are sent in fewer bits, weights that are divided twice."""


def is_on(value: str) -> bool:
    """Whether a variable of the environment says yes."""
    return value.lower() in ("1", "true", "yes")


def check_asked() -> None:
    """Refuse what is not divided here, before anything is loaded.

    Raises:
        HoldfastError: With the engine or setting, and what to write instead.
    """
    for name, engine in _SHARDED.items():
        if is_on(os.environ.get(name, "")):
            raise HoldfastError(
                f"accelerate was asked for {engine}, which takes weights apart, and methods here work on whole ones",
                remedy="start plain processes (accelerate launch --multi_gpu, or --processes), with load.bits: 4 where "
                "memory is short",
            )
    check_zero()
    if not is_on(os.environ.get("ACCELERATE_USE_FSDP", "")):
        return
    asked = os.environ.get("FSDP_VERSION", "1")
    if asked != "2":
        raise HoldfastError(
            f"accelerate was asked for version {asked} of FSDP, and weights are divided here by version 2",
            remedy="write fsdp_version: 2 under fsdp_config of accelerate's configuration",
        )
    for name, (setting, remedy) in _FSDP.items():
        if is_on(os.environ.get(name, "")):
            raise HoldfastError(f"accelerate was asked for {setting}, which is not done here", remedy=remedy)


def check_zero() -> None:
    """Refuse what of DeepSpeed is not done here, or cannot be because it is not installed.

    Raises:
        HoldfastError: With the setting and where it stands.
    """
    if not is_on(os.environ.get("ACCELERATE_USE_DEEPSPEED", "")):
        return
    asked = "accelerate was asked for DeepSpeed (distributed_type: DEEPSPEED)"
    for name, setting in _OFFLOAD.items():
        value = os.environ.get(name, "none")
        if value.lower() != "none":
            raise HoldfastError(
                f"{asked} with {setting}: {value}, which is not done here",
                remedy="write none; zero_stage: 3 divides most, and load.bits: 4 without DeepSpeed is the way to less "
                "memory",
            )
    stage = zero_stage()
    if stage not in ("2", "3"):
        raise HoldfastError(
            f"{asked} with zero_stage: {stage}, and stages 2 and 3 are what is done here",
            remedy="write zero_stage: 2, or zero_stage: 3 to divide weights, too",
        )
    if stage == "3":
        return  # FSDP2 does it
    from importlib import metadata

    try:
        found = metadata.version("deepspeed")
    except metadata.PackageNotFoundError:
        raise HoldfastError(f"{asked}, which is not installed", remedy="pip install 'holdfast[deepspeed]'") from None
    from accelerate.utils import compare_versions

    if compare_versions("deepspeed", "<", "0.19"):
        raise HoldfastError(f"{asked}, and version {found} is too old", remedy="pip install 'deepspeed>=0.19'")


def zero_stage() -> str:
    """The stage of ZeRO that was asked for.

    Raises:
        HoldfastError: A file of DeepSpeed's own cannot be read, or asks for what is not done here.
    """
    if _file() is not None:
        return str(zero_section().get("stage", 0))
    return os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")


def zero_section() -> JSON:
    """``zero_optimization`` of DeepSpeed's own file without what is ``auto``; nothing where no file was named.

    Raises:
        HoldfastError: The file cannot be read, or asks for what is not done here.
    """
    file = _file()
    if file is None:
        return {}
    content = read_json(file)
    section = content.get("zero_optimization") if isinstance(content, dict) else None
    if not isinstance(section, dict):
        raise HoldfastError(
            "DeepSpeed's configuration has no section zero_optimization",
            file=file,
            remedy='write "zero_optimization": {"stage": 2}, or 3 to divide weights, too',
        )
    for name, value in content.items():
        if name not in ("zero_optimization", *_SILENT) and not _is_left_to_the_recipe(name, value):
            raise _contradiction(file, name, value)
    for name, value in section.items():
        if _is_not_done(name, value):
            raise _contradiction(file, name, value)
    return {name: value for name, value in section.items() if value != "auto" and not name.startswith(_OFFLOADS)}


def _contradiction(file: Path, name: str, value: Any) -> HoldfastError:
    place = _RECIPES.get(name)
    why, remedy = f"and {place} of the recipe says that", 'leave it out, or write "auto"'
    if place is None:
        why, remedy = "which is not done here", "leave it out"
    if name.startswith(_OFFLOADS):
        remedy += "; stage 3 divides most, and load.bits: 4 without DeepSpeed is the way to less memory"
    return HoldfastError(f"DeepSpeed's configuration says {name}: {json.dumps(value)}, {why}", file=file, remedy=remedy)


def _is_left_to_the_recipe(name: str, value: Any) -> bool:
    """Whether a setting that the recipe has says nothing of its own."""
    if name not in _RECIPES:
        return False
    if name == "optimizer" and isinstance(value, dict) and value.get("type") == "AdamW":
        return _is_auto(value.get("params", "auto"))  # the one that trains here, with the recipe's numbers
    return _is_auto(value) or (name == "gradient_accumulation_steps" and value == 1)


def _is_not_done(name: str, value: Any) -> bool:
    """Of ``zero_optimization``: whether something waits on the host, is sent in fewer bits or is divided twice."""
    if name.startswith(_OFFLOADS):
        device = value.get("device") if isinstance(value, dict) else value
        return device not in (None, "none", "auto")
    return name.startswith(_ZERO_PLUS) and (value is True or (isinstance(value, int) and value > 1))


def _is_auto(value: Any) -> bool:
    """Whether a value leaves all to the trainer. Window and start of fp16's loss scale mean nothing where it is off."""
    if not isinstance(value, dict):
        return bool(value == "auto")
    if "enabled" in value:
        return value["enabled"] in ("auto", False)
    return all(map(_is_auto, value.values()))


def _file() -> Path | None:
    name = os.environ.get(_FILE, "none")
    return None if name.lower() == "none" else Path(name)
