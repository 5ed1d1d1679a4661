"""``holdfast methods``: what can be written under tune, keep and fuse."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def methods(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List every method, stabiliser and fusion with its paper."""
    import json

    rows = catalogue()
    if as_json:
        print(json.dumps({"methods": rows}, indent=1))
        return
    from rich.table import Table

    from holdfast.cli.terminal import console

    table = Table(box=None, pad_edge=False)
    for name in ("name", "paradigm", "family", "paper", "year", "merge", "by"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        merge = "yes" if row["mergeable"] else "no"
        short = {"reparameterization": "reparam."}.get(row["paradigm"], row["paradigm"])
        by = "own" if row["provided_by"] == "holdfast" else row["provided_by"]
        paper = row["paper"].removeprefix("arXiv ").replace(" (baseline)", "")
        table.add_row(f"[bold]{row['name']}[/]", short, row["family"], paper, str(row["year"] or ""), merge, by)
    console.print(table)
    console.print(
        "[dim]Papers are arXiv numbers. --json tells more: official code, cost, what each was checked with.[/]"
    )


def catalogue() -> list[dict[str, Any]]:
    """Every entry of the three registries as plain values."""
    from dataclasses import asdict

    from holdfast.methods.fusion.base import FUSIONS
    from holdfast.methods.registry import load_all
    from holdfast.methods.stabilisers.registry import STABILISERS

    order = ["baseline", "selective", "additive", "reparameterization"]
    cards = [asdict(kind.card) for kind in load_all().values()]
    cards.sort(key=lambda card: (order.index(card["paradigm"]), card["family"], card["name"]))
    for card in cards:
        card["kind"] = "method"
    for name, stabiliser in sorted(STABILISERS.items()):
        cards.append(_plain(name, "stabiliser", stabiliser))
    for name, fusion in sorted(FUSIONS.items()):
        cards.append(_plain(name, "fusion", fusion))
    return cards


def _plain(name: str, kind: str, entry: Any) -> dict[str, Any]:
    return {
        "name": name, "paradigm": "selective" if kind == "fusion" else "any", "family": kind, "kind": kind,
        "summary": " ".join((entry.__doc__ or "").split("\n\n")[0].split()), "paper": entry.paper, "year": entry.year,
        "mergeable": True, "provided_by": "holdfast",
    }  # fmt: skip
