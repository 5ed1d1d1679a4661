"""``holdfast compare``: what was gained, what was forgotten, and whether that is noise."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def compare(
    base: Annotated[Path, typer.Argument(help="Before: a prediction file or run folder (RUN/base).")],
    tuned: Annotated[Path, typer.Argument(help="After: a prediction file or run folder.")],
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Task that was tuned for; may be repeated.")
    ] = None,
    margin: Annotated[float, typer.Option(help="Points whose loss would be tolerated.")] = 1.0,
    intersect: Annotated[bool, typer.Option(help="Compare only the shared items and tasks.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
) -> None:
    """Compare the predictions of a base with those of a tuned model, item by item."""
    from holdfast.evaluation.compare import compare as compare_predictions

    comparison = compare_predictions(base, tuned, target=target or None, margin=margin, intersect=intersect, seed=seed)
    if as_json:
        json.dump(comparison.to_json(), sys.stdout, ensure_ascii=False, indent=1, allow_nan=False)
        print()
        return
    print("\n".join(comparison.sentences()))
