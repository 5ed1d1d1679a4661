"""Drafts to a prepared folder: ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``, ``card.yaml``, ``prepared.json``.

Images stay where they are: the example files name them below the source folder, and ``prepared.json`` says where that
is as seen from the prepared folder. Images inside official tables are written to ``images/``; on request all others are
copied there too (hard links where the file system has them), which makes the folder whole by itself.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from holdfast.data.images import resolve_inside
from holdfast.errors import HoldfastError
from holdfast.files import folder_beside, write_json, write_lines, write_text
from holdfast.tasks.cards import PARTS, TaskCard, card_text, download_of
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source

JSON_VALUES = (dict, list, str, int, float, type(None))
"""What official files hold: a reader that trips over one of these met another layout, and otherwise is at fault."""

RECORD = "prepared.json"
CARD = "card.yaml"
Reader = Callable[[Source, str], Iterator[Draft]]


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Attributes:
        folder: Where.
        counts: Items of each part.
        images: Different images of all parts.
        left_out: Items without an answer or (on request) without their image.
    """

    folder: Path
    counts: dict[str, int]
    images: int
    left_out: int


def prepare(
    card: TaskCard,
    root: Path,
    out: Path,
    *,
    limit: int | None = None,
    seed: int = 0,
    copy_images: bool = False,
    skip_missing: bool = False,
) -> Prepared:
    """Turn an official download into a prepared folder.

    Args:
        card: A shipped card.
        root: The download; nothing outside it is read.
        out: The folder to make; it is written beside its name and renamed.
        limit: At most so many items a part, drawn with ``seed``; items scored together stay together.
        seed: Of the draw.
        copy_images: Put the images into the folder instead of naming the source.
        skip_missing: Leave out items whose image is absent instead of refusing.

    Raises:
        HoldfastError: ``out`` exists, a file or image is missing, or an official file is damaged.
    """
    if out.exists() or out.is_symlink():
        raise HoldfastError(f"{out} exists already", remedy="choose another --out, or remove it")
    source = Source(root, card)
    parts: dict[str, list[Draft]] = {}
    left_out = 0
    for part in PARTS:
        splits: Sequence[str] = getattr(card.splits, part)
        if not splits:
            continue
        found = _checked(source, splits)
        answered = [draft for draft in found if any(answer.strip() for answer in draft.answers)]
        kept, absent = _with_images(source, _drawn(answered, limit, seed), skip_missing)
        left_out += len(found) - len(answered) + absent
        if not kept:
            raise HoldfastError(f"no item is left for {part} ({', '.join(splits)})", file=root)
        parts[part] = kept
    with folder_beside(out) as partial:
        result = _write(source, parts, partial, out, copy_images, {"limit": limit, "seed": seed})
    return replace(result, left_out=left_out)


def _checked(source: Source, splits: Sequence[str]) -> list[Draft]:
    """All items of some official splits, their ids unique."""
    read: Reader = download_of(source.card)
    found: dict[str, Draft] = {}
    for split in splits:
        try:
            for draft in read(source, split):
                if draft.id in found:
                    raise HoldfastError(f"the id comes twice in {split}", file=source.root, item=draft.id)
                if not draft.question.strip():
                    raise HoldfastError(f"the question is empty in {split}", file=source.root, item=draft.id)
                found[draft.id] = draft
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, AttributeError) and not isinstance(error.obj, JSON_VALUES):
                raise  # a fault of ours, not of the file
            raise HoldfastError(
                f"a file of the split {split} is not in the layout of {source.card.name} ({error})",
                file=source.root,
                remedy=source.expected,
            ) from error
    return list(found.values())


def _drawn(drafts: list[Draft], limit: int | None, seed: int) -> list[Draft]:
    """At most ``limit`` items in their order; a group is taken whole or not at all."""
    if limit is None or limit >= len(drafts):
        return drafts
    groups: dict[str, list[int]] = {}
    for place, draft in enumerate(drafts):
        groups.setdefault(draft.group or f"item {draft.id}", []).append(place)
    names = list(groups)
    chosen: list[int] = []
    for index in np.random.default_rng((seed, 13)).permutation(len(names)):
        members = groups[names[int(index)]]
        if len(chosen) + len(members) <= limit:
            chosen += members
        if len(chosen) == limit:
            break
    return [drafts[place] for place in sorted(chosen)]


def _with_images(source: Source, drafts: list[Draft], skip_missing: bool) -> tuple[list[Draft], int]:
    """The items whose image is there, and the number of those whose image is not."""
    known: dict[str, HoldfastError | None] = {}
    kept: list[Draft] = []
    for draft in drafts:
        if draft.image is not None and draft.picture is None and draft.image not in known:
            known[draft.image] = None
            try:
                resolve_inside(source.root, draft.image)
            except HoldfastError as error:
                known[draft.image] = error
        if draft.image is None or known.get(draft.image) is None:
            kept.append(draft)
    absent = {name: error for name, error in known.items() if error is not None}
    if absent and not skip_missing:
        first = next(draft for draft in drafts if draft.image in absent)
        problem = absent[str(first.image)]
        if problem.kind != "missing":
            raise HoldfastError(problem.problem, file=source.root, item=first.id, remedy=problem.remedy)
        what = f"image '{first.image}' ({len(absent)} of {len(known)} images)"
        raise source.missing(what, item=first.id)
    return kept, len(drafts) - len(kept)


def _write(
    source: Source, parts: dict[str, list[Draft]], folder: Path, out: Path, copy: bool, drawn: dict[str, int | None]
) -> Prepared:
    inside = copy or any(draft.picture is not None for drafts in parts.values() for draft in drafts)
    written: set[str] = set()
    for part, drafts in parts.items():
        for draft in drafts:
            if draft.image is not None and draft.image not in written:
                written.add(draft.image)
                if inside:
                    _place(source, draft, folder / "images")
        write_lines(folder / f"{part}.jsonl", (draft.to_json() for draft in drafts))
    counts = {part: len(drafts) for part, drafts in parts.items()}
    images = "images" if inside else os.path.relpath(source.root, out.resolve().parent / out.name)
    record = {
        "task": source.card.name,
        "version": source.card.version,
        "images": Path(images).as_posix(),
        "counts": counts,
        "splits": source.card.splits.model_dump(mode="json"),
        **drawn,
    }
    write_json(folder / RECORD, record)
    write_text(folder / CARD, card_text(source.card.name))
    return Prepared(out, counts, len(written), 0)


def _place(source: Source, draft: Draft, images: Path) -> None:
    """Put one image below ``images`` under the name it has in the example."""
    assert draft.image is not None
    target = images / draft.image
    target.parent.mkdir(parents=True, exist_ok=True)
    if draft.picture is not None:
        for name, picture in ((draft.image, draft.picture), *draft.more):
            (images / name).write_bytes(picture)
        return
    found = resolve_inside(source.root, draft.image)
    try:
        os.link(found, target)
    except OSError:
        shutil.copyfile(found, target)
