"""Write the page of a study, and the static pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from holdfast.files import write_text
from holdfast.reports.charts.gains import GainMark, gains_chart
from holdfast.reports.charts.svg import Chart
from holdfast.reports.explorer.overview import overview
from holdfast.reports.explorer.page import render
from holdfast.reports.explorer.payload import inert
from holdfast.reports.explorer.section import Section
from holdfast.reports.pareto import draw_pareto
from holdfast.reports.study.claims import claim_views, claims_sentence
from holdfast.reports.study.figures import (
    BASES,
    RecipeFigures,
    StudyFigures,
    View,
    condition_of,
    seed_of,
    study_figures,
)
from holdfast.reports.study.inlined import InlinedRuns, inline_runs
from holdfast.reports.study.more import gathered, more_sections, ranks_of
from holdfast.reports.study.published import published_sections
from holdfast.reports.study.sentences import study_sentences
from holdfast.reports.study.sweeps import sweep_charts, training_charts
from holdfast.reports.study.tables import (
    forest_rows,
    heat_map,
    recipe_columns,
    recipe_rows,
    slope_panels,
    slope_table,
)
from holdfast.results.claims.trial import ClaimTrial, put_on_trial
from holdfast.results.items import Tasks
from holdfast.results.overview import Aggregate, StudySection, sections
from holdfast.results.points import Point, Results, read_items
from holdfast.values import JSON

MOST_FAILED = 200


def write_study_page(
    results: Results,
    out: Path,
    *,
    items: Mapping[str, Tasks] | None = None,
    whole: Aggregate | None = None,
    told: Sequence[StudySection] | None = None,
    trials: Sequence[ClaimTrial] | None = None,
    images: Sequence[Path] = (),
) -> Path:
    """Write ``report.html``, everything the study says in one file that asks nothing of any network; and its picture as
    ``pareto.png`` and ``pareto.svg``.

    Args:
        results: The study as it stands, finished or not.
        out: The folder it is written to; runs that do not fit are linked relative to it.
        items: What changed on each image, for the intervals; default: read from the study.
        whole: Every pair of recipes compared, for ranks, pairs and factors; default: made here where that is quick.
        told: The sections of ``whole``, where they were made already.
        trials: Claims and what became of them; default: the study's own claims are put on trial.
        images: Folders in which the pictures of items are looked up, beside those of the study itself.

    Returns:
        The path of the page.

    Raises:
        HoldfastError: The file cannot be written.
    """
    known = read_items(results) if items is None else items
    figures = study_figures(results, known)
    whole = gathered(results, known) if whole is None else whole
    told = (sections(whole) if whole else ()) if told is None else told
    if trials is None:
        trials = put_on_trial(results, known, results.claims) if results.claims and results.finished else ()
    ranks = ranks_of(whole)
    inlined = inline_runs(figures, [*images, results.folder / ".base" / "images"])
    columns = recipe_columns(figures, ranks=bool(ranks))
    html = render(
        "study/study.html.j2",
        styles=("explorer/style.css", "charts/charts.css", "study/study.css"),
        scripts=("charts/charts.js", "explorer/explorer.js", "study/study.js"),
        payload=inlined.payload,
        title=results.title,
        skip="recipes",
        results=results,
        sentences=[*study_sentences(figures), *([claims_sentence(trials)] if trials else [])],
        views=figures.views,
        gains={view.name: chart for view in figures.views if (chart := _gains(view)) is not None},
        keys=list(dict.fromkeys(recipe.paradigm for recipe in figures.whole.recipes)),
        factors=_filters(figures),
        columns=columns,
        rows={view.name: recipe_rows(view, columns, ranks) for view in figures.views},
        heat=heat_map(figures),
        slopes=slope_panels(figures),
        slope_table=slope_table(figures.whole),
        sweeps=sweep_charts(figures.whole, {factor: results.axes[factor] for factor in results.factors}),
        training=(training := training_charts(results, known, figures.whole)),
        forest=(forest := forest_rows(figures.whole)),
        several=any(recipe.seeds > 1 for recipe in figures.whole.recipes),
        jumps=_jumps(bool(forest), bool(inlined.comparisons), bool(results.failed), bool(trials), bool(training)),
        overviews={key: overview(key, comparison) for key, comparison in inlined.comparisons.items()},
        details=inlined.details,
        left_out=inlined.left_out,
        claims=claim_views(trials),
        sections=[
            *more_sections(told),
            *published_sections(results.published, figures.whole.recipes),
            *_origins(results),
        ],
        failed=results.failed,
        failed_rows=[(_levels(point), point.reason or "–", point.key) for point in results.failed[:MOST_FAILED]],
        study=Markup(inert(_data(figures, inlined, out))),
    )
    marks = [_mark(recipe, figures.whole) for recipe in figures.whole.placed]
    draw_pareto(marks, [out / "pareto.png", out / "pareto.svg"], title=results.title, where=_targets(figures.whole))
    final = out / "report.html"
    write_text(final, html)
    return final


def _gains(view: View) -> Chart | None:
    marks = [_mark(recipe, view) for recipe in view.placed]
    if not marks:
        return None
    kinds = [basis for basis in BASES if any(basis in (one.E.basis, one.F.basis) for one in view.placed)]
    told = " or ".join(BASES[kind] for kind in kinds)
    return gains_chart(f"gains-{view.name}", marks, interval_words=told, where=_targets(view))


def _targets(view: View) -> str:
    return view.targets[0] if len(view.targets) == 1 else "the targets"


def _mark(recipe: RecipeFigures, view: View) -> GainMark:
    runs = []
    if len(recipe.runs) > 1:
        for point in recipe.runs:
            gain, change = point.scores.get("E"), point.scores.get("F")
            if gain is not None and change is not None:
                runs.append((float(change), float(gain), f"#run={point.key}", run_name(point)))
    return GainMark(
        name=recipe.name,
        number=recipe.number,
        paradigm=recipe.paradigm,
        x=recipe.F.mean or 0.0,
        y=recipe.E.mean or 0.0,
        x_interval=recipe.F.interval,
        y_interval=recipe.E.interval,
        href=f"#run={recipe.runs[0].key}",
        runs=runs,
    )


def run_name(point: Point) -> str:
    """What tells a run from others of its recipe."""
    parts = [
        point.levels.get("model", ""),
        point.levels.get("target", "") or next(iter(point.scores["target"]), ""),
    ]
    seed = seed_of(point)
    return ", ".join([part for part in parts if part] + ([f"seed {seed}"] if seed else []))


def _jumps(stability: bool, items: bool, failed: bool, claims: bool, training: bool) -> list[tuple[str, str]]:
    """Where the links below the opening lead."""
    there = [
        ("recipes", "Recipes"),
        *([("claims", "Claims")] if claims else []),
        ("tasks", "Tasks"),
        ("slopes", "Before and after"),
    ]
    there += [("training", "Over training")] if training else []
    there += [("stability", "Stability")] if stability else []
    there += [("failed", "Failed runs")] if failed else []
    return [*there, ("run", "One run"), *([("items", "Items")] if items else [])]


def _origins(results: Results) -> list[Section]:
    """Where the settings of recipes come from, as far as their runs say."""
    told = {str(point.scores["origin"]): point for point in results.finished if point.scores.get("origin")}
    if not told:
        return []
    rows = [(point.scores.get("name", "–"), point.scores.get("method", "–"), text) for text, point in told.items()]
    columns = ("recipe", "method", "origin")
    return [Section("Where the settings come from", columns=columns, rows=rows, words=True, folded=True)]


def _levels(point: Point) -> str:
    return ", ".join(f"{axis} {level}" for axis, level in point.levels.items())


def _filters(figures: StudyFigures) -> dict[str, Sequence[str]]:
    """Factors that a reader may narrow by."""
    axes = figures.results.axes
    varying = [factor for factor in figures.results.factors if len(axes[factor]) > 1]
    # One factor names the recipes already.
    return {factor: axes[factor] for factor in varying if len(axes[factor]) <= 40 and len(varying) > 1}


def _data(figures: StudyFigures, inlined: InlinedRuns, out: Path) -> JSON:
    """What the script needs: every recipe's levels, every run's figures and where it is shown."""
    results = figures.results
    known = {recipe.number: recipe for recipe in figures.whole.recipes}
    levels: dict[int, dict[str, str]] = {}
    for point in results.points:
        levels.setdefault(figures.number_of[point.key], dict(point.levels))
    recipes = [
        {
            "name": name,
            "paradigm": known[number].paradigm if number in known else "baseline",
            "levels": {factor: levels[number].get(factor, "") for factor in results.factors},
        }
        for number, name in enumerate(figures.names)
    ]
    finished = results.finished
    return {
        "recipes": recipes,
        "runs": {
            "key": [point.key for point in finished],
            "recipe": [figures.number_of[point.key] for point in finished],
            "on": [condition_of(point, results) for point in finished],
            "seed": [seed_of(point) for point in finished],
            **{letter: [_rounded(point.scores.get(letter)) for point in finished] for letter in "EFOH"},
            **{name: [point.scores.get(name) for point in finished] for name in ("learned", "forgot", "seconds")},
            "place": [_place(point.folder, results.folder) for point in finished],
            "page": [_page(point, inlined, out) for point in finished],
        },
    }


def _page(point: Point, inlined: InlinedRuns, out: Path) -> str | None:
    """Where a run that is not in this page has one of its own."""
    page = point.folder / "report.html"
    if point.key in inlined.comparisons or not page.is_file():
        return None
    return _place(page, out)


def _place(path: Path, above: Path) -> str:
    """A path as the reader of a page in ``above`` would write it."""
    path, above = path.absolute(), above.absolute()
    return path.relative_to(above).as_posix() if path.is_relative_to(above) else path.name


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 2)
