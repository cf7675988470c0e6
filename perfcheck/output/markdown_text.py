"""Texts within Markdown of GitHub and GitLab: nothing in them is markup, a link, a mention or a reference."""

from __future__ import annotations

import re
from typing import Final

from perfcheck.model.printable import printable, printable_html, printable_lines

_PLAIN: Final = re.compile(
    r"(?!www\.)(?:[A-Za-z0-9]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])|[ .,;%+=/>-](?!www\.)|<(?==)|(?<=[a-z]):(?= ))*"
)
"""Texts that Markdown shows as they are: no links, no emphasis, no HTML."""

_WORD: Final = re.compile(r"[(\"'\[]{0,2}(?!www\.)[A-Za-z0-9](?:[A-Za-z0-9.,'_=+-](?!www\.))*[)\"'\].,;:?!]{0,3}")
"""Words with quotes, brackets and stops about them, which mean nothing more once these are entities."""
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
    """Return running text on one line of Markdown: each word as it is or with its marks as entities, others as code."""
    words = [printable(word) for word in _SPACE.split(text.strip(" \t\n"))]
    shown = [_word(word) for word in words]
    if not words[0][:1].isalpha() and not shown[0].startswith("<code>"):
        # At the start of a line a number with a stop begins a list, and a mark a list, a quotation or a rule.
        shown[0] = _entities(words[0])
    return " ".join(shown)


def _word(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    return _entities(word) if _WORD.fullmatch(word) else code(word)


def _entities(text: str) -> str:
    return "".join(each if each.isalnum() or each == " " else f"&#{ord(each)};" for each in text)


def in_html(text: str) -> str:
    """Return a text within HTML; GitHub makes no mention of a name that stands in a code element."""
    shown = printable_html(printable(text))
    return f"<code>{shown}</code>" if "@" in text else shown


def fenced(text: str, language: str = "") -> str:
    """Return lines as a block of code, behind a fence that does not occur in them."""
    shown = printable_lines(text)
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCE.findall(shown))])
    return f"{fence}{language}\n{shown}\n{fence}\n"
