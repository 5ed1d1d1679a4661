"""Tasks from folders that ``holdfast data prepare`` wrote, asked and scored as their card says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from holdfast.config.schema import AS_IT_IS, TaskSpec
from holdfast.data.checking import Picture, check_pictures, pictures_of, problem_of
from holdfast.data.contents import Advance
from holdfast.data.examples import Example
from holdfast.data.readers import read_examples
from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.files.places import path_of
from holdfast.tasks.cards import PARTS, TaskCard, card_names, find_card, read_card
from holdfast.tasks.preparing.write import CARD, RECORD
from holdfast.tasks.prompts import ask
from holdfast.tasks.task import Task, split_by_image, subsample


@dataclass(frozen=True)
class Place:
    """A prepared folder, the card that rules, and the folder of the images."""

    folder: Path
    card: TaskCard
    images: Path


def find_prepared(spec: TaskSpec, base: Path) -> Place | None:
    """The prepared folder a specification means; ``None`` if it means something else.

    ``data`` is the folder itself, whose own ``card.yaml`` rules (``root`` then replaces the folder of the images); or
    the name of a card, and ``root`` the folder prepared for it or for another variant of it.

    Raises:
        HoldfastError: A card without a folder, a folder that was prepared for other files, or images that have moved.
    """
    place = base / path_of(spec.data)
    if (place / CARD).is_file():
        images = None if spec.root is None else base / path_of(spec.root)
        return Place(place, read_card(place / CARD), images or _images(place))
    if spec.data not in card_names() or place.is_file():
        if place.is_dir():
            raise HoldfastError(
                f"a folder stands where a data file is expected, and it holds no {CARD}",
                file=place,
                remedy="name a file of examples, or make the folder with holdfast data prepare",
            )
        return None
    card = find_card(spec.data)
    if spec.root is None:
        raise HoldfastError(
            f"the task card '{card.name}' needs its examples",
            remedy=f"run holdfast data prepare {card.name} --from DOWNLOAD --out FOLDER, and name FOLDER instead",
        )
    folder = base / path_of(spec.root)
    if not (folder / CARD).is_file():
        raise HoldfastError(f"the folder {folder} holds no {CARD}", remedy="make it with holdfast data prepare")
    own = read_card(folder / CARD)
    if not card.shares_files_with(own):
        raise HoldfastError(
            f"{folder} was prepared for '{own.name}', which does not serve '{card.name}'",
            remedy=f"run holdfast data prepare {card.name}",
        )
    return Place(folder, card, _images(folder))


def load_prepared(
    place: Place,
    spec: TaskSpec,
    *,
    base: Path,
    seed: int,
    skip_bad: bool,
    test_limit: int | None,
    advance: Advance | None = None,
) -> tuple[Task, tuple[HoldfastError, ...]]:
    """The task, its questions written into the card's prompt unless the specification has one of its own.

    Limits are applied before images are opened, so that a few of a million items do not wait for all; the one for
    training holds for validation too. Where the card knows no validation split, a share of the training images
    becomes it.

    Raises:
        HoldfastError: An item or image is bad and bad ones are not to be skipped.
    """
    limits = {"train": spec.limit, "validation": spec.limit, "test": spec.test_limit or test_limit}
    parts: dict[str, tuple[Example, ...]] = {}
    files: dict[str, Path] = {}
    skipped: list[HoldfastError] = []
    for part in PARTS:
        setting = getattr(spec, part, None)
        files[part] = base / path_of(setting) if isinstance(setting, str) else place.folder / f"{part}.jsonl"
        if isinstance(setting, str) or files[part].is_file():
            reading = read_examples(files[part], root=place.images, open_images=False)
            if reading.problems and not skip_bad:
                raise reading.problems[0]
            skipped += reading.problems
            parts[part] = reading.examples
        else:
            parts[part] = ()
    if not parts["validation"] and isinstance(spec.validation, float) and parts["train"]:
        parts["train"], parts["validation"], _ = split_by_image(parts["train"], spec.validation, 0.0)
    drawn = {part: subsample(parts[part], limits[part], seed) for part in PARTS}
    wrong = check_pictures(pictures_of(chain.from_iterable(drawn.values())), advance=advance)
    for part in PARTS:
        chosen = _openable(drawn[part], wrong, skip_bad, skipped, files[part])
        parts[part] = tuple(ask(e, place.card.prompt) for e in chosen) if spec.prompt == AS_IT_IS else chosen
    own_metric = spec.metric in (None, place.card.metric)
    task = Task(
        spec.name or place.card.name,
        parts["train"],
        parts["validation"],
        parts["test"],
        metric=place.card.metric if own_metric else str(spec.metric),
        variant=place.card.variant if own_metric else None,
        max_new_tokens=place.card.max_new_tokens,
    )
    return task, tuple(skipped)


def _openable(
    examples: Sequence[Example],
    wrong: Mapping[Picture, HoldfastError],
    skip_bad: bool,
    skipped: list[HoldfastError],
    file: Path,
) -> tuple[Example, ...]:
    if not wrong:
        return tuple(examples)
    good: list[Example] = []
    for example in examples:
        problem = problem_of(example, wrong)
        if problem is None:
            good.append(example)
            continue
        told = HoldfastError(problem.problem, file=file, item=example.id, remedy=problem.remedy)
        if not skip_bad:
            raise told
        skipped.append(told)
    return tuple(good)


def _images(folder: Path) -> Path:
    try:
        images = folder / str(read_json(folder / RECORD)["images"])
    except (HoldfastError, KeyError, TypeError) as error:
        raise HoldfastError(f"the folder holds no readable {RECORD}", file=folder, remedy="prepare it again") from error
    if not images.is_dir():
        raise HoldfastError(
            f"the images of {folder} are no longer at {images}",
            remedy=f"name the prepared folder as data and the images as root, or mend 'images' in {RECORD}",
        )
    return images
