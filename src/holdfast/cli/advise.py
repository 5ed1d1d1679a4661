"""``holdfast advise``: the recipe to take, by a finished study and what must be kept."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.config.schema import RunConfig
    from holdfast.results.advice import Advice
    from holdfast.results.overview import Aggregate, Standing

_UNITS = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def advise(
    study: Annotated[Path, typer.Option(help="the study folder, --out of holdfast study run")],
    keep: Annotated[
        list[str] | None, typer.Option(help="a bound such as 'F >= -2' or 'color >= -5'; may be repeated")
    ] = None,
    memory: Annotated[str | None, typer.Option(help="of the device for one training step, e.g. 24GB")] = None,
    mergeable: Annotated[bool, typer.Option("--mergeable", help="only what folds into plain weights")] = False,
    model: Annotated[str | None, typer.Option(help="the model to tune; default: the study's")] = None,
    target: Annotated[str | None, typer.Option(help="your own target: a file of examples or a task")] = None,
    source: Annotated[list[str] | None, typer.Option(help="a source to keep; may be repeated")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="the recipe that is written")] = Path("recipe.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Name the recipes that gain most at what loss, under your bounds, and write the one to take.

    Without a recipe that keeps to them nothing is written; the exit code is
    then 1, and the recipe that comes nearest is named.
    """
    from holdfast.results.advice import advise as choose
    from holdfast.results.advice import front_table, read_wish, sources_of
    from holdfast.results.overview import aggregate
    from holdfast.results.points import read_items, read_results
    from holdfast.results.tables import rendered

    limit = None if memory is None else bytes_of(memory)
    results = read_results(study)
    whole = aggregate(results, read_items(results))
    wishes = [read_wish(text, sources_of(whole)) for text in keep or ()]
    allowed = _allowed(whole, limit=limit, mergeable=mergeable, model=model)
    advice = choose(whole, wishes, allowed)
    if as_json:
        _print_json(advice)
    else:
        width = shutil.get_terminal_size().columns
        print("\n".join(textwrap.fill(line, width, break_on_hyphens=False) for line in advice.sentences))
        if advice.front:
            print(f"\n{rendered(front_table(advice), 'text')}", end="")
    if advice.chosen is None:
        raise SystemExit(1)
    config = _config(whole, advice.chosen.standing)
    _write(out, config, advice, study, model=model, target=target, sources=source)
    if not as_json:
        if model is not None and model != config.model:
            print(f"The study tried it on {config.model}; that it does the same on {model} is not known.")
        print(f"Wrote {out}. Next: holdfast tune {out} --out runs/{out.stem}")


def bytes_of(text: str) -> float:
    """``24GB`` as bytes.

    Raises:
        HoldfastError: It is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?b)\s*", text.lower())
    if found is None:
        raise HoldfastError(f"'--memory {text}' is no size", remedy="write --memory 24GB")
    return float(found[1]) * _UNITS[found[2]]


def _config(whole: Aggregate, standing: Standing) -> RunConfig:
    """The configuration of a recipe's first finished point."""
    from holdfast.config.loading import load_config

    return load_config(whole.runs[tuple(standing.recipe.values())][0].folder / "config.yaml")


def _allowed(
    whole: Aggregate, *, limit: float | None, mergeable: bool, model: str | None
) -> Callable[[Standing], str | None]:
    """Why a recipe cannot be taken: it stays beside the weights, or its step needs more memory."""

    def reason(standing: Standing) -> str | None:
        if limit is None and not mergeable:
            return None
        from holdfast.methods.registry import METHODS

        config = _config(whole, standing)
        if model is not None:
            config = config.model_copy(update={"model": model})
        parts = (config.tune.vision, config.tune.connector, config.tune.llm)
        every = [one.method for part in parts for one in part.all]
        beside = [method for method in every if not METHODS.find(method).card.mergeable]
        if mergeable and beside:
            return f"{' and '.join(beside)} cannot be merged"
        if limit is not None:
            from holdfast.cli.terminal import size
            from holdfast.planning.plan import make_plan

            try:
                peak = make_plan(config).memory.peak
            except HoldfastError as error:  # of the layers of another model, say
                return f"it cannot be planned: {error.problem}"
            if peak > limit:
                return f"a step needs about {size(peak)}"
        return None

    return reason


def _write(
    out: Path,
    config: RunConfig,
    advice: Advice,
    study: Path,
    *,
    model: str | None,
    target: str | None,
    sources: list[str] | None,
) -> None:
    from holdfast.config.loading import dump_recipe, load_config
    from holdfast.files import write_text

    raw = config.model_dump() | {"name": None}
    if model is not None:
        raw["model"] = model
    if target is not None:
        raw["target"] = _task(target)
    if sources:
        raw["sources"] = [_task(source) for source in sources]
    asked = " and ".join(map(str, advice.wishes)) or "no bound"
    told = "".join(f"# {line}\n" for line in advice.sentences)
    write_text(out, f"# Chosen by holdfast advise from {study} with {asked}.\n{told}{dump_recipe(load_config(raw))}")


def _task(name: str) -> str:
    """A file by its whole path, so that the recipe may stand anywhere; a task by its name.

    Raises:
        HoldfastError: It looks like a file and is none.
    """
    file = Path(name)
    if file.exists():
        return str(file.resolve())
    if file.suffix or "/" in name:
        raise HoldfastError("the file does not exist", file=file, remedy="check the path")
    return name


def _print_json(advice: Advice) -> None:
    import json

    def effect(value: object) -> object:
        from holdfast.results.variance import Effect

        return {"value": value.value, "interval": value.interval()} if isinstance(value, Effect) else None

    rows = [
        {
            "recipe": dict(c.standing.recipe),
            "E": effect(c.standing.E),
            "F": effect(c.standing.F),
            "front": c in advice.front,
            "chosen": c is advice.chosen,
            "missed": [str(wish) for wish in c.missed],
            "not_shown": [str(wish) for wish in c.unshown],
            "refused": c.refused,
        }
        for c in advice.candidates
    ]
    print(json.dumps({"sentences": list(advice.sentences), "candidates": rows}, indent=1, ensure_ascii=False))
