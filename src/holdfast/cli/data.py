"""``holdfast data``: look at examples before they are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Check your examples.")


@app.callback()
def data() -> None:
    """Check your examples."""


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="JSONL, or LLaVA JSON")],
    root: Annotated[Path | None, typer.Option(help="folder of the images; default: the file's own")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List every problem of a data file at once; exit code 2 if there is any."""
    import json

    from holdfast.data.readers import read_examples

    reading = read_examples(file, root=root)
    good, problems = len(reading.examples), reading.problems
    if as_json:
        rows = [{"line": p.line, "item": p.item, "problem": p.problem, "remedy": p.remedy} for p in problems]
        print(json.dumps({"good": good, "problems": rows}, indent=1))
    else:
        for problem in problems:
            print(problem)
        images = len({example.image_key for example in reading.examples})
        print(f"{good} good examples on {images} images, {len(problems)} problems in {file}.")
    if problems:
        raise SystemExit(2)
