"""Markdown of texts that may hold any characters: none of them is taken for markup."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_CODE: Final = re.compile(r"`([^`\n]+)`")
_SECTION: Final = re.compile(r"(Args|Returns|Raises|Example|Examples|Yields):")
_PLAIN: Final = frozenset(" ,.;'\"/")
"""Beside letters and digits, what means nothing in Markdown wherever a text of ours can have it."""


def literal(text: str) -> str:
    """Return a text so that each character of it is shown as it is; line ends are blanks."""
    words = " ".join(text.split())
    shown = "".join(each if each.isalnum() or each in _PLAIN else f"&#{ord(each)};" for each in words)
    # A number and a dot at the begin would be a list.
    return re.sub(r"^(\d+)\.", r"\1&#46;", shown)


def code(text: str) -> str:
    """Return a text as code."""
    return f"<code>{literal(text)}</code>"


def prose(text: str) -> str:
    """Return a text of help or a docstring: what stands between backticks is code, all else is literal."""
    return "".join(code(part) if index % 2 else _literal_part(part) for index, part in enumerate(_CODE.split(text)))


def _literal_part(text: str) -> str:
    """Return a part of a text, with the blanks at its ends."""
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return f"{' ' if before else ''}{literal(text)}{' ' if after and text.strip() else ''}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown already."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def heading(level: int, shown: str, anchor: str) -> str:
    """Return a heading with an anchor of its own."""
    return f"{'#' * level} {shown} {{#{anchor}}}"


def anchor_of(name: str) -> str:
    """Return the anchor of a name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def page(title: str, *blocks: str) -> str:
    """Return a page."""
    return "\n\n".join((f"# {title}", *(block for block in blocks if block), ""))


def docstring(found: object) -> Iterator[str]:
    """Yield the blocks of an object's docstring: paragraphs, examples as code, other sections with a bold word."""
    for part in re.split(r"\n\s*\n", inspect.getdoc(found) or ""):
        first, _, rest = part.partition("\n")
        section = _SECTION.fullmatch(first.strip())
        if section and section[1].startswith("Example"):
            yield f"```pycon\n{inspect.cleandoc(rest)}\n```"
        elif section:
            yield f"**{section[1]}** {prose(inspect.cleandoc(rest))}"
        elif part.strip():
            yield prose(part)
