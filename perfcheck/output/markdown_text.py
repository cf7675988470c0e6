"""Texts within Markdown of GitHub and GitLab: nothing in them is markup, a link, a mention or a reference."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from perfcheck.model.printable import printable, printable_html, printable_lines

_PLAIN: Final = re.compile(
    r"(?!www\.)(?:[A-Za-z0-9]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])|[ .,;%+=/>-](?!www\.)|<(?==)|(?<=[a-z]):(?= ))*"
)
"""Texts that Markdown shows as they are: no links, no emphasis, no HTML."""

_RISKY: Final = re.compile(r"[@#~$&\\`]|![0-9]|:.*:|:/|%[\w\"]|www\.|gh-[0-9]|[0-9a-f]{7}", re.IGNORECASE)
"""What a service makes links, pictures or formulas of, after Markdown is done: entities do not hinder that."""
_HARMLESS: Final = frozenset(" .,;()/%?'\"+=-")
"""Marks that mean nothing behind the first letter of a line."""
_NUMBERED: Final = re.compile(r"[0-9]+[.)]+")
"""What could begin a list."""
_SPACE: Final = re.compile(r"[ \t\n]+")
_FENCE: Final = re.compile(r"`{3,}")


def inline(text: str) -> str:
    """Return a text within a line of Markdown: plain words as they are, all else as code in which nothing is markup."""
    return text if _PLAIN.fullmatch(text) else code(text)


def code(text: str) -> str:
    """Return a text as a code element.

    An empty element behind each @ keeps an address from becoming a link.
    """
    return f"<code>{_entities(printable(text)).replace('&#64;', '&#64;<wbr>')}</code>"


def prose(text: str) -> str:
    """Return running text on one line of Markdown: marks as entities where they might mean something, else as code."""
    first, *rest = (printable(word) for word in _SPACE.split(text.strip(" \t\n")))
    return " ".join((_first_word(first), *map(_word, rest)))


def _first_word(word: str) -> str:
    """Return a word that may begin a line: a mark or number there may begin a list, a quotation or a rule."""
    shown = _word(word)
    harmless = word[:1].isalnum() and not _NUMBERED.fullmatch(word)
    return shown if harmless or shown.startswith("<code>") else _entities(word)


def _word(word: str) -> str:
    if _RISKY.search(word):
        return code(word)
    return word if _PLAIN.fullmatch(word) else _entities(word, _HARMLESS)


def _entities(text: str, kept: Collection[str] = " ") -> str:
    return "".join(each if each.isalnum() or each in kept else f"&#{ord(each)};" for each in text)


def in_html(text: str) -> str:
    """Return a text within HTML; GitHub makes no mention of a name that stands in a code element."""
    shown = printable_html(printable(text))
    return f"<code>{shown}</code>" if "@" in text else shown


def fenced(text: str, language: str = "") -> str:
    """Return lines as a block of code, behind a fence that does not occur in them."""
    shown = printable_lines(text)
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCE.findall(shown))])
    return f"{fence}{language}\n{shown}\n{fence}\n"
