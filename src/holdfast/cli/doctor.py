"""``holdfast doctor``: what this machine has, and what will be slow or missing."""

from __future__ import annotations

from typing import Annotated

import typer

TRACKERS = ("wandb", "mlflow")
"""Trackers whose packages Holdfast does not bring."""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Look at Python, torch, the GPU, optional packages, memory and disk."""
    import json

    facts, advice = examine()
    if as_json:
        print(json.dumps({"facts": facts, "advice": advice}, indent=1))
        return
    from holdfast.cli.terminal import console

    for name, value in facts.items():
        console.print(f"{name:<22} {value}", soft_wrap=True)
    console.print()
    for line in advice:
        console.print(f"[yellow]-[/] {line}")
    if not advice:
        console.print("Nothing is missing.")


def examine() -> tuple[dict[str, str], list[str]]:
    """Facts by name, and sentences of advice."""
    import os
    import shutil
    from importlib.util import find_spec

    import torch

    from holdfast.cli.terminal import size
    from holdfast.machine import bits, processor
    from holdfast.methods.describe import broken
    from holdfast.metrics.registry import METRICS
    from holdfast.runs.environment import versions
    from holdfast.tasks.cards import broken_tasks

    facts = dict(versions())
    advice: list[str] = []
    facts["processor"] = processor()
    facts["cpu cores"] = str(os.cpu_count())
    facts["torch threads"] = str(torch.get_num_threads())
    memory = _memory()
    if memory:
        facts["memory"] = size(memory)
    facts["free disk here"] = size(shutil.disk_usage(".").free)
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        facts["gpu"] = f"{device.name}, {size(device.total_memory)}"
        facts["bf16"] = "yes" if torch.cuda.is_bf16_supported() else "no"
    else:
        facts["gpu"] = "none"
        advice.append("No GPU: the pocket model is quick here, a model of 1B parameters or more is not.")
        if "+cpu" in torch.__version__:
            advice.append("This torch is a CPU build; on a GPU machine reinstall torch from its own index first.")
    same = bits("cuda" if torch.cuda.is_available() else "cpu")
    facts["same bits twice"] = ("yes, " if same.same else "no: ") + same.why
    if not same.same and not torch.cuda.is_available():
        advice.append(f"Two equal runs may differ in their last bits here: {same.why}.")
    for module in ("torchvision", *TRACKERS):
        facts[module] = "yes" if find_spec(module) else "no"
    if facts["torchvision"] == "no":
        advice.append("Without torchvision a few families are refused (Mistral 3, Llama 4, LFM2-VL, Cohere's, Kimi).")
    if missing := [module for module in TRACKERS if facts[module] == "no"]:
        advice.append(f"Not installed, so not to be had under train.trackers: {', '.join(missing)}.")
    advice += [f"Broken: {fault}." for fault in [*broken(), *METRICS.broken(), *broken_tasks()]]
    if os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive":
        advice.append("Set OMP_WAIT_POLICY=passive where several processes share the cores.")
    if shutil.disk_usage(".").free < 20e9:
        advice.append("Less than 20 GB of disk are free here: a 7B model with one run will not fit.")
    return facts, advice


def _memory() -> float | None:
    import os

    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return None
