"""What a finished run says of itself on its page: its curves, its ledger, its configuration, and where it ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import read_json, scan
from holdfast.reports.charts.lines import Axes, LinePoint, Series, lines_chart
from holdfast.reports.charts.svg import Chart
from holdfast.reports.explorer.section import Section
from holdfast.reports.numbers import in_bytes
from holdfast.results.during import moments

LETTERS = (("E", "E, target", "first"), ("F", "F, sources", "second"))
REMEDY = "delete this file and give the run's command again"
MOST_CONFIG = 20_000
"""Characters of a configuration that are shown."""


def run_details(run: Path, *, name: str = "") -> list[Section]:
    """Curves and ledger, then, folded, the configuration and the machine; what a folder lacks is left out.

    Args:
        run: The run folder.
        name: What tells its charts from those of other runs on one page.

    Raises:
        HoldfastError: A file is not what a run writes.
    """
    parts: list[tuple[str, Callable[[], Section | None]]] = [
        ("scores.json", lambda: _over_training(run, name)),
        ("train.jsonl", lambda: _curves(run, name)),
        ("ledger.json", lambda: _ledger(run)),
        ("config.yaml", lambda: _config(run)),
        ("environment.json", lambda: _machine(run)),
    ]
    found = []
    for file, make in parts:
        if not (run / file).is_file():
            continue
        try:
            section = make()
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # somebody edited it
            problem = f"the file is damaged ({type(error).__name__}: {error})"
            raise HoldfastError(problem, file=run / file, remedy=REMEDY) from error
        if section is not None:
            found.append(section)
    return found


def _curves(run: Path, name: str) -> Section | None:
    training: list[LinePoint] = []
    validation: list[LinePoint] = []
    exact: list[LinePoint] = []
    with suppress(HoldfastError):  # the log is damaged from here on
        for _, record in scan(run / "train.jsonl", nan_is_none=True):
            if not isinstance(record, dict) or not isinstance(record.get("step"), int):
                continue
            step, loss, share = record["step"], record.get("loss"), record.get("exact")
            if isinstance(loss, int | float):
                held = record.get("event") == "validation"
                (validation if held else training).append(LinePoint(step, float(loss)))
            if isinstance(share, int | float):
                exact.append(LinePoint(step, float(share)))
    charts: list[Chart] = []
    losses = [Series("training", training), Series("validation", validation, "second")]
    if drawn := [line for line in losses if len(line.points) > 1]:
        low = min(point.y for line in drawn for point in line.points)
        axes = Axes("step", "loss", log_y=low > 0, digits=3)
        words = " and ".join(line.name for line in drawn)
        charts.append(lines_chart(f"loss{name}", f"Loss a step, {words}.", drawn, axes))
    if len(exact) > 1:
        axes = Axes("step", "exact answers on validation, %")
        about = "Share of the validation examples whose every answer token is the likeliest, a step."
        charts.append(lines_chart(f"exact{name}", about, [Series("validation", exact, "second")], axes))
    return Section("Training", charts=charts) if charts else None


def _over_training(run: Path, name: str) -> Section | None:
    """E and F at the moments at which the run was looked at; nothing where there were none."""
    entry: Mapping[str, Any] = next(iter(read_json(run / "scores.json")["recipes"].values()))
    rows = moments(entry)
    lines = [Series(words, _points(rows, letter), look) for letter, words, look in LETTERS]
    lines = [line for line in lines if len(line.points) > 1]
    if not lines:
        return None
    about = "E and F over training, each moment against the untouched base. Bars: 95 % over the items of this training."
    chart = lines_chart(f"during{name}", about, lines, Axes("step", "change against the base, points", zero=True))
    took = f"Asking took {entry['during_seconds']:.0f} s beside the training." if "during_seconds" in entry else ""
    return Section("Over training", text=took, charts=[chart])


def _points(rows: Sequence[Mapping[str, Any]], letter: str) -> list[LinePoint]:
    return [
        LinePoint(int(row["step"]), float(row[letter]), (limits[0], limits[1]) if limits else None)
        for row in rows
        if row[letter] is not None
        for limits in (row["intervals"].get(letter),)
    ]


def _ledger(run: Path) -> Section | None:
    ledger = read_json(run / "ledger.json")
    rows = []
    for name, row in ledger["components"].items():
        rate = "–" if row["lr"] is None else f"{row['lr']:g}"
        count = f"{row['trainable']:,d}"
        rows.append(
            (str(name), str(row["method"]), count, f"{row['total']:,d}", rate, in_bytes(row.get("checkpoint_bytes")))
        )
        for part in row.get("notes", {}).get("parts", []):  # of several methods on one component
            rows.append(("", str(part["method"]), f"{part['trainable']:,d}", "", f"{part['lr']:g}", ""))
    count = f"{ledger['trainable']:,d} of {ledger['base'] + ledger['added']:,d}"
    text = f"{count} values train: {ledger['trainable_percent']:.3f} %."
    columns = ("component", "method", "trainable", "of", "rate", "checkpoint")
    return Section("Ledger", text=text, columns=columns, rows=rows)


def _config(run: Path) -> Section | None:
    text = (run / "config.yaml").read_text(encoding="utf-8")
    cut = len(text) - MOST_CONFIG
    shown = text if cut <= 0 else f"{text[:MOST_CONFIG]}\n… ({cut:,} characters not shown)"
    return Section("Configuration", preformatted=shown.rstrip(), folded=True)


def _machine(run: Path) -> Section | None:
    record = read_json(run / "environment.json")
    training = read_json(run / "training.json") if (run / "training.json").is_file() else {}
    engaged: Mapping[str, Any] = record.get("engaged") or {}
    rows = [
        ("processor", f"{record.get('processor', '–')}, {record.get('threads', '–')} threads"),
        ("GPU", _gpu(record.get("gpu"))),
        ("system", record.get("platform", "–")),
        ("versions", ", ".join(f"{package} {version}" for package, version in (record.get("versions") or {}).items())),
    ]
    if "seconds" in training:
        rows.append(("training", f"{training.get('steps', '–')} steps in {training['seconds']:.1f} s"))
    if training.get("memory"):
        rows.append(("memory", f"{in_bytes(training['memory'])} counted for a step of the longest rows"))
    if training.get("peak_memory"):
        rows.append(("peak memory", f"{in_bytes(training['peak_memory'])} measured while training"))
    for name, fact in engaged.items():
        if isinstance(fact, Mapping) and "on" in fact:
            rows.append((name.replace("_", " "), f"{'on' if fact['on'] else 'off'}: {fact.get('why', '')}"))
        elif isinstance(fact, str):
            rows.append((name.replace("_", " "), fact))
    return Section("Where it ran", columns=("what", "value"), rows=rows, words=True, folded=True)


def _gpu(found: Any) -> str:
    if isinstance(found, Mapping):
        return ", ".join(f"{key} {value}" for key, value in found.items())
    return "none" if not found else str(found)
