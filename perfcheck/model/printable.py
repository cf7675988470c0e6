r"""Text that came from a file, a program or a name, made safe to show.

A terminal obeys escape sequences. Characters that are invisible or that reorder a line mislead a reader. A CI service
obeys commands at the start of a line. `printable` is for text that must stay on one line, `printable_lines` for text
of several lines. Both leave other text unchanged. Applying them twice changes nothing more, so each writer may apply
them again.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format, surrogate, private use, unassigned, line and paragraph separators."""

_INVISIBLE: Final = frozenset((0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0xE0100, 0xE01F0)))
"""Letters and marks of other categories that nothing is drawn for (Unicode: Default_Ignorable_Code_Point)."""

_SHORT: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_COMMAND_AT_START: Final = re.compile(r"^([^\S\n]*)::", re.MULTILINE)
_COMMAND_ANYWHERE: Final = re.compile(r"##(?=\[|vso\[|teamcity\[)")

_LINK: Final = re.compile(r"\]\(|!\[")

_NOT_ASCII: Final = re.compile(r"[^\x20-\x7e\n]")

_MARKUP: Final = {ord(mark): f"&#{ord(mark)};" for mark in "`|@~\\"} | {
    ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;", ord("'"): "&#x27;",
}  # fmt: skip


def is_printable(character: str) -> bool:
    """Return whether a character shows as itself: it is neither invisible nor obeyed."""
    return unicodedata.category(character) not in _CATEGORIES and ord(character) not in _INVISIBLE


def unprintable(text: str, allowed: str = "") -> str | None:
    """Return the first character that cannot be shown and is not `allowed`; None where there is none."""
    if text.isascii() and text.isprintable():
        return None
    return next((each for each in text if each not in allowed and not is_printable(each)), None)


def code_point(character: str) -> str:
    """Return a character's number as Unicode writes it, e.g. `U+001B`."""
    return f"U+{ord(character):04X}"


def printable(text: str) -> str:
    r"""Return the text on one line: what cannot be shown as `\x1b`, `\n`, `\u202e`; no command of a CI service.

    Example:
        >>> print(printable("a\x1b[31m\n::error::b"))
        a\x1b[31m\n::error::b
    """
    return _without_commands(_escaped(text, ""))


def printable_lines(text: str) -> str:
    r"""Return the text with its newlines and tabs; all else as `printable`, `\r` before a newline left out."""
    return _without_commands(_escaped(text.replace("\r\n", "\n"), "\n\t"))


def printable_html(text: str) -> str:
    """Return the text for an element or attribute of HTML; no Markdown, mention or link comes of it either."""
    return _LINK.sub(lambda found: _entities(found[0]), printable_lines(text).translate(_MARKUP))


def _entities(text: str) -> str:
    return "".join(f"&#{ord(each)};" for each in text)


def printable_markup(text: str) -> str:
    """Return the text for a page of HTML that no Markdown processor reads."""
    return html.escape(printable_lines(text), quote=True)


def ascii_json(text: str) -> str:
    """Return JSON with all but ASCII written as escapes; such characters stand in JSON's strings only."""
    return _NOT_ASCII.sub(lambda found: _json_escape(found[0]), text)


def _escaped(text: str, kept: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if each in kept or is_printable(each) else _escape(each) for each in text)


def _escape(character: str) -> str:
    number = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _without_commands(text: str) -> str:
    """Break what GitHub Actions, Azure Pipelines and TeamCity obey: `::name::` first in a line, `##[` anywhere."""
    if "::" in text:
        text = _COMMAND_AT_START.sub(r"\1\\::", text)
    return _COMMAND_ANYWHERE.sub(r"#\\#", text) if "##" in text else text


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
