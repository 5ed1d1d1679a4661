"""What is written when the model is made: its folder, and a card that says how good it is."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from holdfast.pocket.making.plan import BuildPlan
from holdfast.pocket.making.score import ScoreRow, as_records, source_mean


def write_model(
    out: Path, model: Any, *, rows: list[ScoreRow], seed: int, plan: BuildPlan, seconds: dict[str, float]
) -> dict[str, Any]:
    """Write configuration, weights, tokenizer, processor and ``card.json``; the card, last, makes it complete.

    Returns:
        The card.
    """
    from holdfast.pocket.making.architecture import parameter_count
    from holdfast.pocket.tokens import save_processor

    beside = out / ".partial"
    beside.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(beside)
    save_processor(beside)
    weights = beside / "model.safetensors"
    card = {
        "model": "holdfast pocket",
        "seed": seed,
        "parameters": parameter_count(model),
        "weights_bytes": weights.stat().st_size,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "source_mean": round(source_mean(rows), 2),
        "table": as_records(rows),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": 2},
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy", "scikit-learn")},
        "plan": asdict(plan),
    }
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    (beside / "card.json").write_text(text, encoding="utf-8")
    for file in sorted(beside.iterdir(), key=lambda file: file.name == "card.json"):
        file.chmod(0o644)
        file.replace(out / file.name)
    beside.rmdir()
    return card


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder made by :func:`write_model`."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return card


def table_lines(card: dict[str, Any]) -> list[str]:
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
