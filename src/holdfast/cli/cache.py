"""``holdfast cache``: what the frozen-feature cache holds, and how to be rid of it."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Show or clear the stored image features of frozen vision encoders.")


@app.callback(invoke_without_command=True)
def cache(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show or clear the stored image features of frozen vision encoders."""
    if context.invoked_subcommand is not None:
        return
    import json

    from holdfast.data.contents import memory
    from holdfast.speed.features.folder import DEFAULT_CAP, default_folder, groups

    folder = default_folder()
    found = groups(folder)
    entries, size = sum(len(group.files) for group in found), sum(group.size for group in found)
    if as_json:
        rows = [
            vars(group.card) | {"entries": len(group.files), "bytes": group.size, "used": group.used} for group in found
        ]
        known = memory()
        kept = None if known is None else {"file": str(known.file), "bytes": known.size, "files": known.known}
        facts = {"folder": str(folder), "bytes": size, "cap": DEFAULT_CAP, "groups": rows, "contents": kept}
        print(json.dumps(facts, indent=1))
        return
    print(f"{folder}: {_sets(entries)}, {_bytes(size)} of {_bytes(DEFAULT_CAP)}.")
    if (remembered := memory()) is not None:
        print(f"{remembered.file}: digests of {_files(remembered.known)}, {_bytes(remembered.size)}.")
    if found:
        print(f"\n{'model':<30} {'stage':<9} {'dtype':<8} {'sets':>7} {'size':>8}  last used")
    for group in found:
        card = group.card
        name = card.model if len(card.model) <= 30 else "..." + card.model[-27:]
        row = f"{name:<30} {card.stage:<9} {card.dtype:<8} {len(group.files):>7,} {_bytes(group.size):>8}"
        print(f"{row}  {_ago(group.used)}")


@app.command()
def clear(
    older_than: Annotated[
        float | None, typer.Option("--older-than", help="only what was not used for so many days", min=0)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Delete stored features and, without --older-than, digests of files; both are made again when they are needed."""
    import sys
    import time

    from holdfast.data.contents import forget, memory
    from holdfast.errors import HoldfastError
    from holdfast.speed.features.folder import clear as empty
    from holdfast.speed.features.folder import default_folder, stored

    folder, seconds = default_folder(), (older_than or 0.0) * 86400
    old = [file for file in stored(folder) if time.time() - file.used >= seconds]
    remembered = memory() if older_than is None else None
    if (old or remembered) and not yes:
        what = f"{_sets(len(old))}, {_bytes(sum(file.size for file in old))}, in {folder}"
        if remembered is not None:
            what += f", and the digests of {_files(remembered.known)} in {remembered.file}"
        if not sys.stdin.isatty():
            raise HoldfastError(f"deleting {what} was not confirmed", remedy="add --yes")
        typer.confirm(f"Delete {what}?", abort=True)
    count, freed = empty(folder, older_than=seconds)
    print(f"Deleted {_sets(count)}, {_bytes(freed)}.")
    if remembered is not None:
        print(f"Deleted the digests of {_files(remembered.known)}, {_bytes(forget())}.")


def _sets(count: int) -> str:
    return f"{count:,} image set{'' if count == 1 else 's'}"


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def _ago(moment: float) -> str:
    import time

    seconds = max(0.0, time.time() - moment)
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
