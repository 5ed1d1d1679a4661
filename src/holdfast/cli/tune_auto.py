"""``holdfast tune --auto``: search recipes for a person's own data under a bound on what the sources may lose."""

from __future__ import annotations

from pathlib import Path

from holdfast.errors import HoldfastError


def search(recipe: Path, *, keep: list[str], trials: int, out: Path | None, overrides: list[str]) -> None:
    """Search, write ``recipe.yaml`` into the folder and say why.

    Raises:
        HoldfastError: No bound, no sources, or a mistake in the recipe.
        SystemExit: With 1 where no recipe keeps to the bound; with the signal's code when interrupted.
    """
    from holdfast.cli.terminal import Terminal, console
    from holdfast.config.loading import dump_recipe, load_config
    from holdfast.files import write_text
    from holdfast.results.advice import read_wish
    from holdfast.runs.folder import RunFolder
    from holdfast.stopping import exit_code
    from holdfast.studies.auto import RecipeSearch, ValidationRuns

    if len(keep) != 1:
        raise HoldfastError("--auto needs one bound on what the sources may lose", remedy="add --keep 'F >= -2'")
    folder = out or Path("runs") / f"{recipe.stem}-auto"
    wish = read_wish(keep[0])
    config = load_config(recipe, overrides)
    try:
        with RunFolder(folder).held(), Terminal(quiet=True) as terminal:
            measure = ValidationRuns(recipe.resolve().parent, terminal)
            work = RecipeSearch(config, wish, folder, measure=measure, trials=trials, told=_say)
            found = work.run()
    except KeyboardInterrupt:
        console.print(f"\nInterrupted. The search stands in {folder}; the same command goes on where it stopped.")
        raise SystemExit(exit_code()) from None
    lines = found.sentences(wish)
    console.print()
    for line in lines:
        console.print(line, markup=False)
    if found.best is None:
        raise SystemExit(1)
    final = folder / "recipe.yaml"
    told = "".join(f"# {line}\n" for line in lines)
    write_text(
        final, f"# Found by holdfast tune --auto in {found.trials} trials.\n{told}{dump_recipe(found.best.config)}"
    )
    console.print(f"Wrote {final}. Next, with the test parts that the search has not seen:", soft_wrap=True)
    console.print(
        f"  holdfast tune {final} --out {folder.with_name(folder.name + '-best')}", markup=False, soft_wrap=True
    )


def _say(line: str) -> None:
    from holdfast.cli.terminal import console

    console.print(line, markup=False, highlight=False)
