"""Small pictures for the page: found by image key, capped in number and bytes, forgotten items first."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

SIDE = 224
SHARP_UP_TO = 64
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
MOST_PIXELS = 80_000_000


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
        if key is None:
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
    """Finds the file of an image key: a path as it stands or below a root, or a name in a root, its suffix optional.

    Folders are listed once, for a task of 100,000 items would otherwise cost millions of look-ups.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = tuple(dict.fromkeys(roots))
        self._names: dict[str, str] | None = None

    def find(self, key: str) -> str | None:
        """The path of a key's picture, or ``None``."""
        first = key.split("|", 1)[0]  # several images are joined by a bar; the first one is shown
        if not first or "\0" in first or len(first) > 1_000:
            return None
        if "/" not in first and "\\" not in first:
            return self._listed().get(first)
        for root in ("", *map(str, self.roots)):
            path = os.path.join(root, first)  # noqa: PTH118 - a Path costs ten times as much, once an item
            if os.path.isfile(path):  # noqa: PTH113
                return path
        return None

    def _listed(self) -> dict[str, str]:
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
                        self._names.setdefault(entry.name, entry.path)
                        self._names.setdefault(stem, entry.path)
        return self._names


def thumbnail(path: str | Path, side: int = SIDE) -> str | None:
    """A picture as a small data URI; ``None`` when the file is no picture that can be read."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    return None
                image.draft("RGB", (side, side))
                small: Image.Image = ImageOps.exif_transpose(image)
                if small.mode in ("P", "LA", "PA", "RGBA"):
                    small = Image.alpha_composite(
                        Image.new("RGBA", small.size, (255, 255, 255, 255)), small.convert("RGBA")
                    )
                small = small.convert("RGB")
    except Exception:  # a picture that cannot be shown must not cost the report
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
