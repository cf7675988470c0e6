"""What cannot be measured on a machine, as lines: one reason is said once, however much it takes away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def lacking_lines(lacks: Mapping[str, str]) -> Iterator[str]:
    """Yield `drops, nic, cpu: why` for each reason of `Interval.lacks`."""
    by_reason: dict[str, list[str]] = {}
    for what, why in lacks.items():
        by_reason.setdefault(why, []).append(what)
    for why, names in by_reason.items():
        yield f"{', '.join(names)}: {why}"
