"""What a run ran on: versions, machine, and which speed-ups engaged."""

from __future__ import annotations

import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from holdfast.machine import bits, processor
from holdfast.runs.folder import RunFolder
from holdfast.speed.decision import Report, to_json
from holdfast.values import JSON

PACKAGES = (
    "holdfast",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "safetensors",
    "numpy",
    "scikit-learn",
    "bitsandbytes",
)


def versions() -> dict[str, str]:
    """Installed versions of what a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def environment(**engaged: Any) -> JSON:
    """Plain values for ``environment.json``; ``engaged`` are the speed-ups and what came of them."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "bits": bits("cpu" if gpu is None else "cuda")._asdict(),
        "engaged": engaged,
    }


def warn_of_other_bits(device: torch.device) -> None:
    """Warn where a CPU run may not end in the same bits twice: it can be helped. On a GPU nothing else is expected."""
    found = bits(device.type)
    if device.type == "cpu" and not found.same:
        warnings.warn(f"two equal runs may differ in their last bits here: {found.why}", stacklevel=2)


def with_evaluation(folder: RunFolder, task: str, who: str, report: Report) -> JSON:
    """``environment.json`` of a run with what engaged while ``who`` (base or tuned) answered ``task``.

    What training wrote there is kept; a run that took its training over from another one has no such file yet.
    """
    file = folder.path / "environment.json"
    record: JSON = folder.read_json(file.name) if file.exists() else environment()
    evaluation = record.setdefault("engaged", {}).setdefault("evaluation", {})
    evaluation.setdefault(task, {})[who] = to_json(report)
    return record
