"""The model card of an exported run: what it was tuned for, what it gained and lost, and what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from holdfast.config.schema import RunConfig
from holdfast.runs.folder import RunFolder
from holdfast.values import JSON


def model_card(folder: RunFolder, config: RunConfig, base: str, *, adapter: bool) -> str:
    """Markdown with Hugging Face's metadata block.

    Args:
        folder: A finished run; a run without scores has a card without a verdict.
        config: Its configuration.
        base: Name of the base, as others can load it.
        adapter: Whether the folder holds a PEFT adapter instead of a whole model.
    """
    about: JSON = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "image-text-to-text",
    }
    if Path(base).is_absolute():  # whose folders these are is nobody's business
        base = Path(base).name
    elif "/" in base:
        about |= {"base_model": base, "base_model_relation": "adapter" if adapter else "finetune"}
    about["tags"] = ["holdfast", "multimodal"]
    lines = ["---", yaml.safe_dump(about, sort_keys=False).strip(), "---", ""]
    entry = next(iter(folder.read_json("scores.json")["recipes"].values())) if folder.scores.exists() else None
    lines += [f"# {_plain(config.name or folder.path.name)}", ""]
    lines += [f"`{base}`, tuned with Holdfast: {entry['method'] if entry else 'see the recipe below'}.", ""]
    if entry is not None:
        lines += [*_verdict(entry), ""]
    lines += ["## Recipe", "", "```yaml", yaml.safe_dump(_recipe(config), sort_keys=False).strip(), "```", ""]
    lines += ["## Data", "", *_data(config, entry), ""]
    lines += ["## Limits", "", *_limits(entry)]
    return "\n".join(lines) + "\n"


def _verdict(entry: Mapping[str, Any]) -> Iterator[str]:
    yield "## What it gained and what it lost"
    yield ""
    yield "Scores in points, untouched base against tuned model, on items that were not trained on."
    yield ""
    yield "| task | role | items | before | after | change | 95 % interval | learned | forgot |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for role in ("target", "sources"):
        for name, row in entry[role].items():
            low, high = row.get("interval") or (None, None)
            between = "" if low is None else f"{low:+.1f} to {high:+.1f}"
            cells = [
                *(_plain(name), role.removesuffix("s"), str(row["n"])),
                *(f"{row['before']:.1f}", f"{row['after']:.1f}", f"{row['after'] - row['before']:+.1f}"),
                *(between, str(row["learned"]), str(row["forgot"])),
            ]
            yield f"| {' | '.join(cells)} |"
    yield ""
    figures = [f"{letter} {entry[letter]:+.1f}" for letter in "EFO" if entry.get(letter) is not None]
    yield f"Mean change on the target (E), on the sources (F), and their sum (O): {', '.join(figures) or 'undefined'}."


def _recipe(config: RunConfig) -> JSON:
    """The settings that say how it was made, without those that stand at nothing."""
    whole = config.model_dump(mode="json", exclude_defaults=True)
    kept = {key: value for key, value in whole.items() if key not in ("target", "sources", "trust_remote_code")}
    return kept | {"model": Path(config.model).name if Path(config.model).is_absolute() else config.model}


def _data(config: RunConfig, entry: Mapping[str, Any] | None) -> Iterator[str]:
    assert config.target is not None
    counts = (
        {} if entry is None else {name: row["n"] for role in ("target", "sources") for name, row in entry[role].items()}
    )
    yield f"- trained on: {_plain(Path(config.target.data).name)}"
    for name, count in counts.items():
        yield f"- judged on: {_plain(name)}, {count} items"


def _limits(entry: Mapping[str, Any] | None) -> Iterator[str]:
    if entry is None:
        yield "- It was not evaluated."
        return
    yield "- The figures hold for the tasks above; nothing is said about others."
    yield f"- One seed ({entry['seed']}); another seed gives other figures."
    for name in sorted(entry.get("left_out") or {}):
        yield f"- {_plain(str(name))} cannot show a change and is left out of the means."
    if entry.get("still_learning"):
        yield f"- {entry['still_learning']}"
    for leak in entry.get("leaks") or []:
        yield f"- {_plain(str(leak))}"


def _plain(text: str) -> str:
    """Text that opens neither a table cell nor markup."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>|#" else letter for letter in " ".join(text.split()))
