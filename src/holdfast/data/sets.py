"""Data sets of Hugging Face: on the Hub, saved to disk, as parquet and as arrow files; read through ``datasets``.

Rows stay where they are: the tables are memory-mapped, texts are read once, and a picture is a place in a table
(:class:`Cell`) whose bytes are looked up when it is opened. Columns are the fields of the forms of :mod:`.forms`, under
their own names or those of ``columns``; a class label becomes the name of its class.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.data.contents import Advance
from holdfast.data.readers import ExamplesRead, collect
from holdfast.data.stored import StoredImage
from holdfast.errors import HoldfastError, nearest
from holdfast.files.places import path_of
from holdfast.values import JSON

HUB = "hub:"
"""What a name begins with that is to be looked for on the Hub alone."""
TABLES = {".parquet": "parquet", ".arrow": "arrow"}
SAVED = ("dataset_dict.json", "state.json")
"""What ``save_to_disk`` leaves in its folder: of several splits, of one."""
BATCH = 1000
"""Rows whose texts are read at a time."""

_ON_THE_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHARD = re.compile(r"(?P<split>[A-Za-z_]+)-\d{5}-of-\d{5}")


def is_set(data: str, base: Path) -> bool:
    """Whether a specification's ``data`` means a data set of Hugging Face and not a file of examples."""
    if data.startswith(HUB):
        return True
    place = base / path_of(data)
    if place.is_dir():
        return any((place / name).is_file() for name in SAVED) or any(_shards(place))
    if place.suffix in TABLES:
        return True
    return not place.exists() and _ON_THE_HUB.fullmatch(data) is not None and not re.search(r"\.[a-z]{2,5}$", data)


@dataclass(frozen=True)
class OpenedSet:
    """The splits of a data set, by name; nothing of them is in memory yet."""

    name: str
    splits: Mapping[str, Any]
    root: Path

    def split(self, name: str | None) -> str:
        """The split of that name; without one, the only one there is, else ``train``.

        Raises:
            HoldfastError: There is none of that name, or several and none is ``train``.
        """
        names = ", ".join(self.splits)
        if name is None:
            if len(self.splits) == 1:
                return next(iter(self.splits))
            if "train" in self.splits:
                return "train"
            raise HoldfastError(
                f"the data set has several splits ({names})", file=Path(self.name), remedy="name one with split:"
            )
        if name not in self.splits:
            remedy = nearest(name, tuple(self.splits))
            raise HoldfastError(
                f"the data set has no split '{name}', only {names}", file=Path(self.name), remedy=remedy
            )
        return name

    def read(
        self,
        split: str,
        *,
        columns: Mapping[str, str] | None = None,
        root: Path | None = None,
        open_images: bool = True,
        limit: int | None = None,
        advance: Advance | None = None,
    ) -> ExamplesRead:
        """The examples of one split; see :func:`holdfast.data.readers.read_examples`.

        Raises:
            HoldfastError: A named column is missing, or the split holds no row.
        """
        rows = self.splits[split]
        named = Path(self.name) if len(self.splits) == 1 else Path(self.name) / split
        for field, column in (columns or {}).items():
            if column not in rows.column_names:
                raise HoldfastError(
                    f"there is no column '{column}' for '{field}'",
                    file=named,
                    remedy=f"columns: {', '.join(rows.column_names)[:300]}",
                )
        if limit is not None:
            rows = rows.select(range(min(limit, len(rows))))
        return collect(
            enumerate(_records(rows, {"image", "images", (columns or {}).get("image", "image")}), start=1),
            file=named,
            root=root or self.root,
            item_of=lambda position, _: f"row-{position}",
            has_lines=False,
            open_images=open_images,
            columns=columns,
            advance=advance,
        )


def open_set(data: str, *, base: Path, subset: str | None = None) -> OpenedSet:
    """Open a data set; a Hub id is downloaded as ``datasets`` does, into its own cache.

    Args:
        data: ``ORG/NAME`` or ``hub:ORG/NAME``, a folder of ``save_to_disk``, a ``.parquet`` or ``.arrow`` file or a
            folder of them (``train-00000-of-00002.parquet`` belongs to the split ``train``).
        base: Folder that a relative path starts at.
        subset: The configuration of a data set of the Hub that has several.

    Raises:
        HoldfastError: ``datasets`` is not installed, or the set is not there, private, damaged or of another kind.
    """
    try:
        import datasets
    except ImportError as error:
        raise HoldfastError(
            f"{data} is a data set of Hugging Face, and the package datasets is not installed",
            remedy="pip install 'holdfast[datasets]'",
        ) from error
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)  # what it would print, it also raises
    place = base / path_of(data.removeprefix(HUB))
    local = not data.startswith(HUB) and place.exists()
    if subset is not None and local:
        raise HoldfastError("subset is for data sets of the Hub, and this one is local", file=place, remedy="remove it")
    try:
        if not local:
            opened = datasets.load_dataset(data.removeprefix(HUB), subset)
        elif place.is_dir() and any((place / name).is_file() for name in SAVED):
            opened = datasets.load_from_disk(str(place))
        elif place.suffix == ".arrow":
            opened = datasets.Dataset.from_file(str(place))
        else:
            files = _shards(place) if place.is_dir() else {"train": [place]}
            kind = TABLES[next(iter(files.values()))[0].suffix]
            opened = datasets.load_dataset(kind, data_files={k: [str(f) for f in v] for k, v in files.items()})
    except KeyboardInterrupt:
        raise
    except Exception as error:  # a missing file, a refusal, a network's or a parser's own mistake
        raise _said(data, place, local, error) from error
    splits = dict(opened) if isinstance(opened, dict) else {str(opened.split or "train"): opened}
    root = (place if place.is_dir() else place.parent) if local else base
    return OpenedSet(data.removeprefix(HUB) if not local else str(place), splits, root)


def _shards(folder: Path) -> dict[str, list[Path]]:
    """Parquet or arrow files of a folder, or of ``data`` in it, where repositories of the Hub keep them, by the split
    that their names tell."""
    for place, suffix in ((place, suffix) for place in (folder, folder / "data") for suffix in TABLES):
        found: dict[str, list[Path]] = {}
        for file in sorted(place.glob(f"*{suffix}")):
            shard = _SHARD.fullmatch(file.stem)
            found.setdefault(shard["split"] if shard else "train", []).append(file)
        if found:
            return found
    return {}


def _said(data: str, place: Path, local: bool, error: Exception) -> HoldfastError:
    """What ``datasets`` raised, for a person."""
    why = " ".join(str(error).split())[:300] or type(error).__name__
    if local:
        return HoldfastError(f"the data set cannot be read ({why})", file=place, remedy="save or download it again")
    name = data.removeprefix(HUB)
    here = "" if data.startswith(HUB) else f"there is no file {place}, and "
    kind = type(error).__name__
    if kind in ("DatasetNotFoundError", "RepositoryNotFoundError", "GatedRepoError"):
        remedy = "mend the name, or log in with `hf auth login` if it is private or gated"
        return HoldfastError(f"{here}the Hub has no data set '{name}' that you may read", remedy=remedy)
    if "Config name is missing" in why or "BuilderConfig" in why:
        return HoldfastError(f"the data set '{name}' has several subsets ({why})", remedy="name one with subset:")
    if kind in ("ConnectionError", "OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectError", "MaxRetryError"):
        remedy = "connect, or save it to disk where there is a network and name the folder"
        return HoldfastError(f"{here}the data set '{name}' cannot be fetched: the Hub is not reachable", remedy=remedy)
    return HoldfastError(f"{here}the data set '{name}' cannot be opened ({kind}: {why})", remedy="mend the name")


def _records(rows: Any, images: Set[str]) -> Iterator[JSON]:
    """Row after row, with pictures as places in the table; an empty cell is an absent field, but for ``images``."""
    from datasets import ClassLabel

    labels = {name: feature for name, feature in rows.features.items() if isinstance(feature, ClassLabel)}
    pictured = [name for name, feature in rows.features.items() if _holds_pictures(feature)]
    plain = [name for name in rows.column_names if name not in pictured]
    arrow = rows.with_format("arrow")
    texts = rows.select_columns(plain).with_format(None) if plain else None
    for begin in range(0, len(rows), BATCH):
        end = min(begin + BATCH, len(rows))
        batch = {} if texts is None else texts[begin:end]
        for name, feature in labels.items():
            batch[name] = [None if value in (None, -1) else feature.int2str(value) for value in batch[name]]
        pictures = {name: _cells(arrow, name, begin, end) for name in pictured}
        for at in range(end - begin):
            record = {name: values[at] for name, values in batch.items() if values[at] is not None or name in images}
            yield record | {name: cells[at] for name, cells in pictures.items()}


def _holds_pictures(feature: Any) -> bool:
    """Whether a column holds encoded pictures, one or a list of them."""
    from datasets import Image, LargeList, List, Value

    if isinstance(feature, List | LargeList):
        return _holds_pictures(feature.feature)
    if isinstance(feature, dict):
        return "bytes" in feature
    return isinstance(feature, Image) or (isinstance(feature, Value) and feature.dtype in ("binary", "large_binary"))


def _cells(arrow: Any, column: str, begin: int, end: int) -> list[Any]:
    """What stands for the pictures of some rows: cells, paths where a table names files, or nothing."""
    import pyarrow

    values = arrow.select_columns([column])[begin:end].column(column).combine_chunks()

    def told(array: Any) -> list[Any]:
        """For every entry: ``True`` where bytes are there, the path where only that is, ``None`` where nothing is."""
        if pyarrow.types.is_struct(array.type):
            filled = array.field("bytes").is_valid().to_pylist()
            names = [field.name for field in array.type]
            paths = array.field("path").to_pylist() if "path" in names else [None] * len(array)
            there = array.is_valid().to_pylist()
            return [
                (True if full else path) if valid else None
                for valid, full, path in zip(there, filled, paths, strict=True)
            ]
        return [True if valid else None for valid in array.is_valid().to_pylist()]

    if not pyarrow.types.is_list(values.type) and not pyarrow.types.is_large_list(values.type):
        return [Cell(arrow, begin + at, column) if there is True else there for at, there in enumerate(told(values))]
    found: list[Any] = []
    for at in range(len(values)):
        if not values[at].is_valid:
            found.append(None)
            continue
        inside = told(values[at].values)
        found.append([Cell(arrow, begin + at, column, n) if t is True else t for n, t in enumerate(inside)])
    return found


class Cell(StoredImage):
    """A picture in a memory-mapped table; its bytes are read when they are asked for."""

    __slots__ = ("_column", "_digest", "_place", "_row", "_table")

    def __init__(self, table: Any, row: int, column: str, place: int | None = None) -> None:
        self._table, self._row, self._column, self._place = table, row, column, place
        self._digest: str | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """Where it stands, for messages."""
        return f"{self._column} of row {self._row + 1}" + ("" if self._place is None else f", {self._place + 1}")

    @property
    def key(self) -> str:
        if self._digest is None:
            self._digest = self.digest()
        return self._digest

    def tobytes(self) -> bytes:
        value: Any = self._table[self._row : self._row + 1].column(self._column)[0]
        if self._place is not None:
            value = value.values[self._place]
        found = value.as_py()
        content = found["bytes"] if isinstance(found, Mapping) else found
        return bytes(content)
