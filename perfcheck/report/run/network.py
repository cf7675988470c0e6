"""The network of a run: its hosts and links drawn, what each link was asked to be, and what was measured of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from perfcheck.model.record import RunRecord
from perfcheck.model.subject import SubjectKind
from perfcheck.model.units import format_value
from perfcheck.output.real_links import real_link_lines
from perfcheck.report.charts.lines import Labels
from perfcheck.report.charts.topology import LINE_BREAK, Joined, topology
from perfcheck.report.document import Block, Bullets, Figures, Fold, Paragraph, Table
from perfcheck.report.run.cells import cells
from perfcheck.report.run.source import Run

_LABEL: Final = re.compile(r"links\[(?P<number>[0-9]{1,4})\] (?P<ends>.+)")
_HOST_KEY: Final = re.compile(r"hosts\.(?P<host>[^.]+)\.(?P<key>.+)")
_LINK_KEY: Final = re.compile(r"links\[(?P<number>[0-9]{1,4})\]\.(?P<key>.+)")
_SHORT: Final = ("delay", "jitter", "rate", "loss", "queue", "aqm", "reorder", "duplicate", "police")
"""Settings that stand at a link where it is drawn; all are told where one points at it."""
_LABEL_ROOM: Final = 30
"""Characters of a line at a link."""
_MOST: Final = 40
"""Hosts, and links, that are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOf:
    """A link of a record: its ends, its settings by key, and the proof of it where there is one."""

    label: str
    first: str
    second: str
    emulator: str
    settings: Mapping[str, str] = field(default_factory=dict)
    proof: Mapping[str, Any] | None = None


def network_blocks(run: Run) -> Iterator[Block]:
    """Yield the drawing, and a table of what each direction of each link was asked to be and is."""
    record = run.record
    links = links_of(record)
    if not links:
        yield Paragraph(text="The record tells of no link.")
        return
    hosts = _hosts(record, links)
    if len(hosts) <= _MOST and len(links) <= _MOST:
        labels = Labels(
            name=run.named("topology"), title="Hosts and links: settings at each link, more where one points at it",
            quantity="", unit="",
        )  # fmt: skip
        drawn = topology(labels, hosts, [_joined(link) for link in links])
        yield Figures(charts=(drawn,))
    rows = [row for link in links for row in _rows(link)]
    if rows:
        table = Table(
            headings=("link", "direction", "what", "asked", "measured before the traffic"),
            rows=tuple(cells(*row) for row in rows),
            caption="The proof of each link: a probe measured it with nothing else on it. Delays are one way, with the "
            "time that the probe's packet takes on the line.",
        )  # fmt: skip
        proved = sum(link.proof is not None for link in links)
        yield Fold(
            summary=f"proof: links measured before the traffic, as asked: {proved} of {len(links)}",
            blocks=(table,),
            printed=False,
        )
    real = tuple(real_link_lines(record))
    if real:
        yield Bullets(items=real)
    settings = [(link.label, key, value) for link in links for key, value in link.settings.items()]
    settings += _host_settings(record)
    if settings:
        table = Table(
            headings=("link or host", "setting", "asked"), rows=tuple(cells(*row) for row in settings),
            caption="All settings of links and hosts in the scenario; without a direction a link's are of both.",
        )  # fmt: skip
        yield Fold(summary=f"settings: {len(settings)}", blocks=(table,), printed=False)


def links_of(record: RunRecord) -> tuple[LinkOf, ...]:
    """Return the record's links in their order."""
    hosts = {name for name, found in record.subjects.items() if found.kind is SubjectKind.HOST}
    hosts |= {host for host, _, _ in _host_settings(record)}
    found: list[LinkOf] = []
    for label, made in record.emulators.items():
        match = _LABEL.fullmatch(label)
        if match is None or not isinstance(made, Mapping):
            continue
        first, second = _ends(match["ends"], hosts)
        proof = made.get("proof")
        found.append(LinkOf(
            label=f"links[{match['number']}]", first=first, second=second,
            emulator=str(made.get("emulator", "")), settings=_settings(record, match["number"]),
            proof=proof if isinstance(proof, Mapping) else None,
        ))  # fmt: skip
    return tuple(found)


def _ends(text: str, hosts: set[str]) -> tuple[str, str]:
    """Return the two hosts of `client-server`; a hyphen may be part of either's name."""
    places = [place for place, each in enumerate(text) if each == "-"]
    splits = [(text[:place], text[place + 1 :]) for place in places]
    known = [pair for pair in splits if set(pair) <= hosts]
    return (known or splits or [(text, "?")])[0]


def _settings(record: RunRecord, number: str) -> dict[str, str]:
    found = ((_LINK_KEY.fullmatch(key), value) for key, value in record.scenario.conditions.items())
    return {
        match["key"]: value
        for match, value in found if match is not None and match["number"] == number
    }  # fmt: skip


def _host_settings(record: RunRecord) -> Iterator[tuple[str, str, str]]:
    for name, value in record.scenario.conditions.items():
        match = _HOST_KEY.fullmatch(name)
        if match is not None:
            yield match["host"], match["key"], value


def _hosts(record: RunRecord, links: tuple[LinkOf, ...]) -> dict[str, str]:
    """Return the hosts with their settings, in the order of the links."""
    settings: dict[str, list[str]] = {}
    for host, key, value in _host_settings(record):
        settings.setdefault(host, []).append(f"{key} {value}")
    names = dict.fromkeys(end for link in links for end in (link.first, link.second))
    return {name: ", ".join(settings.get(name, [])) for name in names}


def _joined(link: LinkOf) -> Joined:
    measured = [f"{way}: {what} {value}" for _, way, what, _, value in _rows(link) if value]
    return Joined(
        first=link.first, second=link.second, label=_short(link),
        settings=", ".join(f"{key} {value}" for key, value in link.settings.items()) or "as it is",
        proof="; ".join(measured),
    )  # fmt: skip


def _short(link: LinkOf) -> str:
    """Return the settings that matter most, in lines that have room at the link."""
    told = [
        value if key in ("delay", "rate") else f"{key} {value}"
        for key, value in sorted(link.settings.items(), key=lambda one: _rank(one[0]))
        if _rank(one := key) < len(_SHORT) or one.startswith(("forward.", "reverse."))
    ]
    lines: list[str] = []
    for text in told[:6]:
        if lines and len(lines[-1]) + len(text) + 2 <= _LABEL_ROOM:
            lines[-1] += f", {text}"
        else:
            lines.append(text)
    return LINE_BREAK.join(lines[:3]) or (f"by {link.emulator}" if link.emulator else link.label)


def _rank(key: str) -> int:
    return _SHORT.index(key) if key in _SHORT else len(_SHORT)


def _rows(link: LinkOf) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield (link, direction, what, asked, measured) of an emulated link's proof."""
    ways = link.proof.get("ways", ()) if link.proof is not None else ()
    for way in ways:
        if not isinstance(way, Mapping) or "delay_asked_us" not in way:
            continue
        ends = (link.first, link.second) if way.get("way") == "forward" else (link.second, link.first)
        for what, asked, measured in _proved(way):
            yield link.label, " > ".join(ends), what, asked, measured


def _proved(way: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    jitter = f" +- {_shown(way, 'jitter_asked_us', 'us')}" if way.get("jitter_asked_us") else ""
    least = _shown(way, "delay_min_us", "us")
    yield (
        "delay", f"{_shown(way, 'delay_asked_us', 'us')}{jitter}",
        f"median {_shown(way, 'delay_p50_us', 'us')} (min {least}, p90 {_shown(way, 'delay_p90_us', 'us')})",
    )  # fmt: skip
    yield "loss", _shown(way, "loss_asked_pct", "pct"), f"{way.get('lost', '?')} of {way.get('sent', '?')} packets"
    if way.get("rate_asked_bps") is not None:
        measured = _shown(way, "rate_bps", "bps")
        over = f" over {_shown(way, 'rate_over_us', 'us')}" if way.get("rate_bps") is not None else ""
        yield "rate", _shown(way, "rate_asked_bps", "bps"), measured + over
    if way.get("queue_asked_us") is not None:
        yield "queue", f"{_shown(way, 'queue_asked_us', 'us')} long", f"longest wait {_shown(way, 'queue_us', 'us')}"
    if way.get("reorder_asked_pct"):
        yield "reordering", _shown(way, "reorder_asked_pct", "pct"), f"{way.get('reordered', '?')} packets"
    if way.get("duplicate_asked_pct"):
        yield "duplicates", _shown(way, "duplicate_asked_pct", "pct"), f"{way.get('duplicated', '?')} packets"
    if way.get("policed_asked") is not None:
        yield (
            "policer", f"passes {way['policed_asked']} of {way.get('policed_sent', '?')}",
            f"{way.get('policed_passed', '?')} passed",
        )  # fmt: skip


def _shown(way: Mapping[str, Any], key: str, unit: str) -> str:
    value = way.get(key)
    return format_value(float(value), unit) if isinstance(value, (int, float)) else "not measured"
