"""A YAML document as a mapping, with the line of every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from holdfast.errors import HoldfastError
from holdfast.values import JSON


def read_mapping(file: Path) -> JSON:
    """The mapping that a YAML file holds.

    Raises:
        HoldfastError: The file is missing or unreadable, is no YAML, or holds something other than ``key: value``.
    """
    _, value = read_document(file)
    if not isinstance(value, dict):
        raise HoldfastError("the file is not a mapping of keys", file=file, remedy="write key: value lines")
    return value


def read_document(file: Path, *, what: str = "the file") -> tuple[str, Any]:
    """The text of a YAML file and the value that it holds.

    Raises:
        HoldfastError: The file is missing or unreadable, or is no YAML; ``what`` names it.
    """
    try:
        text = file.read_text(encoding="utf-8")
        return text, yaml.safe_load(text)
    except FileNotFoundError as error:
        raise HoldfastError(f"{what} does not exist", file=file, remedy="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise HoldfastError(f"{what} cannot be read ({error})", file=file) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, brackets within brackets
        raise HoldfastError(f"bad YAML: {error}", file=file, remedy="mend the value") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        line = None if mark is None else mark.line + 1
        raise HoldfastError(f"bad YAML: {what}", file=file, line=line, remedy="mend the line") from error
