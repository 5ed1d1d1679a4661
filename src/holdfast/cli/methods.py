"""``holdfast methods``: what can be written under tune, keep and fuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.values import JSON

if TYPE_CHECKING:
    from holdfast.methods.describe import Description


def methods(
    name: Annotated[str | None, typer.Argument(help="show this one: formula, options, example")] = None,
    paradigm: Annotated[
        str | None, typer.Option(help="only selective, additive, reparameterization, baseline, or any (stabilisers)")
    ] = None,
    family: Annotated[str | None, typer.Option(help="only this family")] = None,
    everything: Annotated[bool, typer.Option("--all", help="also what is not here, and why")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON with everything that is known")] = False,
) -> None:
    """List every method, stabiliser and fusion with its paper; with a NAME everything about it."""
    import json

    from holdfast.errors import HoldfastError, nearest
    from holdfast.methods.absent import ABSENT, NOT_BUILT, PEFT_ABSENT
    from holdfast.methods.describe import broken, catalogue, describe

    entries = [describe(name)] if name else catalogue()
    for word, wanted in (("paradigm", paradigm), ("family", family)):
        known = {getattr(entry.card, word) for entry in entries}
        if wanted is not None and wanted not in known:
            raise HoldfastError(f"there is no {word} '{wanted}'", remedy=nearest(wanted, known))
        entries = [entry for entry in entries if wanted is None or getattr(entry.card, word) == wanted]
    if as_json:
        found: JSON = {"methods": [entry.to_json() for entry in entries]}
        found["broken"] = [str(fault) for fault in broken()]
        if everything:
            found["absent"] = [vars(absent) for absent in (*ABSENT, *NOT_BUILT, *PEFT_ABSENT)]
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    from holdfast.cli.terminal import console

    if name:
        _page(entries[0])
        return
    _table(entries)
    for fault in broken():
        console.print(f"[red]broken[/] {fault}", highlight=False)
    if everything:
        titles = "Of no use to a model that answers in words", "Not here", "Types of PEFT's that are not offered"
        for title, group in zip(titles, (ABSENT, NOT_BUILT, PEFT_ABSENT), strict=True):
            console.print(f"\n[bold]{title}[/]")
            for absent in group:
                console.print(f"{absent.name} ({absent.family}): {absent.reason}.", highlight=False)
    console.print("[dim]Papers: arXiv. merge: folds into plain weights. by: whose code it is.[/]")
    console.print("[dim]holdfast methods NAME shows options, formula and an example.[/]")


def _table(entries: list[Description]) -> None:
    from itertools import groupby

    from rich.table import Table

    from holdfast.cli.terminal import console

    table = Table(box=None, pad_edge=False)
    longest = max(len(entry.card.name) for entry in entries) + 2
    for name in ("name", "family", "paper", "year", "merge", "by"):  # where it is narrow the paper gives way
        least = {"name": longest, "year": 4, "merge": 5, "by": 4}.get(name)
        table.add_column(name, no_wrap=True, min_width=least, max_width=18 if name in ("family", "paper") else None)
    for group, rows in groupby(entries, key=_group):
        table.add_row(f"[bold]{group}[/]")
        for entry in rows:
            card = entry.card
            merge = "yes" if card.mergeable else "no"
            by = "own" if card.provided_by == "holdfast" else card.provided_by
            by = by if entry.provider.package == "holdfast" else entry.provider.package
            paper = card.paper.removeprefix("arXiv ").replace(" (baseline)", "")
            table.add_row(f"  {card.name}", card.family, paper, str(card.year or ""), merge, by)
    console.print(table)


def _group(entry: Description) -> str:
    return entry.card.paradigm if entry.kind == "method" else f"{entry.kind}s"


def _page(entry: Description) -> None:
    from holdfast.cli.terminal import console

    card = entry.card

    def say(text: str, **options: Any) -> None:
        console.print(text, markup=False, highlight=False, **options)

    kind = entry.kind if card.paradigm == "any" else f"{card.paradigm} {entry.kind}"
    console.print(f"[bold]{card.name}[/]: {kind}, {card.family}", highlight=False)
    for paragraph in entry.text.split("\n\n"):
        say("\n" + " ".join(paragraph.split()))
    say("")
    year = f" ({card.year})" if card.year else ""
    facts = {
        "paper": f"{card.paper}{year}",
        "official code": card.official_code or "",
        "provided by": f"{entry.provider}" + (f", through {card.provided_by}" if card.provided_by == "peft" else ""),
        "merges": "into the plain weights" if card.mergeable else "no",
        "packed base": entry.beside_packed,
        "at inference": card.extra_inference_cost,
        "checked against": card.checked_against,
        "learning rate": f"{card.default_lr:g} where a recipe gives none" if entry.kind == "method" else "",
    }
    for word, fact in facts.items():
        if fact.strip():
            say(f"{word:<16} {fact}")
    say("\nOptions" if entry.options else "\nNo options.")
    for option in entry.options:
        default = "none" if option.default is None else f"{option.default}".lower()
        bounds = f", {option.bounds}" if option.bounds else ""
        also = f" (also written {', '.join(option.also)})" if option.also else ""
        source = f" [default: {option.source}]" if option.source else ""
        say(f"  {option.name} = {default}: {option.type}{bounds}. {option.meaning}{also}{source}")
    say(f"\nIn a recipe\n{entry.example}")
