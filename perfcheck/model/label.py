"""How a scenario with its matrix point is called: `wan[congestion=cubic,delay=20ms]`."""

from __future__ import annotations

from collections.abc import Iterable


def short_key(key: str) -> str:
    """Return the last part of a matrix key, e.g. `congestion` of `hosts.client.congestion`."""
    return key.rpartition(".")[2]


def point_text(point: Iterable[tuple[str, str]]) -> str:
    """Return the values of a matrix point, each with the last part of its key; empty without a matrix."""
    return ",".join(f"{short_key(key)}={value}" for key, value in point)


def label_of(name: str, values: str) -> str:
    """Return the scenario's name with the text of its point."""
    return f"{name}[{values}]" if values else name
