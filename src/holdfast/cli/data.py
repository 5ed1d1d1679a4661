"""``holdfast data``: look at examples before they are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.data.examples import Example

app = typer.Typer(no_args_is_help=True, help="Check your examples; turn official downloads into examples.")


@app.callback()
def data() -> None:
    """Check your examples; turn official downloads into examples."""


@app.command()
def check(
    file: Annotated[
        str,
        typer.Argument(
            help="JSON Lines, JSON, CSV, TSV or xlsx, in any form of the docs, or a data set of Hugging Face: "
            "ORG/NAME, a folder of save_to_disk, parquet, arrow"
        ),
    ],
    root: Annotated[Path | None, typer.Option(help="folder of the images; default: the file's own")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=COLUMN, where the file has other names; may be given again")
    ] = None,
    split: Annotated[str | None, typer.Option(help="of a data set; default: train, or the only one")] = None,
    subset: Annotated[str | None, typer.Option(help="of a data set of the Hub")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="also try pictures on this model's processor and texts on its chat template"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List every problem of a data file at once; exit code 2 if there is any."""
    import json

    from holdfast.data.readers import read_examples
    from holdfast.data.sets import is_set, open_set
    from holdfast.errors import HoldfastError
    from holdfast.files.places import path_of

    columns = dict(pair.split("=", 1) for pair in column or () if "=" in pair)
    if len(columns) < len(column or ()):
        raise HoldfastError("--column takes FIELD=COLUMN", remedy="for instance --column question=prompt")
    named = path_of(file)
    if is_set(file, Path()):
        opened = open_set(file, base=Path(), subset=subset)
        reading = opened.read(opened.split(split), columns=columns, root=root)
    elif split is not None or subset is not None:
        raise HoldfastError("--split and --subset are for data sets of Hugging Face, and this is none", file=named)
    else:
        reading = read_examples(named, root=root, columns=columns)
    good, problems = len(reading.examples), list(reading.problems)
    if model is not None:
        from holdfast.models.loading import load_chat
        from holdfast.runs.pictures import Refusals

        refused = Refusals(load_chat(model)).whole(reading.examples)
        good -= len(refused)
        problems += [HoldfastError(p.problem, file=named, item=p.item, remedy=p.remedy) for p in refused]
    forms = ", ".join(f"{count} {name}" for name, count in reading.forms.items())
    if as_json:
        rows = [{"line": p.line, "item": p.item, "problem": p.problem, "remedy": p.remedy} for p in problems]
        print(json.dumps({"good": good, "forms": reading.forms, "problems": rows}, indent=1))
    else:
        for problem in problems:
            print(problem)
        images = len({example.image_key for example in reading.examples})
        recognised = f" Recognised: {forms}." if forms else ""
        print(f"{good} good examples on {images} images, {len(problems)} problems in {file}.{recognised}")
        if told := _reasoning(reading.examples):
            print(told)
        if not problems and not is_set(file, Path()) and (told := _test_part(reading.examples, root or named.parent)):
            print(told)
    if problems:
        raise SystemExit(2)


def _reasoning(examples: Sequence[Example]) -> str:
    """What becomes of answers that begin with their own reasoning, where there are some."""
    from holdfast.data.reasoning import without_reasoning

    kept = [example.thoughts for example in without_reasoning(examples, keep=True) if example.thoughts]
    if not kept:
        return ""
    return (
        f"{len(kept)} of {len(examples)} answers begin with their own reasoning, {max(map(len, kept)):,} characters at "
        "most: it is trained on, the model is asked to think, and what is judged is the answer behind it. Let "
        "max_new_tokens leave room for it, or set reasoning: drop, which leaves it out."
    )


LEAST = 6
"""Test pictures with which a change can be clear at 0.05: ``2 / 2**6`` is below it, ``2 / 2**5`` is not."""


def _test_part(examples: Sequence[Example], root: Path) -> str:
    """What to know of a file that a recipe would divide into a test part too small to show anything."""
    from holdfast.config.schema import TaskSpec
    from holdfast.tasks.task import split_by_image

    shares = TaskSpec.model_fields
    parts = split_by_image(examples, shares["validation"].default, shares["test"].default, root=root)
    train, validation, test = (len({example.image_key for example in part}) for part in parts)
    if test >= LEAST:
        return ""
    return (
        f"A target is divided 80/10/10 by image, here into {train}, {validation} and {test}, and a test on fewer than "
        f"{LEAST} images can show no change: write target: {{data: FILE, test: 0.4}}, or test: ANOTHER_FILE."
    )


@app.command()
def prepare(
    task: Annotated[str, typer.Argument(help="a task card; holdfast data tasks lists them")],
    source: Annotated[Path, typer.Option("--from", help="folder of the official download")],
    out: Annotated[Path, typer.Option(help="folder to make")],
    limit: Annotated[int | None, typer.Option(help="at most so many items a part", min=1)] = None,
    seed: Annotated[int, typer.Option(help="of the draw that --limit makes", min=0)] = 0,
    copy_images: Annotated[bool, typer.Option("--copy-images", help="put the images into the folder")] = False,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="leave out items without their image")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Turn an official download into examples with the card's splits, prompt and metric."""
    import json

    from holdfast.tasks.cards import find_card
    from holdfast.tasks.preparing.write import prepare as write

    card = find_card(task)
    made = write(card, source, out, limit=limit, seed=seed, copy_images=copy_images, skip_missing=skip_missing)
    if as_json:
        facts = {"task": card.name, "folder": str(out), "counts": made.counts}
        print(json.dumps(facts | {"images": made.images, "left_out": made.left_out}, indent=1))
        return
    counts = ", ".join(f"{count:,} {part}" for part, count in made.counts.items())
    print(f"{card.title}: {counts} items on {made.images:,} images.")
    if made.left_out:
        print(f"Left out for want of an answer or an image: {made.left_out:,}.")
    print(f"Name it in a recipe as: target: {out}")


@app.command()
def tasks(
    name: Annotated[str | None, typer.Argument(help="show this card alone")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="print the tables of docs/tasks.md")] = False,
) -> None:
    """List the task cards: metric, role in the two studies, published scores."""
    import json

    from holdfast.tasks.cards import all_cards, card_text, find_card
    from holdfast.tasks.page import markdown as page

    cards = [find_card(name)] if name else list(all_cards())
    if as_json:
        print(json.dumps([card.model_dump(mode="json") for card in cards], indent=1, ensure_ascii=False))
    elif markdown:
        print(page(), end="")
    elif name:
        print(card_text(name), end="")
    else:
        print(f"{'task':<19} {'metric':<22} {'2406.05130':<11} {'2503.04543':<11} published")
        for card in cards:
            roles = card.roles
            metric = card.metric if len(f"{card.metric}:{card.variant}") > 22 else f"{card.metric}:{card.variant}"
            score = f"{card.scores[0].score:g} {card.scores[0].model}" if card.scores else "-"
            print(f"{card.name:<19} {metric:<22} {roles.peft_mllm.role:<11} {roles.keeping_yourself.role:<11} {score}")
        print("The numbers are two papers on arXiv, and below them stands whether the paper tunes")
        print("for a task (target) or watches what becomes of it (source). holdfast data tasks")
        print("NAME shows a card, holdfast data prepare NAME makes examples of the download.")
