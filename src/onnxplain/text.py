"""Text that comes from files: names of photos, classes and nodes may hold anything."""

from __future__ import annotations

import json
import re

#: Control codes, separators of lines, marks that turn the direction of writing, and halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: With these a spreadsheet begins a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """Return ``text`` as one line that does nothing to a terminal: what is no visible character is escaped."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def json_text(document: object) -> str:
    """Return JSON that can be printed and encoded, whatever its strings hold."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def csv_cell(value: object) -> object:
    """Return a value for a table that spreadsheets open: a text that would be a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def utf8(text: str) -> bytes:
    """Return UTF-8; what it cannot say is escaped."""
    return text.encode("utf-8", "backslashreplace")
