"""Exported families as the dashboards show them: names, units and meanings are those of the export itself."""

from __future__ import annotations

from typing import Final

from panels import HEIGHT, Frame

from perfcheck.export.family import Family, Kind
from perfcheck.export.names import histogram_place, live_place, record_place

UNITS: Final = {
    "seconds": "s", "bytes": "bytes", "bytes_per_second": "Bps", "ratio": "percentunit", "per_second": "cps",
    "segments": "short", "packets": "short", "": "short",
}  # fmt: skip
"""Base units by Grafana's names of them."""
PACKETS_PER_SECOND: Final = "pps"
RATE_UNITS: Final = {
    "seconds": "percentunit", "bytes": "Bps", "segments": PACKETS_PER_SECOND, "packets": PACKETS_PER_SECOND, "": "cps",
}  # fmt: skip
"""What a counter's increase per second is in, by the counter's unit."""


def live(metric: str) -> Family:
    """Return the family of a live machine that a metric of the catalogue goes to."""
    place = live_place(metric) or histogram_place(metric)
    if place is None:
        raise KeyError(f"a live machine does not export {metric}")
    return place.family


def record(metric: str) -> Family:
    """Return the family of records that a metric of the catalogue goes to."""
    place = record_place(metric)
    if place is None:
        raise KeyError(f"records do not export {metric}")
    return place.family


def unit_of(family: Family) -> str:
    """Return the unit of a family's values, by Grafana's name."""
    return UNITS[family.unit]


def rate_unit_of(family: Family) -> str:
    """Return the unit of a counter's increase per second, by Grafana's name."""
    return PACKETS_PER_SECOND if family.name.endswith("_packets_total") else RATE_UNITS[family.unit]


def frame(title: str, text: str, *families: Family, unit: str = "", width: int = 12, height: int = HEIGHT) -> Frame:
    """Return what a panel of some families has: what to see in it, and what each family is, as the description.

    The unit is that of the first family, of a counter that of its increase per second, where nothing else is said.
    """
    meanings = (f"`{family.name}`: {family.help}." for family in dict.fromkeys(families))
    first = families[0]
    usual = rate_unit_of(first) if first.kind is Kind.COUNTER else unit_of(first)
    description = "\n\n".join((text, *meanings))
    return Frame(title=title, description=description, unit=unit or usual, width=width, height=height)
