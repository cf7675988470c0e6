"""Checks that the texts of a scenario file are printable: names, titles and values go into logs and reports."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from perfcheck.errors import Problem
from perfcheck.model.printable import code_point, unprintable
from perfcheck.scenario.tree import Document, Scalar, Table
from perfcheck.system.place import join

_COMMANDS: Final = ("setup", "run")
"""Keys whose texts are split into words, so that newlines and tabs between the words mean nothing."""


_WORDS: Final = MappingProxyType({"\n": "a newline", "\t": "a tab"})


def check_texts(document: Document) -> Iterator[Problem]:
    """Return each key and value that holds a character which is invisible, or which a terminal would obey."""
    for found in document.everything():
        if isinstance(found.node, Table):
            for key, entry in found.node.entries.items():
                yield from _told(document, key, join(found.path, key), entry.place.line, entry.place.column)
        elif isinstance(found.node, Scalar) and isinstance(found.node.value, str):
            place = found.node.place
            allowed = _allowed(found.path)
            # A block scalar ends with a newline, which no field keeps.
            yield from _told(document, found.node.value.strip("\n\t "), found.path, place.line, place.column, allowed)


def name_problem(file: str) -> Problem | None:
    """Say that a file's name cannot be shown; None where it can. Surrogates stand for bytes that are not UTF-8."""
    character = unprintable(file)
    if character is None:
        return None
    what = "a byte that is not UTF-8" if "\udc80" <= character <= "\udcff" else f"the character {code_point(character)}"
    message = f"the file name contains {what}, which is not printable; rename the file"
    return Problem(file=file, line=1, column=1, path="", message=message)


def _told(document: Document, text: str, path: str, line: int, column: int, allowed: str = "") -> Iterator[Problem]:
    character = unprintable(text, allowed)
    if character is None:
        return
    what = (
        "a newline" if character == "\n" else "a tab" if character == "\t" else f"the character {code_point(character)}"
    )
    message = f"expected one line of printable text, got {what} in it; remove it"
    yield Problem(file=document.file, line=line, column=column, path=path, message=message)


def _allowed(path: str) -> str:
    """Return what may stand in the text at this path besides: white space, where it only separates."""
    if path.startswith("hosts.") and ".sysctl." in path:
        return "\t"  # as the kernel itself writes values such as tcp_rmem
    last = path.rpartition("[")[0] if path.endswith("]") else path
    return "\n\t" if last.rpartition(".")[2] in _COMMANDS else ""
