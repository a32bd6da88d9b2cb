"""Text files as people's editors save them: UTF-8 with or without a byte-order mark, UTF-16 and UTF-32.

What is none of these (latin-1, cp1252, ...) is refused: bytes above 127 do not say which of many alphabets they are of.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from sheap.reading.regular_file import read_bytes

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOKED_AT = 1024
_NULS_OF_WIDE_TEXT = 0.4
"""Share of NUL bytes at every second place from which on text without a mark is UTF-16: English has nearly 1."""

_LINE_END = re.compile(r"\r\n|\r|\n")


def marked_encoding(content: bytes) -> tuple[str, int] | None:
    """The encoding that a text file's first bytes tell, and the length of its mark; None where they tell none.

    UTF-16 without a mark is known by its NUL bytes, one in two.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name, len(mark)
    start = content[:_LOOKED_AT]
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if odd and odd >= _NULS_OF_WIDE_TEXT * len(start) / 2 and even == 0:
        return "utf-16-le", 0
    if even and even >= _NULS_OF_WIDE_TEXT * len(start) / 2 and odd == 0:
        return "utf-16-be", 0
    return None


def decode_text(content: bytes, where: object) -> str:
    """Text without its mark. Raises ValueError naming `where`, the encoding, and the line that does not fit it."""
    encoding, skip = marked_encoding(content) or ("utf-8", 0)
    body = content[skip:]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = 1 + len(_LINE_END.findall(body[: error.start].decode(encoding, "replace")))
        name = encoding.upper().removesuffix("-LE").removesuffix("-BE")
        raise ValueError(
            f"{where} line {line}: not {name} (byte 0x{body[error.start]:02x}); save it as UTF-8, it may be latin-1 or cp1252"
        ) from None
    if "\0" in text:
        line = 1 + len(_LINE_END.findall(text[: text.index("\0")]))
        raise ValueError(f"{where} line {line}: not text (a NUL byte)")
    return text


def read_text(path: Path) -> str:
    """A text file's content. Raises OSError, or ValueError naming file, line and encoding where it cannot be decoded."""
    return decode_text(read_bytes(path), path)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, without blanks around, each with its number from 1. Raises as read_text does."""
    for number, line in enumerate(_LINE_END.split(read_text(path)), start=1):
        if line.strip():
            yield number, line.strip()
