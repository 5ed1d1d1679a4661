"""Small damage of the kind that files meet, drawn from a seed: bytes, values of a document, members of an archive."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import yaml

TOKENS = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"'", b"\\", b"\\ud800", b"\n", b"\r", b"\r\n", b"\t", b",", b"{"),
    *(b"[", b"]", b":", b"- ", b"&a ", b"*a", b"!!python/name:os.system ", b"null", b"NaN", b"-Infinity", b"1e999"),
    *(b"9" * 5000, b"[" * 3000, b'{"a":' * 2000, b" " * 2000, b"<image>", b"{{", b"{% for", b"\xf0\x9f\x98\x80"),
    *(b"../", b"~nobody/", b"https://example.org/1.png", b"data:image/png,", b"\x1f\x8b", b"PK\x03", b"\x1b[31m"),
)  # fmt: skip
"""What is put into bytes."""

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf")),
    *("", " ", "\x00", "\ud800", "é" * 3, "x" * 20_000, "None", "nan", "1e999", "yes", "A", "[1, 2", "['a', 'b']"),
    *("../../etc/passwd", "/", ".", "~nobody/x", "https://example.org/1.png", "data:image/png;base64,AAAA", "0.png"),
    *("<image>" * 3, "{question}{0}{x}", "{% raise %}", [], {}, [[]], {"": ""}, [None], [1, "a", None], {"a": {}}),
)  # fmt: skip
"""What is put in the place of a value."""


def damaged(name: str, content: bytes, dice: random.Random) -> bytes:
    """``content`` of a file called ``name`` with one to three things wrong; by its kind or, one in three, blindly."""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        inner = name.removesuffix(".gz")
        kind = next((known for ending, known in _KINDS.items() if inner.endswith(ending)), None)
        if kind is None or dice.random() < 0.33:
            content = _bytes(content, dice)
        elif name.endswith(".gz"):
            content = _unpacked(content, kind, dice)
        else:
            content = kind(content, dice)
    return content


def _bytes(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content) + 1)
    end = min(len(content), at + dice.choice((1, 1, 2, 8, 64, 1024)))
    match dice.randrange(6):
        case 0:
            return content[:at] + bytes([dice.randrange(256)]) + content[at + 1 :]
        case 1:
            return content[:at] + content[end:]
        case 2:
            return content[:end] + content[at:]
        case 3:
            return content[:at]
        case _:
            return content[:at] + dice.choice(TOKENS) + content[at if dice.random() < 0.5 else end :]


def _unpacked(content: bytes, kind: Callable[[bytes, random.Random], bytes], dice: random.Random) -> bytes:
    try:
        return gzip.compress(kind(gzip.decompress(content), dice), mtime=0)
    except (OSError, EOFError, zlib.error):
        return _bytes(content, dice)


def _json(content: bytes, dice: random.Random) -> bytes:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return _bytes(content, dice)
    return _written(value_changed(value, dice), content, dice)


def _lines(content: bytes, dice: random.Random) -> bytes:
    lines = content.split(b"\n")
    at = dice.randrange(len(lines))
    match dice.randrange(8):
        case 0:
            lines.insert(at, lines[dice.randrange(len(lines))])
        case 1:
            del lines[at]
        case 2:
            lines[at] = json.dumps(dice.choice(ODD)).encode()
        case _:
            lines[at] = _json(lines[at], dice)
    return b"\n".join(lines)


def _yaml(content: bytes, dice: random.Random) -> bytes:
    try:
        value = yaml.safe_load(content)
        return yaml.safe_dump(value_changed(value, dice), sort_keys=False, allow_unicode=True).encode()
    except (yaml.YAMLError, ValueError, RecursionError):
        return _bytes(content, dice)


def _table(content: bytes, dice: random.Random) -> bytes:
    tab = b"\t" in content.split(b"\n")[0]
    try:
        rows = list(csv.reader(io.StringIO(content.decode()), delimiter="\t" if tab else ","))
        row = rows[dice.randrange(len(rows))]
        at = dice.randrange(len(row))
        match dice.randrange(4):
            case 0:
                del row[at]
            case 1:
                row.insert(at, row[at])
            case _:
                row[at] = str(dice.choice(ODD))
        text = io.StringIO()
        csv.writer(text, delimiter="\t" if tab else ",").writerows(rows)
        return text.getvalue().encode()
    except (ValueError, IndexError, csv.Error):
        return _bytes(content, dice)


def _archive(content: bytes, dice: random.Random) -> bytes:
    """One member of a workbook changed, in a whole archive: a reader sees past the checksum."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, zlib.error):
        return _bytes(content, dice)
    at = dice.randrange(len(members)) if members else 0
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (name, inner) in enumerate(members):
            if index != at:
                archive.writestr(name, inner)
            elif dice.random() > 0.1:
                archive.writestr(name, _bytes(inner, dice))
    return out.getvalue()


def _safetensors(content: bytes, dice: random.Random) -> bytes:
    """The header changed and its length with it, or the file cut."""
    length = int.from_bytes(content[:8], "little")
    if dice.random() < 0.4 or length > len(content):
        return content[: dice.randrange(len(content) + 1)]
    header = _json(content[8 : 8 + length], dice)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


_KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    ".jsonl": _lines, ".json": _json, ".yaml": _yaml, ".csv": _table, ".tsv": _table, ".txt": _table, ".xlsx": _archive,
    ".safetensors": _safetensors,
}  # fmt: skip


def value_changed(value: Any, dice: random.Random) -> Any:
    """``value`` with one node replaced, removed, doubled, renamed or wrapped."""
    places: list[tuple[Any, Any]] = []
    _collect(value, places)
    if not places:
        return dice.choice(ODD)
    holder, key = dice.choice(places)
    match dice.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, holder[key])
        case 1:
            holder[dice.choice(("", "id", f"{key}x", str(key).upper(), "\ud800", "method", "data"))] = holder.pop(key)
        case 2:
            holder[key] = [holder[key]] * dice.choice((1, 2))
        case 3:
            holder[key] = {dice.choice(("path", "x", "answer")): holder[key]}
        case 4:
            holder[key] = json.loads(json.dumps(dice.choice(places)[0], default=str))
        case 5 if isinstance(holder[key], str):
            at = dice.randrange(len(holder[key]) + 1)
            holder[key] = holder[key][:at] + str(dice.choice(ODD)) + holder[key][at:]
        case _:
            holder[key] = dice.choice(ODD)
    return value


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    """Every place of a document, as what holds it and its key there."""
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        places.append((value, key))
        _collect(value[key], places)


def _written(value: Any, before: bytes, dice: random.Random) -> bytes:
    text = json.dumps(value, ensure_ascii=dice.random() < 0.7, indent=1 if b"\n" in before.strip() else None)
    return text.encode("utf-8", "surrogatepass")
