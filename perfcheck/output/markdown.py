"""Texts of others in GitHub's Markdown: shown as they are, with no markup, link, mention or HTML of their own."""

from __future__ import annotations

import re
from typing import Final

from perfcheck.model.printable import printable, printable_html

_PLAIN: Final = re.compile(
    r"(?!www\.)(?:[A-Za-z0-9]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])|[ .,;%+=/>-](?!www\.)|<(?==)|(?<=[a-z]):(?= ))*"
)
"""Texts that Markdown shows as they are: no links, no emphasis, no HTML."""
_LINKED: Final = re.compile(r"@|#|www|:.|[0-9a-fA-F]{7}", re.IGNORECASE)
"""Words that GitHub makes a link, a mention or a picture of, also where their marks are entities."""
_LETTER: Final = re.compile(r"[A-Za-z0-9.,;%]")


def inline(text: str) -> str:
    """Return a text within a line of Markdown: plain words as they are, all else as code in which nothing is markup.

    An empty element behind each @ keeps an address from becoming a link.
    """
    return text if _PLAIN.fullmatch(text) else code(text)


def prose(text: str) -> str:
    """Return running text within a line of Markdown: marks as entities, and as code what would become a link."""
    return " ".join(_word(word) for word in printable(text).split(" "))


def in_html(text: str) -> str:
    """Return a text within HTML; GitHub makes no mention of a name that stands in a code element."""
    shown = printable_html(printable(text))
    return f"<code>{shown}</code>" if "@" in text else shown


def _word(word: str) -> str:
    if _LINKED.search(word):
        return code(word)
    return "".join(each if _LETTER.fullmatch(each) else f"&#{ord(each)};" for each in word)


def code(text: str) -> str:
    """Return a text as code within a line, in which nothing is markup."""
    shown = "".join(each if each.isalnum() or each == " " else f"&#{ord(each)};" for each in printable(text))
    return f"<code>{shown.replace('&#64;', '&#64;<wbr>')}</code>"
