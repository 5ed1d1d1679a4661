"""The templates of ``scripts/new.py``, as the pages show them."""

from __future__ import annotations

import re

from scripts.new import TEMPLATES


def shown(text: str) -> str:
    """The page with each ``TEMPLATE file`` line replaced by that file of ``scripts/templates``."""
    return re.sub(
        r"^TEMPLATE (\S+)$",
        lambda found: (TEMPLATES / found[1]).read_text(encoding="utf-8").rstrip("\n"),
        text,
        flags=re.MULTILINE,
    )
