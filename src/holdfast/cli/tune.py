"""``holdfast tune``: one run as a configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.config.schema import RunConfig


def tune(
    config: Annotated[Path, typer.Argument(help="the recipe, a YAML file")],
    out: Annotated[Path | None, typer.Option(help="run folder; default: runs/NAME of the configuration")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="override a key: --set train.steps=100")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="leave bad examples out and record them")] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="processes that share each step, one a GPU; default: one")
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="search recipes under --keep; ends with recipe.yaml")] = False,
    keep: Annotated[list[str] | None, typer.Option(help="with --auto: what may be lost, 'F >= -2'")] = None,
    trials: Annotated[int, typer.Option(help="with --auto: how many recipes are tried", min=1)] = 20,
) -> None:
    """Tune a model, evaluate it against its base, and write the run folder.

    The same command goes on where an interrupted one stopped, with whatever
    number of processes. With --auto it tries recipes on the validation parts
    instead, many for a few steps and the best of them for all, and writes the
    one that gains most while the sources lose no more than --keep allows.
    """
    from holdfast import api, ranks
    from holdfast.cli.terminal import Terminal, console
    from holdfast.config.loading import load_config
    from holdfast.reports.run_report import write_run_report
    from holdfast.reports.tables import recipe_table, warnings_of
    from holdfast.stopping import exit_code

    overrides = [*(set_ or []), *(["skip_bad=true"] if skip_bad else [])]
    if auto:
        from holdfast.cli.tune_auto import search

        return search(config, keep=keep or [], trials=trials, out=out, overrides=overrides)
    if keep:
        from holdfast.errors import HoldfastError

        raise HoldfastError("--keep belongs to --auto", remedy="add --auto, or leave it out")
    folder = out or Path("runs") / config.stem
    if processes is not None and processes > 1:
        _start(processes, config, folder, overrides)
        return
    try:
        with Terminal() as terminal:
            run = api.tune(config, folder, overrides=overrides, listen=terminal)
    except KeyboardInterrupt:
        if not ranks.here().first:
            raise SystemExit(exit_code()) from None
        console.print(f"\nInterrupted. The run stands in {folder}; the same command goes on where it stopped.")
        raise SystemExit(exit_code()) from None
    first = ranks.here().first
    ranks.leave()
    if not first:
        return
    console.print(recipe_table([run.scores]))
    for sentence in api.compare(folder / "base", folder, target=next(iter(run.scores["target"]))).sentences():
        console.print(sentence)
    for warning in warnings_of(run.scores):
        console.print(warning, style="yellow", markup=False)
    console.print(f"Report: {write_run_report(folder, [run.scores], base=config.resolve().parent)}", soft_wrap=True)
    console.print("\nNext:")
    for command, purpose in next_commands(folder, load_config(folder / "config.yaml")):
        console.print(f"  {command}", markup=False, soft_wrap=True)
        console.print(f"      {purpose}", style="dim")


def _start(processes: int, config: Path, folder: Path, overrides: list[str]) -> None:
    """The same command in several processes."""
    from holdfast.cli.processes import start
    from holdfast.errors import HoldfastError
    from holdfast.ranks import is_one_of_many

    if is_one_of_many():
        raise HoldfastError("this is one of several processes already", remedy="leave --processes to accelerate launch")
    settings = [word for override in overrides for word in ("--set", override)]
    code = start(processes, ["tune", str(config), "--out", str(folder), *settings])
    if code:
        raise SystemExit(code)


def next_commands(folder: Path, config: RunConfig) -> list[tuple[str, str]]:
    """What can be done with a finished run: commands as they are typed, and what each is for."""
    from shlex import quote

    from holdfast.methods.registry import METHODS

    run = quote(str(folder))
    beside = {name: quote(str(folder.with_name(f"{folder.name}-{name}"))) for name in ("verdict", "eval", "model")}
    parts = (config.tune.vision, config.tune.connector, config.tune.llm)
    merges = all(METHODS.find(one.method).card.mergeable for part in parts for one in part.all)
    commands = [
        (f"holdfast compare {run}", "the verdict in full, with intervals and tests"),
        (f"holdfast compare {run} --out {beside['verdict']}", "the same as a page and as JSON"),
        (f"holdfast eval {run} --tasks FILE --out {beside['eval']}", "another task; FILE holds its examples"),
    ]
    if merges:
        commands.append((f"holdfast export {run} --out {beside['model']}", "a plain transformers model"))
    return commands
