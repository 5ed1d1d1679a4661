"""Write the page: template, style, script and data in one file that asks nothing of any network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import write_text
from holdfast.reports.charts.svg import PARADIGMS, legend_mark
from holdfast.reports.explorer.overview import overview
from holdfast.reports.explorer.payload import Payload, build_payload, inert
from holdfast.reports.explorer.section import Section
from holdfast.reports.explorer.thumbnails import Thumbnails
from holdfast.reports.numbers import number
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
    if not comparisons:
        raise HoldfastError("a report needs at least one comparison")
    roots = [Path(folder) for folder in images]
    roots += [root for comparison in comparisons.values() for root in comparison.roots]
    payload = build_payload(comparisons, Thumbnails(roots))
    html = render(
        "explorer/template.html.j2",
        styles=("explorer/style.css", "charts/charts.css"),
        scripts=("charts/charts.js", "explorer/explorer.js"),
        title=title,
        skip="items",
        comparisons=[overview(name, comparison) for name, comparison in comparisons.items()],
        sections=[*_sequence_section(sequence), *sections],
        payload=payload,
    )
    final = Path(path)
    write_text(final, html)
    return final


def render(template: str, *, styles: Sequence[str], scripts: Sequence[str], payload: Payload, **values: object) -> str:
    """A page of this room as text: all that its template asks for, its styles, scripts and data inside.

    Args:
        template: Its path below this room, as are those of the next two.
        styles: Style sheets, in order.
        scripts: Scripts, in order.
        payload: The data of the items.
        **values: What else the template shows; all of it is escaped unless it was made by the charts.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    home = files("holdfast.reports")
    environment = Environment(
        loader=PackageLoader("holdfast", "reports"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["marks"] = {paradigm: legend_mark(paradigm) for paradigm in PARADIGMS}
    return environment.get_template(template).render(
        notes=payload.notes,
        style=Markup("\n".join((home / name).read_text(encoding="utf-8") for name in styles)),
        script=Markup("\n".join((home / name).read_text(encoding="utf-8") for name in scripts)),
        index=Markup(inert(payload.index)),
        blocks=[(name, Markup(text), packed) for name, (text, packed) in payload.blocks.items()],
        **values,
    )


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
