"""What a caller adds to the page: a table, a picture, some words. Everything is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.reports.charts.svg import Chart


@dataclass(frozen=True)
class Section:
    """A part of the page, between the verdict and the items unless it leads.

    Attributes:
        title: Heading.
        text: Plain sentences under it.
        lines: A list under the text.
        columns: Headings of a table; the first column is text, the others are numbers.
        rows: Its cells.
        words: Whether the other columns are text as well.
        charts: Drawn in the page itself, each with its table.
        picture: A PNG or SVG file, or its bytes.
        caption: Under the picture; also its alternative text.
        preformatted: Text in which spacing matters, such as a ledger.
        folded: Whether the section starts closed.
        lead: Whether it stands before the verdict instead.
        last: Whether it stands behind the items instead.
    """

    title: str
    text: str = ""
    lines: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    words: bool = False
    charts: Sequence[Chart] = ()
    picture: Path | bytes | None = None
    caption: str = ""
    preformatted: str = ""
    folded: bool = False
    lead: bool = False
    last: bool = False

    @property
    def picture_uri(self) -> str | None:
        """The picture as a data URI; an SVG shown this way cannot run scripts."""
        if self.picture is None:
            return None
        content = self.picture if isinstance(self.picture, bytes) else self.picture.read_bytes()
        kind = "image/png" if content.startswith(b"\x89PNG") else "image/svg+xml"
        return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
