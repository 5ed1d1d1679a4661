"""Records that lie inside one JSON object: under one name beside others (``{"data": [...]}``), or by their ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from holdfast.data.forms import CONVERSATION, FORMS
from holdfast.errors import HoldfastError

_FIELDS = frozenset(
    ("question", "answer", "answers", *(name for form in (*FORMS, CONVERSATION) for name in form.needs))
)
"""What makes an object a record itself."""
_LISTS = {"annotation": {"root"}, "file_name": {"formatting", "columns", "tags"}}
"""Field that names a file of items -> what stands beside it, in InternVL's and LLaMA-Factory's lists of data sets."""

Entry = tuple[int, Mapping[str, Any] | HoldfastError]


def unfolded(entries: Iterable[Entry], file: Path) -> Iterator[Entry]:
    """The entries of a file, or the records inside the one object that fills it.

    Args:
        entries: Line and record, or line and what is wrong with it.
        file: For messages.

    Raises:
        HoldfastError: The object holds several lists, or data sets and no records.
    """
    rest = iter(entries)
    few = list(islice(rest, 2))
    whole = few[0][1] if len(few) == 1 else None
    if not isinstance(whole, Mapping) or not whole or not _FIELDS.isdisjoint(whole):
        return chain(few, rest)
    lists = {name: value for name, value in whole.items() if _are_objects(value)}
    if len(lists) == 1:
        return iter([(1, record) for record in next(iter(lists.values()))])
    if lists:
        raise HoldfastError(
            f"the file is one JSON object with several lists: {', '.join(map(str, lists))}",
            file=file,
            remedy="write one list of items with image, question and answer (holdfast data prepare does so for the "
            "benchmarks of holdfast data tasks)",
        )
    if not all(isinstance(value, Mapping) for value in whole.values()):
        return iter(few)
    first = next(iter(whole.values()))
    named = next((name for name, beside in _LISTS.items() if name in first and beside & first.keys()), None)
    if named is not None:
        raise HoldfastError(
            f"the file lists data sets and no items (fields {', '.join(list(map(str, first))[:6])})",
            file=file,
            remedy=f"name the file of items, such as {first[named]}, and the folder of its images as root",
        )
    return iter([(1, {"id": str(key), **value}) for key, value in whole.items()])


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)
