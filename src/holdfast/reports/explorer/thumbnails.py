"""Small pictures for the page: found by image key, capped in number and bytes, forgotten items first."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

from holdfast.errors import HoldfastError

SIDE = 224
SHARP_UP_TO = 64
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")


class Thumbnails:
    """Collects data URIs until a cap is reached.

    Args:
        roots: Folders in which keys are looked up.
        most: Pictures at most.
        most_bytes: Characters of data URIs at most.
    """

    def __init__(self, roots: Iterable[Path], *, most: int = 1_500, most_bytes: int = 14_000_000) -> None:
        self.finder = ImageFinder(roots)
        self.most = most
        self.room = most_bytes
        self.pictures: list[str] = []
        self.capped = False
        self._by_key: dict[str, int] = {}
        self._by_content: dict[str, int] = {}

    def index_of(self, key: str | None) -> int:
        """The position of a key's picture in :attr:`pictures`, or -1 when there is none to show."""
        if not key:
            return -1
        known = self._by_key.get(key)
        if known is None:
            known = self._by_key[key] = self._add(key)
        return known

    def _add(self, key: str) -> int:
        path = self.finder.find(key)
        if path is None:
            return -1
        if len(self.pictures) >= self.most or self.room <= 0:
            self.capped = True
            return -1
        uri = thumbnail(path)
        if uri is None:
            return -1
        digest = hashlib.sha256(uri.encode("ascii")).hexdigest()
        if digest not in self._by_content:
            self._by_content[digest] = len(self.pictures)
            self.pictures.append(uri)
            self.room -= len(uri)
        return self._by_content[digest]


class ImageFinder:
    """Finds the file of an image key below a root: a path, or a name in a root, its suffix optional.

    Keys come from prediction files, which strangers write: what leaves every root, by an absolute path, by ``..`` or by
    a link, is not looked at (:func:`holdfast.data.images.resolve_inside` decides). Folders are listed once, for a task
    of 100,000 items would otherwise cost millions of look-ups.

    Attributes:
        refused: How many keys name a file that stands outside every root.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = tuple(dict.fromkeys(roots))
        self.refused = 0
        self._names: dict[str, tuple[Path, str]] | None = None

    def find(self, key: str) -> Path | None:
        """The path of a key's picture, or ``None``."""
        first = key.split("|", 1)[0]  # several images are joined by a bar; the first one is shown
        if not first or "\0" in first or len(first) > 1_000:
            return None
        if "/" not in first and "\\" not in first:
            named = self._listed().get(first)
            return self._first_inside([named] if named else [])
        # A Path costs ten times as much as a text, once an item.
        there = [root for root in self.roots if os.path.isfile(os.path.join(root, first))]  # noqa: PTH113, PTH118
        return self._first_inside([(root, first) for root in there])

    def _first_inside(self, candidates: list[tuple[Path, str]]) -> Path | None:
        from holdfast.data.images import resolve_inside

        for root, name in candidates:
            try:
                return resolve_inside(root, name)
            except HoldfastError:
                continue
        self.refused += bool(candidates)
        return None

    def _listed(self) -> dict[str, tuple[Path, str]]:
        if self._names is None:
            self._names = {}
            for root in self.roots:
                try:
                    entries = sorted(os.scandir(root), key=lambda entry: entry.name)
                except OSError:
                    continue
                for entry in entries:
                    stem, suffix = os.path.splitext(entry.name)  # noqa: PTH122
                    if suffix.lower() in SUFFIXES:
                        self._names.setdefault(entry.name, (root, entry.name))
                        self._names.setdefault(stem, (root, entry.name))
        return self._names


def thumbnail(path: Path, side: int = SIDE) -> str | None:
    """A picture as a small data URI; ``None`` when it is none that :func:`holdfast.data.images.open_image` opens."""
    from holdfast.data.images import open_image

    try:
        small = open_image(path, at_least=side)
    except HoldfastError:  # a picture that cannot be shown must not cost the report
        return None
    sharp = max(small.size) <= SHARP_UP_TO
    if not sharp:
        small.thumbnail((side, side))
    buffer = io.BytesIO()
    if sharp:
        small.save(buffer, "PNG", optimize=True)
    else:
        small.save(buffer, "JPEG", quality=72, optimize=True)
    kind = "png" if sharp else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
