"""What is exported at one moment: families with their series, which nothing changes any more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from perfcheck.export.buckets import Accumulated
from perfcheck.export.family import Family
from perfcheck.model.printable import printable

Labels = tuple[tuple[str, str], ...]
"""Names and values of labels in the order of their family."""
MOST_CHARACTERS: Final = 128
"""Of a label's value: a name of a process has 15, a path of a cgroup may have thousands."""
_CUT: Final = "..."
_DIGITS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The series of one family: values by labels, or histograms."""

    family: Family
    values: tuple[tuple[Labels, float], ...] = ()
    histograms: tuple[tuple[Labels, Accumulated], ...] = ()


class Snapshot(Protocol):
    """Families of one moment; they are laid out when somebody asks for them, not before."""

    def series(self) -> Iterable[Series]:
        """Return the families, each once."""


def labels_of(values: Mapping[str, str]) -> Labels:
    """Return labels; their values are printable, and not too long."""
    return tuple((name, label_text(value)) for name, value in values.items())


def label_text(text: str) -> str:
    """Return a text from a packet, a process or a file as the value of a label.

    Long texts that differ stay different where they are cut: points of a matrix may differ at their ends alone.
    """
    shown = printable(text)
    if len(shown) <= MOST_CHARACTERS:
        return shown
    rest = f"{_CUT}{hashlib.sha256(shown.encode()).hexdigest()[:_DIGITS]}"
    return f"{shown[: MOST_CHARACTERS - len(rest)]}{rest}"
