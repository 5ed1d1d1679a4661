"""Axes whose levels are everything that is registered, so that a new method joins a study by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.errors import HoldfastError, nearest
from holdfast.values import JSON

KINDS = ("method", "stabiliser", "fusion")


def is_every(written: Any) -> bool:
    """Whether the levels of an axis are to be found: ``{every: method, except: [frozen], options: {lora: {r: 8}}}``.

    ``also`` adds named levels in front, such as none at all.
    """
    return isinstance(written, Mapping) and "every" in written


def every_level(written: Mapping[str, Any], key: str, *, expand: bool) -> JSON:
    """The levels of such an axis, as named patches.

    Args:
        written: What stands in the file.
        key: Where.
        expand: Find them, for which every method is imported; otherwise one level stands for all.

    Raises:
        HoldfastError: An unknown key, kind or name.
    """
    for name in written:
        if name not in ("every", "also", "except", "options"):
            remedy = nearest(str(name), ("every", "also", "except", "options"))
            raise HoldfastError(f"unknown key '{name}'", key=f"{key}.{name}", remedy=remedy)
    kind = str(written["every"])
    if kind not in KINDS:
        raise HoldfastError(f"nothing registered is called '{kind}'", key=f"{key}.every", remedy=nearest(kind, KINDS))
    levels: JSON = dict(written.get("also") or {})
    if not expand:
        return levels | {f"every {kind}": {}}
    from holdfast.methods.registry import FUSIONS, METHODS, STABILISERS

    names = {"method": METHODS, "stabiliser": STABILISERS, "fusion": FUSIONS}[kind].names()  # type: ignore[attr-defined]
    left_out, options = written.get("except") or [], written.get("options") or {}
    for place, given in (("except", left_out), ("options", options)):
        unknown = next((str(name) for name in given if name not in names), None)
        if unknown is not None:
            raise HoldfastError(
                f"there is no {kind} '{unknown}'", key=f"{key}.{place}.{unknown}", remedy=nearest(unknown, names)
            )
    for name in names:
        if name in left_out:
            continue
        own = dict(options.get(name) or {})
        if kind == "method":
            levels[name] = {"tune": {own.pop("at", METHODS.find(name).card.at): {"method": name, **own}}}
        elif kind == "stabiliser":
            levels[name] = {"keep": [{"stabiliser": name, **own}]}
        else:
            levels[name] = {"fuse": {"method": name, **own}}
    return levels
