"""Where a model's name leads before any hub is asked: models that come with Holdfast, and folders beside a recipe."""

from __future__ import annotations

from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files.places import path_of

SHIPPED = {
    "pocket": Path(__file__).with_name("pocket"),
    "pocket-2": Path(__file__).with_name("pocket_2"),
}
"""Names that need no folder and no hub, and what they stand for."""


def model_beside(name: str, base: Path, *, alone: bool = False) -> str:
    """A model's name with a relative folder in full, so that it means the same from anywhere.

    Args:
        name: As a recipe or a study says it.
        base: Where its relative paths start; a folder there goes before one of that name anywhere else.
        alone: Refuse a name that means another folder where the command is given.

    Returns:
        The folder below ``base``, where there is one; else the name as it is.

    Raises:
        HoldfastError: It means two folders.
    """
    if name in SHIPPED:
        return name
    beside = base / path_of(name)
    if not beside.is_dir():
        return name
    here = Path.cwd() / path_of(name)
    if alone and here.is_dir() and not here.samefile(beside):
        raise HoldfastError(
            f"the model '{name}' may be {beside.resolve()} or {here.resolve()}",
            key="model",
            remedy="write the whole path of the one that is meant",
        )
    return str(beside.resolve())
