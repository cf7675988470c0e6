"""The hosts of a scenario and the links between them, drawn: hosts as points, links as lines with their settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.report.charts.axis import Spec, known, layered, rounded, told
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Chart

ROW: Final = 90
"""Pixels of height of a row of hosts."""
LINE_BREAK: Final = " \N{BROKEN BAR} "
MOST_LABELLED: Final = 6
"""Links of a chart whose settings stand at them; of more, a link's number does, and a table has the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A link between two hosts: `label` is short, its lines separated by LINE_BREAK.

    `settings` and `proof` are told where one points at it.
    """

    first: str
    second: str
    label: str
    settings: str = ""
    proof: str = ""


def positions(hosts: Sequence[str], links: Sequence[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """Return where each host is: across by how many links it is away from the first one, down by its place there.

    Both are from 0 to 1. A host that no link leads to begins anew, to the right of the others.
    """
    near: Mapping[str, list[str]] = {host: [] for host in hosts}
    for first, second in links:
        near[first].append(second)
        near[second].append(first)
    level: dict[str, int] = {}
    for host in hosts:
        if host in level:
            continue
        level[host] = max(level.values(), default=-1) + 1
        waiting = deque([host])
        while waiting:
            here = waiting.popleft()
            for there in near[here]:
                if there not in level:
                    level[there] = level[here] + 1
                    waiting.append(there)
    across = max(level.values(), default=0) or 1
    rows: dict[int, list[str]] = {}
    for host in hosts:
        rows.setdefault(level[host], []).append(host)
    return {
        host: (level[host] / across, (rows[level[host]].index(host) + 0.5) / len(rows[level[host]])) for host in hosts
    }


def topology(labels: Labels, hosts: Mapping[str, str], links: Sequence[Joined]) -> Chart:
    """Return the drawing; `hosts` has what is to be told of each host."""
    places = positions(list(hosts), [(link.first, link.second) for link in links])
    height = max((_count(places, x) for x, _ in places.values()), default=1)
    columns: dict[str, list[float | int | str | None]] = {
        "host": [*hosts], "about": [about or "as the machine is" for about in hosts.values()],
        "x": [rounded(places[host][0]) for host in hosts], "y": [rounded(places[host][1]) for host in hosts],
    }  # fmt: skip
    labelled = len(links) <= MOST_LABELLED
    between: dict[str, list[float | int | str | None]] = {
        "link": [f"{link.first} - {link.second}" for link in links],
        "x1": [rounded(places[link.first][0]) for link in links],
        "y1": [rounded(places[link.first][1]) for link in links],
        "x2": [rounded(places[link.second][0]) for link in links],
        "y2": [rounded(places[link.second][1]) for link in links],
        "xm": [rounded((places[link.first][0] + places[link.second][0]) / 2) for link in links],
        "ym": [rounded((places[link.first][1] + places[link.second][1]) / 2) for link in links],
        "label": [link.label if labelled else f"links[{number}]" for number, link in enumerate(links)],
        "settings": [link.settings or "none" for link in links],
        "proof": [link.proof or "not probed" for link in links],
    }
    length = max(len(hosts), len(links))
    for name, column in (*columns.items(), *between.items()):
        columns[name] = column + [None] * (length - len(column))
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or _summary(hosts, links),
        spec=layered(_layers(), height=ROW * height, view={"stroke": None}), columns=columns,
    )  # fmt: skip


def _count(places: Mapping[str, tuple[float, float]], x: float) -> int:
    return sum(place[0] == x for place in places.values())


def _layers() -> list[Spec]:
    def at(field: str, low: float, high: float) -> Spec:
        return {
            "field": field, "type": "quantitative", "axis": None,
            "scale": {"domain": [low, high], "nice": False, "zero": False},
        }  # fmt: skip

    def across(field: str) -> Spec:
        return at(field, -0.12, 1.12)

    def down(field: str) -> Spec:
        return {**at(field, 0, 1), "scale": {"domain": [0, 1], "nice": False, "reverse": True}}

    link = [
        told("link", "link", text=True), told("settings", "asked", text=True), told("proof", "measured", text=True),
    ]  # fmt: skip
    host = [told("host", "host", text=True), told("about", "settings", text=True)]
    return [
        {
            "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.55, "color": "gray"}, "transform": [known("x1")],
            "encoding": {
                "x": across("x1"), "y": down("y1"), "x2": {"field": "x2"}, "y2": {"field": "y2"}, "tooltip": link,
            },
        },
        {
            "mark": {"type": "text", "baseline": "bottom", "lineBreak": LINE_BREAK, "lineHeight": 14, "dy": -6},
            "transform": [known("x1")],
            "encoding": {
                "x": across("xm"), "y": down("ym"), "text": {"field": "label", "type": "nominal"}, "tooltip": link,
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 320, "opacity": 1}, "transform": [known("x")],
            "encoding": {"x": across("x"), "y": down("y"), "tooltip": host},
        },
        {
            "mark": {"type": "text", "dy": 22, "fontWeight": "bold"}, "transform": [known("x")],
            "encoding": {
                "x": across("x"), "y": down("y"), "text": {"field": "host", "type": "nominal"}, "tooltip": host,
            },
        },
    ]  # fmt: skip


def _summary(hosts: Mapping[str, str], links: Sequence[Joined]) -> str:
    joined = "; ".join(f"{link.first} - {link.second}: {link.label}".replace(LINE_BREAK, ", ") for link in links)
    if not links:
        return f"{len(hosts)} hosts and no link"
    return f"{len(hosts)} hosts and {len(links)} link{'s' if len(links) > 1 else ''}: {joined}"
