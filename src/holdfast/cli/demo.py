"""``holdfast demo``: the whole story on the shipped model, in minutes, on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.study_view import StudyView
from holdfast.cli.terminal import console
from holdfast.events import Event, PointEnded, RecipeDone
from holdfast.values import JSON


def demo(
    out: Annotated[Path, typer.Option(help="folder of the study")] = Path("runs/demo"),
    steps: Annotated[int | None, typer.Option(help="optimizer steps a recipe; default: the study's", min=1)] = None,
    seed: Annotated[int, typer.Option(help="seed of every recipe", min=0)] = 0,
    items: Annotated[int | None, typer.Option(help="test items a task; default: the study's", min=1)] = None,
) -> None:
    """Tune the pocket model on real scanned digits with twelve recipes, and show what was kept and lost."""
    from holdfast.reports.run_report import write_study_report
    from holdfast.reports.tables import recipe_table
    from holdfast.stopping import exit_code
    from holdfast.studies.demo import demo_study
    from holdfast.studies.study import run_study

    study = demo_study(steps=steps, seed=seed, items=items)
    try:
        with Narrator(study.title, len(study.recipes)) as narrator:
            entries = run_study(study, out, base=Path.cwd(), listen=narrator)
    except KeyboardInterrupt:
        console.print("\nInterrupted. The same command goes on where it stopped.")
        raise SystemExit(exit_code()) from None
    console.print(recipe_table(entries))
    for line in conclusions(entries):
        console.print(line)
    console.print(f"Report:  {write_study_report(out, study.title, entries)}", soft_wrap=True)
    console.print(f"Picture: {out / 'pareto.png'}", soft_wrap=True)


class Narrator(StudyView):
    """The view of a study, which says of each recipe how it came out."""

    def __init__(self, title: str, count: int) -> None:
        super().__init__(title)
        self.count, self.told = count, 0

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if isinstance(event, RecipeDone):
            from holdfast.reports.tables import cells

            self.told += 1
            name, _, target, source, _, _, overall, *_ = cells(event.entry)
            line = f"[{self.told}/{self.count}] {name:<14} target {target:<8} source {source:<8} O {overall}"
            console.print(line, markup=False)

    def _ended(self, event: PointEnded) -> None:
        """Whatever failed is said at the end, and what did not when its row is there."""


def conclusions(entries: list[JSON]) -> list[str]:
    """What the table says: what full tuning did, and which recipe gains most of it at the least loss."""
    by_name = {entry["name"]: entry for entry in entries}
    full = by_name.get("full")
    if full is None or not full["E"] or full["F"] is None or full["F"] >= 0:
        return []
    lines = [f"Full tuning gained {full['E']:.1f} points on the target and lost {-full['F']:.1f} on the sources."]
    rivals = [entry for entry in entries if entry is not full and entry["E"] >= 0.75 * full["E"]]
    if rivals:
        best = max(rivals, key=lambda entry: entry["O"])
        lost = -best["F"] if best["F"] < 0 else 0.0
        lines.append(
            f"{best['name']} reached {100 * best['E'] / full['E']:.0f} % of that gain at "
            f"{100 * lost / -full['F']:.0f} % of that loss."
        )
    lines.append("This is a one-million-parameter model: it shows the method, not what a 7B model would do.")
    return lines
