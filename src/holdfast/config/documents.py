"""A YAML document as a mapping, with the line of every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from holdfast.errors import HoldfastError


def read_mapping(file: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        HoldfastError: The file is missing or unreadable, is no YAML, or holds something other than ``key: value``.
    """
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HoldfastError("the file does not exist", file=file, remedy="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise HoldfastError(f"the file cannot be read ({error})", file=file) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        line = None if mark is None else mark.line + 1
        raise HoldfastError(f"bad YAML: {what}", file=file, line=line, remedy="mend the line") from error
    if not isinstance(value, dict):
        raise HoldfastError("the file is not a mapping of keys", file=file, remedy="write key: value lines")
    return value
