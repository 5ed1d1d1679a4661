"""Write the page: template, style, script and data in one file that asks nothing of any network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import write_text
from holdfast.reports.explorer.overview import number, overview
from holdfast.reports.explorer.payload import build_payload, inert
from holdfast.reports.explorer.section import Section
from holdfast.reports.explorer.thumbnails import Thumbnails
from holdfast.verdict.records import Comparison
from holdfast.verdict.sequence import SequenceMeasures


def write_report(
    path: str | Path,
    title: str,
    comparisons: Mapping[str, Comparison],
    *,
    sections: Sequence[Section] = (),
    sequence: SequenceMeasures | None = None,
    images: Iterable[str | Path] = (),
) -> Path:
    """Write the flips explorer.

    Args:
        path: The HTML file; written beside its name and renamed.
        title: Heading of the page.
        comparisons: One a recipe (or one in all), by the name to show.
        sections: What stands between verdict and items: tables, ledger, pictures.
        sequence: Measures over stages, when the comparisons are stages.
        images: Folders in which image keys are looked up first.

    Returns:
        The path.

    Raises:
        HoldfastError: There is nothing to show, or the file cannot be written.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    if not comparisons:
        raise HoldfastError("a report needs at least one comparison")
    roots = [Path(folder) for folder in images]
    roots += [root for comparison in comparisons.values() for root in comparison.roots]
    payload = build_payload(comparisons, Thumbnails(roots))
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    home = files("holdfast.reports.explorer")
    template = environment.from_string((home / "template.html.j2").read_text(encoding="utf-8"))
    html = template.render(
        title=title,
        comparisons=[overview(name, comparison) for name, comparison in comparisons.items()],
        sections=[*_sequence_section(sequence), *sections],
        notes=payload.notes,
        style=Markup((home / "style.css").read_text(encoding="utf-8")),
        script=Markup((home / "explorer.js").read_text(encoding="utf-8")),
        index=Markup(inert(payload.index)),
        blocks=[(name, Markup(text), packed) for name, (text, packed) in payload.blocks.items()],
    )
    final = Path(path)
    write_text(final, html)
    return final


def _sequence_section(sequence: SequenceMeasures | None) -> list[Section]:
    if sequence is None:
        return []
    stages = [
        ("untouched base", sequence.base),
        *((f"after {t}", r) for t, r in zip(sequence.tasks, sequence.matrix, strict=True)),
    ]
    return [
        Section(
            "The sequence, stage by stage",
            text=" ".join(sequence.sentences()),
            columns=("stage", *sequence.tasks),
            rows=[(name, *(number(100 * score) for score in scores)) for name, scores in stages],
        )
    ]
