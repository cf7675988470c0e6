"""Makes all texts of a document printable, charts included, so that whoever builds one need not think of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from perfcheck.model.printable import printable_lines
from perfcheck.report.document import Document

T = TypeVar("T")


def printed(document: Document) -> Document:
    """Return the document with what cannot be shown as escapes: control characters, and what turns text around."""
    return _printed(document)


def _printed(value: T) -> T:
    found: Any = value
    if isinstance(value, str) and not isinstance(value, Enum):
        found = printable_lines(value)
    elif is_dataclass(value) and not isinstance(value, type):
        found = replace(value, **{each.name: _printed(getattr(value, each.name)) for each in fields(value)})
    elif isinstance(value, Mapping):
        found = {key: _printed(inner) for key, inner in value.items()}
    elif isinstance(value, tuple):
        found = tuple(_printed(inner) for inner in value)
    elif isinstance(value, list):
        found = [_printed(inner) for inner in value]
    result: T = found
    return result
