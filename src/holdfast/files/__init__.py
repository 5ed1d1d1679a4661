"""The only code that parses what comes from outside, and the only one that writes beside a name and renames.

Reading (:func:`records`, :func:`scan`, :func:`read`, :func:`read_json`, :func:`parse_json`, :func:`parse_list`,
:func:`parse_written`, :func:`read_text`, :func:`text_lines`, :func:`form_of`) is strict: every mistake is one sentence
with its line; a key that comes twice, NaN, numbers and nesting beyond bounds, half surrogate pairs and compressed files
that inflate without measure are refused.

Writing (:func:`write_text`, :func:`write_json`, :func:`write_lines`, :func:`write_bytes`, :func:`copy_file`, and
:func:`beside` and :func:`folder_beside` for what a library writes) leaves the whole thing or nothing, and says what the
disk refused.
:func:`locked` and :func:`claimed` keep two processes from one place.
"""

from holdfast.files.content import read_bytes, read_text, text_lines
from holdfast.files.locks import claimed, locked
from holdfast.files.records import (
    Form,
    Record,
    form_of,
    parse_json,
    parse_list,
    parse_written,
    read,
    read_json,
    records,
    scan,
)
from holdfast.files.writing import (
    append_line,
    beside,
    copy_file,
    drop_cut_line,
    folder_beside,
    heal_folder,
    line_of,
    sweep,
    write_bytes,
    write_json,
    write_lines,
    write_text,
    writing,
)

__all__ = [
    "Form",
    "Record",
    "append_line",
    "beside",
    "claimed",
    "copy_file",
    "drop_cut_line",
    "folder_beside",
    "form_of",
    "heal_folder",
    "line_of",
    "locked",
    "parse_json",
    "parse_list",
    "parse_written",
    "read",
    "read_bytes",
    "read_json",
    "read_text",
    "records",
    "scan",
    "sweep",
    "text_lines",
    "write_bytes",
    "write_json",
    "write_lines",
    "write_text",
    "writing",
]
