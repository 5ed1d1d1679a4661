"""The file layer: every form, every mistake with its line, bombs; writing leaves the whole thing or nothing."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import resource
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.files import json_text


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def values(path: Path, **options: Any) -> list[tuple[int, dict[str, Any]]]:
    return [(record.line, record.values) for record in files.records(path, **options)]


def workbook(rows: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)  # type: ignore[union-attr]
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


TWO = [{"id": "a", "n": 1}, {"id": "b", "n": 2}]
FORMS: dict[str, bytes] = {
    "x.jsonl": b'{"id": "a", "n": 1}\n\n{"id": "b", "n": 2}\n',
    "bom.jsonl": b'\xef\xbb\xbf{"id": "a", "n": 1}\n\n{"id": "b", "n": 2}',
    "windows.jsonl": b'{"id": "a", "n": 1}\r\n\r\n{"id": "b", "n": 2}\r\n',
    "lines_called.json": b'{"id": "a", "n": 1}\n\n{"id": "b", "n": 2}\n',
    "x.json": b'[{"id": "a", "n": 1},\n\n {"id": "b", "n": 2}]',
    "bom.json": b'\xef\xbb\xbf[{"id": "a", "n": 1},\r\n\r\n {"id": "b", "n": 2}]',
    "list_called.jsonl": b'[{"id": "a", "n": 1},\n\n {"id": "b", "n": 2}]',
    "x.csv": b"id,n\na,1\n\nb,2\n",
    "bom.tsv": b"\xef\xbb\xbfid\tn\r\na\t1\r\n\r\nb\t2\r\n",
    "x.xlsx": workbook([["id", "n"], ["a", 1], [None, None], ["b", 2.0]]),
}


@pytest.mark.parametrize("squeezed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_records_with_their_lines(
    put: Callable[[str, str | bytes], Path], name: str, squeezed: bool
) -> None:
    content = FORMS[name]
    path = put(name, gzip.compress(content) if squeezed else content)  # by content: the name does not say gz
    found = values(path)
    as_numbers = [{key: int(v) if key == "n" else v for key, v in record.items()} for _, record in found]
    assert as_numbers == TWO
    first = 1 if files.form_of(path) in ("json", "jsonl") else 2
    assert [line for line, _ in found] == [first, first + 2]


def test_a_name_ending_in_gz_is_looked_through(put: Callable[[str, str | bytes], Path]) -> None:
    assert values(put("x.csv.gz", gzip.compress(b"id\na\n"))) == [(2, {"id": "a"})]
    assert values(put("plain.jsonl.gz", '{"id": "a"}\n')) == [(1, {"id": "a"})]


def test_an_object_over_several_lines_is_one_value(put: Callable[[str, str | bytes], Path]) -> None:
    path = put("x.json", '{\n "a": 1,\n "b": {"a": 2}\n}\n')
    assert files.form_of(path) == "json"
    assert files.read(path) == files.read_json(path) == {"a": 1, "b": {"a": 2}}
    assert values(path) == [(1, {"a": 1, "b": {"a": 2}})]


def test_lines_longer_than_the_peek_are_still_lines(put: Callable[[str, str | bytes], Path]) -> None:
    long = "x" * 100_000
    path = put("x.json", f'{{"a": "{long}"}}\n{{"a": "y"}}\n')
    assert values(path) == [(1, {"a": long}), (2, {"a": "y"})]
    assert files.read_json(path) == [{"a": long}, {"a": "y"}]


def test_cells_over_several_lines_count_from_their_first(put: Callable[[str, str | bytes], Path]) -> None:
    assert values(put("x.csv", 'id,t\na,"1\n2"\nb,3\n')) == [(2, {"id": "a", "t": "1\n2"}), (4, {"id": "b", "t": "3"})]


def test_nan_is_missing_only_where_asked(put: Callable[[str, str | bytes], Path]) -> None:
    path = put("x.json", '[{"a": "NaN"},\n{"a": NaN}]')
    assert values(path, nan_is_none=True) == [(1, {"a": "NaN"}), (2, {"a": None})]
    assert files.read_json(path, nan_is_none=True) == [{"a": "NaN"}, {"a": None}]
    with pytest.raises(HoldfastError, match="line 2: NaN is not a value"):
        files.read_json(path)


DEEP = "[" * 100_000 + "]" * 100_000
WHOLE = gzip.compress(b'{"a": 1}\n' * 10_000)
MISTAKES: list[tuple[str, str | bytes, int | None, str]] = [
    ("a.jsonl", '{"a": 1}\n{"a" 2}\n{"a": 3}\n', 2, "the line is not valid JSON"),
    ("b.jsonl", '{"a": 1}\n{"a": 2', 2, "the last line is cut off"),
    ("c.jsonl", '{"a": 1}\n[2]\n', 2, "the line is a list, not a JSON object"),
    ("d.jsonl", '{"a": 1}\n{"a": 1, "b": {"c": 1, "c": 2}}\n', 2, "the key 'c' comes twice"),
    ("e.jsonl", '{"a": 1}\n{"a": 1, "a" : 2}\n', 2, "the key 'a' comes twice"),
    ("f.jsonl", '{"a": 1}\n{"a": "\\":", "a": 2}\n', 2, "the key 'a' comes twice"),
    ("g.json", '{\n"a": {"b": 1},\n"c": {"b": 1,\n"b": 2}}', 4, "the key 'b' comes twice"),
    ("h.json", '[{"a": 1},\n{"a": 1,\n"a": 2}]', 2, "the key 'a' comes twice"),
    ("i.json", '[{"a": 1},\n{"a": 2}', 2, "it ends in the middle of a value"),
    ("j.json", '[{"a": 1}\n{"a": 2}]', 2, "a comma is missing"),
    ("k.json", '[{"a": 1},\n]', 2, "not valid JSON"),
    ("l.json", '[{"a": 1}]\nx', 2, "something follows"),
    ("m.json", '{"a": \n', 2, "it ends in the middle of a value"),
    ("n.json", '[{"a": 1},\n5]', 2, "entry 2 is a number"),
    ("o.json", "[]", None, "the list in the file is empty"),
    ("p.json", '{"a":\nNaN}', 2, "NaN is not a value"),
    ("q.jsonl", '{"a": "Infinity"}\n{"a": -Infinity}\n', 2, "-Infinity is not a value"),
    ("r.jsonl", '{"a": 1e999}\n', 1, "beyond all that a float can hold"),
    ("s.json", '{\n"a": ' + "9" * 5000 + "}", 2, "a number has 5,000 digits"),
    ("t.json", "[\n[" + "9" * 5000 + "]]", 2, "a number has 5,000 digits"),
    ("u.json", DEEP, 1, "nested more than 64 deep"),
    ("v.jsonl", '{"a": ' + "[" * 64 + "]" * 64 + "}\n", 1, "nested more than 64 deep"),
    ("w.jsonl", '{"a": "\\ud83d\\ude00"}\n{"a": "\\ud83d"}\n', 2, "half a surrogate pair"),
    ("x.json", '{"a":\n"\\udfff"}', 2, "half a surrogate pair"),
    ("y.jsonl", '{"a": 1}\n{"a": "é"}\n'.encode("latin-1"), 2, "not UTF-8"),
    ("z.json", '{"a": 1,\n"b": "é"}\n'.encode("latin-1"), 2, "not UTF-8"),
    ("a.csv", "a\né\n".encode("latin-1"), 2, "not UTF-8"),
    ("utf16.json", '[{"a": 1}]'.encode("utf-16"), None, "UTF-16, not UTF-8. Save it again as UTF-8"),
    ("utf16.csv", "a,b\n1,2\n".encode("utf-16-le"), None, "UTF-16"),
    ("b.csv", "a,b\n1,2\n3\n", 3, "fewer cells than the header"),
    ("c.tsv", "a\tb\n1\t2\t3\n", 2, "more cells than the header"),
    ("d.csv", 'a,b\n1,"2\n', 2, "no valid table"),
    ("e.csv", "a,b,a\n1,2,3\n", 1, "the column 'a' comes twice"),
    ("f.csv", "a,b\n", None, "the table has no rows"),
    ("g.csv", "a,b\n1," + "x" * 32_767 + "\n", 2, "where Excel cuts"),
    ("a.xlsx", workbook([["a", "b"], ["1", "x" * 32_767]]), 2, "where Excel cuts"),
    ("b.xlsx", workbook([["a", "a"], [1, 2]]), 1, "the column 'a' comes twice"),
    ("c.xlsx", workbook([["a", "b"]]), None, "no rows"),
    ("d.xlsx", b"PK\x03\x04 and no more", None, "not a readable xlsx workbook"),
    ("e.xlsx", b"no archive", None, "not a readable xlsx workbook"),
    ("f.xlsx", workbook([["a"], [1]])[:-300], None, "not a readable xlsx workbook"),
    ("g.xls", b"\xd0\xcf\x11\xe0\xa1\xb1", None, "Save it as xlsx"),
    ("cut.jsonl.gz", WHOLE[: len(WHOLE) // 2], None, "the compressed file is cut short"),
    ("cut.json", WHOLE[:12], None, "the compressed file is cut short"),
    ("flip.jsonl.gz", WHOLE[:20] + bytes([WHOLE[20] ^ 255]) + WHOLE[21:], None, "the compressed file is damaged"),
    ("sum.jsonl.gz", WHOLE[:-8] + bytes(8), None, "the compressed file is damaged"),
    ("empty.json", "", None, "the file is empty"),
    ("blank.jsonl", " \n\n", None, "the file is empty"),
    ("what.dat", "something", None, "a file ending in '.dat' is of no known form"),
    ("mix.yaml", "datasets:\n  - json_path: a.json", None, "A mixture of data sets goes into the recipe"),
    ("mme.txt", "a\tb\n", None, "plain text"),
]


@pytest.mark.parametrize(("name", "content", "line", "words"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_every_mistake_is_one_sentence_with_its_line(
    put: Callable[[str, str | bytes], Path], name: str, content: str | bytes, line: int | None, words: str
) -> None:
    path = put(name, content)
    with pytest.raises(HoldfastError) as caught:
        list(files.records(path))
    assert words in str(caught.value)
    assert (caught.value.file, caught.value.line) == (str(path), line)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 2_000


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "loop.json").symlink_to("loop.json")
    for path, words in [
        (tmp_path / "none.json", "the file does not exist"),
        (tmp_path / "none.json" / "x.json", "the file does not exist"),
        (tmp_path, "this is a folder"),
        (tmp_path / "loop.json", "a link that leads back to itself"),
        (tmp_path / ("x" * 300), "the name of the file is too long"),
        (Path("/dev/null"), "this is a device"),
        (Path("a\0b"), "null byte"),
    ]:
        for read in (files.read_json, files.read_text, files.form_of, files.read, lambda p: list(files.scan(p))):
            with pytest.raises(HoldfastError, match=words):
                read(path)


def test_scan_gives_the_good_records_beside_the_bad_ones(put: Callable[[str, str | bytes], Path]) -> None:
    for name, content in [
        ("x.jsonl", '{"a": 1}\n{"a": NaN}\n{"a" 3}\n{"a": 4}\n[5]\n'),
        ("x.csv", "a,b\n1,2\n3\n4,5\n"),
    ]:
        entries = list(files.scan(put(name, content)))
        good = [line for line, entry in entries if not isinstance(entry, HoldfastError)]
        assert good == ([1, 4] if name == "x.jsonl" else [2, 4])
    entries = list(files.scan(put("x.json", '[{"a": 1},\n{"a": ' + "9" * 5000 + '},\n"three",\n{"a": 4}]')))
    assert [(line, isinstance(entry, HoldfastError)) for line, entry in entries] == [
        (1, False),
        (2, True),
        (3, True),
        (4, False),
    ]


def test_json_inside_a_cell_is_named_by_the_file_it_stands_in() -> None:
    assert files.parse_json('["a", 1]') == ["a", 1]
    with pytest.raises(HoldfastError, match=r"x\.csv, line 8, item q: bad JSON: it ends in the middle"):
        files.parse_json('["a",\n"b"', file="x.csv", line=7, item="q")


BOMB = gzip.compress(bytes(1 << 20)) * 1_000
"""A gigabyte of zeros in a megabyte, in a thousand members."""


def bombs() -> dict[str, bytes]:
    content = io.BytesIO()
    whole = zipfile.ZipFile(io.BytesIO(workbook([["a"], [1]])))
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            if name != "xl/worksheets/sheet1.xml":
                archive.writestr(name, whole.read(name))
        with archive.open("xl/worksheets/sheet1.xml", "w") as sheet:
            sheet.write(b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>')
            for _ in range(100):
                sheet.write(b"<row><c/></row>" * 70_000)
    return {
        "a.jsonl.gz": BOMB,
        "b.json": BOMB,
        "c.csv": BOMB,
        "d.json": gzip.compress(b"[") + BOMB,
        "e.xlsx": content.getvalue(),
        "f.xlsx": gzip.compress(content.getvalue()),
        "g.xlsx": BOMB,
        "h.txt": BOMB,
    }


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_bombs_are_refused_while_they_inflate(put: Callable[[str, str | bytes], Path]) -> None:
    paths = [str(put(name, content)) for name, content in bombs().items()]
    code = (
        "import sys\nfrom holdfast import files\nfrom holdfast.errors import HoldfastError\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        sum(1 for _ in (files.text_lines(path) if path.endswith('txt') else files.records(path)))\n"
        "    except HoldfastError as error:\n        print(error)\n"
        "status = open('/proc/self/status').read()\n"  # ru_maxrss would tell of the process that started this one
        "print(int(status.split('VmHWM:')[1].split()[0]) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=120)
    *said, peak = done.stdout.splitlines()
    assert done.stderr == ""
    assert len(said) == len(paths) and [line for line in said if "inflates to more than" not in line] == []
    assert int(peak) < 300  # megabytes, where the bombs hold a thousand; the process itself has 50


def test_a_line_without_end_is_refused(
    put: Callable[[str, str | bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.files.content.LINE_LIMIT", 1_000)
    with pytest.raises(HoldfastError, match="line 2: the line is longer than"):
        list(files.records(put("x.jsonl", '{"a": 1}\n{"a": "' + "x" * 2_000 + '"}\n')))
    monkeypatch.setattr("holdfast.files.content.FILE_LIMIT", 1_000)
    with pytest.raises(HoldfastError, match="the file is larger than"):
        files.read_json(put("x.json", '{"a": "' + "x" * 2_000 + '"}'))


def test_an_answer_that_looks_like_a_formula_is_text(put: Callable[[str, str | bytes], Path]) -> None:
    rows = list(files.records(put("m.xlsx", workbook([["index", "prediction"], [1, "= 3"]]))))
    assert [row.values for row in rows] == [{"index": 1, "prediction": "= 3"}]


def test_entities_in_a_workbook_are_refused(put: Callable[[str, str | bytes], Path]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("xl/sharedStrings.xml", '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>')
    with pytest.raises(HoldfastError, match="XML entities"):
        list(files.records(put("x.xlsx", content.getvalue())))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", '":', " :", "é"]), inner),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(value=JSON, spaced=st.booleans(), ascii_only=st.booleans())
def test_reading_agrees_with_json(value: Any, spaced: bool, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, separators=(" , ", " : ") if spaced else None)
    assert json_text.whole_value(text) == value == json.loads(text)


def pairs_twice(text: str) -> bool:
    """Whether some object of the text has a key twice, found by the hook on every object."""
    twice: list[bool] = []
    json.loads(text, object_pairs_hook=lambda pairs: twice.append(len(dict(pairs)) != len(pairs)) or dict(pairs))
    return any(twice)


@settings(max_examples=300, deadline=None)
@given(
    keys=st.lists(st.sampled_from(["a", "b", '\\":', " :", "\\u0061"]), min_size=1, max_size=4),
    colons=st.lists(st.sampled_from([":", " :", "\t: ", "\n:"]), min_size=4, max_size=4),
    inner=st.sampled_from(['"x"', '{"a": 1}', '"\\":"', '[{"b":1,"b":2}]', '" :"']),
)
def test_a_key_that_comes_twice_is_found_however_it_is_written(keys: list[str], colons: list[str], inner: str) -> None:
    text = "{" + ",".join(f'"{key}"{colon}{inner}' for key, colon in zip(keys, colons, strict=False)) + "}"
    if pairs_twice(text):
        with pytest.raises(json_text.Mistake, match="comes twice"):
            json_text.whole_value(text)
    else:
        json_text.whole_value(text)


# Writing ------------------------------------------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writing_makes_the_folder_and_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    files.write_text(folder / "t.txt", "é\n")
    files.write_json(folder / "j.json", {"é": [1]}, durable=True)
    files.write_lines(folder / "l.jsonl", ({"n": n} for n in range(2)))
    files.write_bytes(folder / "b.bin", b"\0")
    assert (folder / "t.txt").read_bytes() == "é\n".encode()
    assert (folder / "j.json").read_text(encoding="utf-8") == '{\n "é": [\n  1\n ]\n}\n'
    assert (folder / "l.jsonl").read_bytes() == b'{"n": 0}\n{"n": 1}\n'
    assert names(folder) == ["b.bin", "j.json", "l.jsonl", "t.txt"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    files.write_text(file, "before\n")
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_lines(file, [{"a": 1}, {"a": float("nan")}])
    with pytest.raises(KeyboardInterrupt), files.folder_beside(tmp_path / "folder") as partial:
        (partial / "half").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt
    assert file.read_text(encoding="utf-8") == "before\n"
    assert names(tmp_path) == ["x.jsonl"]


def test_permissions_are_what_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with files.beside(tmp_path / "x") as partial:
            partial.unlink()
            partial.touch(mode=0o600)  # as safetensors does
        with files.folder_beside(tmp_path / "f") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "y").touch(mode=0o600)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("x", "f", "f/sub/y")]
    assert modes == [0o640, 0o750, 0o640]


def test_a_folder_is_replaced_or_refused(tmp_path: Path) -> None:
    target = tmp_path / "f"
    for text in ("one", "two"):
        with files.folder_beside(target, replace=True, durable=True) as partial:
            (partial / "x").write_text(text, encoding="utf-8")
    assert (target / "x").read_text(encoding="utf-8") == "two"
    with pytest.raises(HoldfastError, match="exists already"), files.folder_beside(target) as partial:
        (partial / "x").write_text("three", encoding="utf-8")
    assert (target / "x").read_text(encoding="utf-8") == "two"
    assert names(tmp_path) == ["f"]


def test_a_replacement_that_died_between_its_renames_heals(tmp_path: Path) -> None:
    old = tmp_path / "f.old"
    old.mkdir()
    files.heal_folder(tmp_path / "f")
    assert names(tmp_path) == ["f"]
    old.mkdir()
    files.heal_folder(tmp_path / "f")
    assert names(tmp_path) == ["f"]


def test_the_half_line_of_a_killed_process_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    for content, kept in [
        (b'{"a": 1}\n{"a"', b'{"a": 1}\n'),
        (b'{"a": 1}\n', b'{"a": 1}\n'),
        (b"half", b""),
        (b"", b""),
        (b"{}\n" + b"x" * 200_000, b"{}\n"),
    ]:
        file.write_bytes(content)
        assert files.drop_cut_line(file) == (content != kept)
        assert file.read_bytes() == kept


def test_leftovers_of_dead_processes_are_swept_and_others_stay(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom holdfast import files\n"
        "root = Path(sys.argv[1])\n"
        "with files.folder_beside(root / 'f') as partial:\n"
        "    (partial / 'half').touch()\n    with files.beside(root / 'x'):\n        os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    left = names(tmp_path)
    assert len(left) == 2 and all(name.endswith(".partial") for name in left)
    (tmp_path / left[0].replace("@", "@elsewhere")).touch()  # of a machine that shares the disk
    with files.beside(tmp_path / "mine") as mine:
        files.sweep(tmp_path)
        assert names(tmp_path) == sorted([mine.name, left[0].replace("@", "@elsewhere")])


class SafetensorError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the quota is used up"),
        (OSError(errno.EROFS, "Read-only file system"), "the file system is read-only"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "the disk is full",
        ),
    ],
)
def test_what_the_disk_refuses_is_said(tmp_path: Path, error: Exception, words: str) -> None:
    with pytest.raises(HoldfastError, match=words) as caught, files.folder_beside(tmp_path / "f"):
        raise error
    assert "give the same command again" in str(caught.value)
    assert names(tmp_path) == []


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A limit on file sizes is what a process can set on itself; safetensors writes under it too."""
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom holdfast import files\n"
        "from holdfast.errors import HoldfastError\nimport numpy as np\nfrom safetensors.numpy import save_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "root = Path(sys.argv[1])\n"
        "def tensors(path):\n"
        "    with files.beside(path) as partial:\n        save_file({'a': np.zeros(99999, 'f4')}, partial)\n"
        "for write in (lambda p: files.write_text(p, 'x' * 9999), tensors):\n"
        "    try:\n        write(root / 'x')\n        print('written')\n"
        "    except HoldfastError as error:\n        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert [("larger than is allowed" in line) for line in done.stdout.splitlines()] == [True, True]
    assert names(tmp_path) == []


def test_reading_elsewhere_is_not_taken_for_writing(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), files.beside(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/else.png")


def test_a_folder_where_a_file_should_go(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").touch()
    with pytest.raises(HoldfastError, match="a folder stands where a file is needed"):
        files.write_text(tmp_path / "x", "text")
    with pytest.raises(HoldfastError, match="a file stands where a folder is needed"):
        files.write_text(tmp_path / "y" / "z", "text")


def test_memory_stays_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    row = json.dumps({"id": "x", "prediction": "word " * 200}) + "\n"
    file.write_text(row * 50_000, encoding="utf-8")  # 50 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in files.records(file)) == 50_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.jsonl")
    with pytest.raises(HoldfastError, match="this is a pipe"):
        files.form_of(tmp_path / "rows.jsonl")
