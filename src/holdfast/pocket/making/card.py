"""What is written when the model is made: its folder, and a card that says how good it is."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.files import read_json, write_json
from holdfast.pocket.making.plan import BuildPlan
from holdfast.pocket.making.score import ScoreRow, as_records, source_mean
from holdfast.values import JSON

if TYPE_CHECKING:
    from holdfast.pocket.making.designs import Design

CARD = "card.json"


def write_model(
    out: Path,
    design: Design,
    model: Any,
    *,
    rows: list[ScoreRow],
    seed: int,
    plan: BuildPlan,
    seconds: dict[str, float],
) -> JSON:
    """Write configuration, weights, tokenizer, processor and ``card.json``; the card, last, makes it complete.

    Returns:
        The card.
    """
    import torch

    from holdfast.pocket.making.architecture import parameter_count

    (out / CARD).unlink(missing_ok=True)
    (model.half() if design.half else model).save_pretrained(out)
    design.make_processor().save_pretrained(out)
    weights = out / "model.safetensors"
    weights.chmod(0o644)  # safetensors keeps it to its owner
    card = {
        "model": f"holdfast {design.name}",
        "seed": seed,
        "parameters": parameter_count(model),
        "weights_bytes": weights.stat().st_size,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "source_mean": round(source_mean(rows), 2),
        "table": as_records(rows),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy", "scikit-learn")},
        "plan": asdict(plan),
    }
    write_json(out / CARD, card)
    return card


def read_card(folder: Path) -> JSON:
    """The card of a model folder made by :func:`write_model`."""
    card: JSON = read_json(folder / CARD)
    return card


def table_lines(card: JSON) -> list[str]:
    """The card's table as Markdown lines, the same in the terminal and in ``docs/pocket.md``."""
    lines = [
        "| task | role | accuracy % | blind floor % | any object % | n |",
        "|---|---|---|---|---|---|",
    ]
    for row in card["table"]:
        trick = "-" if row["any_object"] is None else f"{row['any_object']:.1f}"
        numbers = f"{row['accuracy']:.1f} | {row['blind']:.1f} | {trick} | {row['n']}"
        lines.append(f"| {row['task']} | {row['role']} | {numbers} |")
    lines.append(f"| **source mean** | | **{card['source_mean']:.1f}** | | | |")
    return lines
