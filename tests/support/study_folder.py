"""A study folder as the engine leaves it, with simulated answers: nothing is trained, every file is real."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from holdfast.files import append_line, read_json, write_json, write_text
from holdfast.results.points import append_result
from holdfast.verdict.compare import compare

METHODS = {
    "full": ("selective", 0.95, 0.30, 100.0),
    "lora": ("reparameterization", 0.80, 0.12, 5.6),
    "adapter": ("additive", 0.70, 0.20, 3.4),
    "ia3": ("additive", 0.35, 0.05, 0.185),
}
"""Method -> paradigm, share learned of the target, share forgotten of the sources, trainable percent."""

PUBLISHED = {
    "Table 1": {
        "columns": ["unseen", "seen"],
        "rows": {"150 LoRA": [76.1, None], "HFT": [-2.5, 41]},
        "differs": "scale",
    },
    "differs": "the items",
}
SOURCES = ("color", "count")
DIGITS = ("zero", "one", "two", "three", "four")


def make_study(
    folder: Path,
    *,
    methods: Sequence[str] = tuple(METHODS),
    steps: Sequence[int] = (50, 150),
    targets: Sequence[str] = ("digits", "letters"),
    seeds: Sequence[int] = (1, 2),
    items: int = 40,
    title: str = "Four methods at two lengths",
    failed: bool = True,
) -> Path:
    """Write the folder; returns it. The last point fails, and the one before it waits, where ``failed`` is set."""
    axes = {
        "method": list(methods),
        "train.steps": [str(step) for step in steps],
        "target": list(targets),
        "seed": [str(seed) for seed in seeds],
    }
    points = []
    for method in methods:
        for step in steps:
            for target in targets:
                for seed in seeds:
                    levels = {"method": method, "train.steps": str(step), "target": target, "seed": str(seed)}
                    points.append({"key": f"{len(points) + 1:016x}", "levels": levels, "config": {}})
    about = "Simulated answers; every figure is made up, every file is as the engine writes it."
    write_json(
        folder / "study.json",
        {
            "title": title,
            "about": about,
            "axes": axes,
            "points": points,
            "claims": ["h1", "h2", "k1", "k3", "k6"],
            "published": PUBLISHED,
        },
    )
    pictures(folder / ".base" / "images", items)
    for place, point in enumerate(points):
        if failed and place >= len(points) - 2:
            continue
        write_point(folder, point, items)
        append_result(folder, str(point["key"]))
    if failed:
        reason = "the loss is not a number at step 12"
        write_json(folder / "failed" / f"{points[-1]['key']}.json", {"reason": reason, "when": "2026-01-01"})
    return folder


def pictures(folder: Path, count: int) -> None:
    """Small pictures by number."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        colour = (40 + 5 * (index % 40), 90, 200 - 4 * (index % 40))
        image = Image.new("RGB", (32, 32), colour)
        image.paste((250, 250, 240), (8, 6 + index % 12, 24, 14 + index % 12))
        image.save(folder / f"im{index}.png")


def write_point(folder: Path, point: dict[str, Any], items: int) -> None:
    """A finished run: answers of base and tuned model, scores, ledger, log, configuration and machine."""
    levels, run = point["levels"], folder / "points" / point["key"]
    paradigm, learned, forgotten, percent = METHODS[levels["method"]]
    draw = random.Random(point["key"])
    long = min(1.0, int(levels["train.steps"]) / 150) ** 0.5
    shift = draw.gauss(0, 0.03)
    for side in (run / "base", run):
        (side / "predictions").mkdir(parents=True)
    for task in (levels["target"], *SOURCES):
        is_target = task == levels["target"]
        base = random.Random(task)
        for index in range(items):
            right = DIGITS[index % 5]
            was = base.random() < (0.05 if is_target else 0.92)
            flips = draw.random() < (learned * long if is_target else forgotten * long) + shift
            now = (was or flips) if is_target else (was and not flips)
            shared = {
                "id": f"{task}-{index}",
                "task": task,
                "image": f"im{index}",
                "question": f"Look at the picture.\nWhich {task} number {index} is this?\nAnswer with one word.",
                "references": [right],
                "metric": "exact_match",
            }
            for side, correct in ((run / "base", was), (run, now)):
                said = right if correct else DIGITS[(index + 1 + index // 5) % 5]
                reasons = "Let me look at the strokes once more. " * (40 if index % 7 == 0 else 0)
                text = f"{reasons}I would say {said}. {reasons}".strip() if reasons else said
                record = {**shared, "prediction": text, "parsed": said, "score": float(correct), "truncated": False}
                append_line(side / "predictions" / f"{task}.jsonl", record)
    write_json(run / "scores.json", {"recipes": {"run": entry_of(run, levels, paradigm, percent, draw)}})
    for step in range(0, int(levels["train.steps"]) + 1, 10):
        append_line(run / "train.jsonl", {"step": max(1, step), "loss": 4.0 / (1 + step / 9), "lr": 1e-3})
        if step and step % 50 == 0:
            line = {"event": "validation", "step": step, "loss": 4.2 / (1 + step / 11), "exact": 60 + step / 10}
            append_line(run / "train.jsonl", line)
    row = {"method": levels["method"], "trainable": 1000, "total": 20_000, "lr": 1e-3, "checkpoint_bytes": 4000}
    still = row | {"method": "frozen", "trainable": 0, "lr": None}
    components = {"vision": still, "connector": still, "llm": row}
    shares = {"base": 60_000, "added": 0, "trainable": 1000, "trainable_percent": percent}
    write_json(run / "ledger.json", {"components": components, **shares})
    training = {"steps": int(levels["train.steps"]), "seconds": 12.5, "stopped_early": False}
    write_json(run / "training.json", training | {"memory": 96_000_000, "peak_memory": 123_000_000})
    engaged = {"share_images": {"on": False, "why": "every image has one question"}, "precision": "no"}
    machine = {"versions": {"torch": "2.13.0"}, "platform": "Linux", "processor": "a processor", "threads": 2}
    write_json(run / "environment.json", {**machine, "gpu": None, "engaged": engaged})
    write_text(
        run / "config.yaml", f"model: pocket\ntrain:\n  steps: {levels['train.steps']}\nseed: {levels['seed']}\n"
    )


def entry_of(run: Path, levels: dict[str, str], paradigm: str, percent: float, draw: random.Random) -> dict[str, Any]:
    """The run's entry of ``scores.json``, with the figures that its answers give."""
    comparison = compare(run / "base", run, target=levels["target"])
    tasks, summary = comparison.to_json()["tasks"], comparison.summary.to_json()
    return {
        "name": "run",
        "method": f"{levels['method']} on llm",
        "paradigm": paradigm,
        "trainable": 1000,
        "trainable_percent": percent,
        "target": {levels["target"]: tasks[levels["target"]]},
        "sources": {name: tasks[name] for name in SOURCES},
        **{letter: summary[letter] for letter in "EFOH"},
        **{name: summary[name] for name in ("intervals", "verdicts", "left_out")},
        "rule": comparison.rule,
        "leaks": [],
        "still_learning": None,
        "learned": sum(task["learned"] for task in tasks.values()),
        "forgot": sum(task["forgot"] for task in tasks.values()),
        "seconds": round(10 + 5 * draw.random(), 2),
        "memory": 96_000_000,
        "seed": int(levels["seed"]),
    }


def look_during(folder: Path) -> Path:
    """Make of the shorter training of every pair a moment of the longer one, and leave the longer ones only."""
    study = read_json(folder / "study.json")
    places = {tuple(point["levels"].values()): folder / "points" / point["key"] for point in study["points"]}
    short, long = study["axes"]["train.steps"]
    kept = [point for point in study["points"] if point["levels"]["train.steps"] == long]
    for point in kept:
        run = folder / "points" / point["key"]
        levels = point["levels"] | {"train.steps": short}
        entry, before = (read_json(r / "scores.json")["recipes"]["run"] for r in (run, places[tuple(levels.values())]))
        base = {name: 0.0 for name in "EFO"} | {"H": None, "intervals": {}, "learned": 0, "forgot": 0}
        rows = [{"step": 0, **base, **scores_of(entry, "before")}]
        for step, found in ((short, before), (long, entry)):
            figures = {name: found[name] for name in (*"EFOH", "intervals", "learned", "forgot")}
            rows.append({"step": int(step), **figures, **scores_of(found, "after")})
        write_json(run / "scores.json", {"recipes": {"run": entry | {"during": rows, "during_seconds": 3.5}}})
        shutil.copytree(places[tuple(levels.values())] / "predictions", run / "during" / short / "predictions")
    write_json(folder / "study.json", study | {"points": kept, "axes": study["axes"] | {"train.steps": [long]}})
    for name in ("results.jsonl", "items.jsonl"):
        (folder / name).unlink(missing_ok=True)
    return folder


def scores_of(entry: dict[str, Any], when: str) -> dict[str, dict[str, float]]:
    """Task -> score, of target and sources."""
    return {part: {name: row[when] for name, row in entry[part].items()} for part in ("target", "sources")}
