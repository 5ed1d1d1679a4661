"""Where a part of a model stands, and what is said when it cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files.places import path_of


def part_place(name: str, part: str) -> str:
    """The folder or Hub id behind the name of a part.

    Args:
        name: As it was given.
        part: The option that named it, ``vision`` or ``llm``.

    Raises:
        HoldfastError: No such folder.
    """
    folder = path_of(name)
    if folder.is_dir():
        return str(folder)
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1 or "\\" in name:
        raise HoldfastError(f"there is no model folder '{name}'", remedy=f"give a folder or a Hub id for --{part}")
    return name


@contextmanager
def explained(name: str, part: str) -> Iterator[None]:
    """One sentence for whatever the code of transformers meets in a folder that it cannot read.

    Raises:
        HoldfastError: In place of any other exception of the block.
    """
    try:
        yield
    except HoldfastError:
        raise
    except Exception as error:  # libraries raise types of their own, and tokenizers bare ones
        text = " ".join(str(error).split())
        package = re.search(r"pip install [`'\"]?([\w-]+)", text)
        if isinstance(error, ImportError) and package:
            problem = f"'{name}' needs a package that is not installed"
            raise HoldfastError(problem, remedy=f"install it with pip install {package[1]}") from error
        if not Path(path_of(name)).is_dir():
            problem = f"'{name}' is neither a local folder nor reachable on the Hub"
            remedy = "check the name and the connection, or download it and give the folder"
            raise HoldfastError(problem, remedy=remedy) from error
        raise HoldfastError(
            f"'{name}' cannot be read as what --{part} names ({text[:300] or type(error).__name__})",
            remedy="check that its folder is complete, with its weights as safetensors",
        ) from error
