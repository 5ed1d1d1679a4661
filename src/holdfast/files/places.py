"""What a person's words for a place mean: ``~`` is a home, and some words are no file's name anywhere."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.errors import HoldfastError, cut

LONGEST_NAME = 255
"""Bytes; what the common file systems allow for one part of a path."""


def path_of(text: str | Path) -> Path:
    """``text`` as a path, with the home folder in the place of a leading ``~`` or ``~name``.

    Raises:
        HoldfastError: There is no such home, or no file can have this name: too long, or letters that no name holds.
    """
    path, shown = Path(text), ascii(cut(str(text), 100))
    try:
        parts = [os.fsencode(part) for part in path.parts]
    except UnicodeEncodeError:  # half a surrogate pair
        parts = [b"\0"]
    if any(len(part) > LONGEST_NAME or b"\0" in part for part in parts):
        raise HoldfastError(f"no file can have the name {shown}", remedy="give the name of one that is there")
    try:
        return path.expanduser()
    except RuntimeError:
        remedy = "set HOME, or write the whole path"
        raise HoldfastError(f"{shown} begins at a home folder that is not known", remedy=remedy) from None


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/holdfast``, else ``~/.cache/holdfast``.

    Raises:
        HoldfastError: Neither variable is set and the system knows no home of this user, as in some containers.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return path_of(given or "~/.cache") / "holdfast"
    except HoldfastError as error:
        raise HoldfastError(
            "there is no home folder to keep a cache in", remedy="set HOLDFAST_CACHE to a folder that may be written"
        ) from error
