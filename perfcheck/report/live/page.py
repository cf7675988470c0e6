"""The page of a watch: what was seen in words, how it went over time, why, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfcheck.live.alerts import Alert, AlertState
from perfcheck.model.causes import HEALTHY
from perfcheck.model.event import utc_text
from perfcheck.report.causes import all_causes, words_of
from perfcheck.report.charts.cumulated import cumulated
from perfcheck.report.charts.lines import Labels
from perfcheck.report.charts.spans import Span, spans
from perfcheck.report.document import (
    Badge,
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Facts,
    Figures,
    Fold,
    Paragraph,
    Section,
    Table,
    Tone,
)
from perfcheck.report.live.alarms import MOST
from perfcheck.report.live.courses import course_charts, limits_chart, rtt_heatmap
from perfcheck.report.live.flows import flow_blocks
from perfcheck.report.live.gathering import Gathering
from perfcheck.report.live.stretch import Stretch, whole_of
from perfcheck.report.live.words import (
    Findings,
    accounting,
    drop_table,
    not_measured,
    retransmission_table,
    summary,
)
from perfcheck.version import VERSION

_NS: Final = 1e9
_SECOND: Final = 19
"""Characters of a time of day up to the second."""
_LASTED: Final = "was cleared"
_STILL: Final = "still raised at the end"


def document(gathering: Gathering) -> Document:
    """Return the page; ValueError where no interval was over."""
    if not gathering.seen:
        raise ValueError("no interval")
    whole = whole_of(gathering.stretches)
    found = _findings(gathering)
    return Document(
        title=f"perfctl {gathering.watch.command}", subtitle=f"from {_clock(gathering, whole.begin_ns)} "
        f"to {_clock(gathering, whole.end_ns)} (UTC)", badge=_badge(gathering, found),
        lead=(Paragraph(text=summary(gathering, whole, found), tone=_tone(gathering, found)), _watch(gathering)),
        sections=tuple(_sections(gathering, whole, found)), footer=f"perfcheck {VERSION}",
    )  # fmt: skip


def _clock(gathering: Gathering, ns: int) -> str:
    return utc_text(ns + gathering.epoch_ns)[:_SECOND].replace("T", " ")


def _tone(gathering: Gathering, found: Findings) -> Tone:
    if gathering.alarms.raised:
        return Tone.WARNING
    return Tone.GOOD if found.whole is not None and found.whole.cause == HEALTHY else Tone.INFO


def _badge(gathering: Gathering, found: Findings) -> Badge | None:
    told = found.telling
    if told is None:
        return None
    is_well = told.cause == HEALTHY and not gathering.alarms.raised
    return Badge(text=words_of(told.cause), tone=Tone.GOOD if is_well else Tone.WARNING)


def _findings(gathering: Gathering) -> Findings:
    times_ns = gathering.alarms.times_ns
    return Findings(
        whole=gathering.course.diagnosed(part=gathering.part),
        alarmed=gathering.course.diagnosed(part=gathering.part, times_ns=times_ns) if times_ns else None,
    )


def _watch(gathering: Gathering) -> Facts:
    watch = gathering.watch
    filters = " ".join(f"{name} {value}" for name, value in watch.filters.items())
    layers = watch.request.layers
    pairs = [
        ("watched", f"the recording {watch.recording}" if watch.recording else "this machine, live"),
        ("filters", filters or "none: all connections"),
        ("layers", layers if isinstance(layers, str) else ", ".join(layers)), ("mode", watch.request.mode),
    ]  # fmt: skip
    if watch.request.netns:
        pairs.insert(1, ("network namespaces", ", ".join(watch.request.netns)))
    return Facts(pairs=tuple(pairs))


def _sections(gathering: Gathering, whole: Stretch, found: Findings) -> Iterator[Section]:
    yield Section(anchor="over-time", title="Over time", blocks=(Figures(charts=course_charts(gathering)),))
    causes = tuple(_causes(found))
    if len(causes) == 1:
        yield Section(anchor="causes", title="Causes", blocks=causes[0].blocks)
    elif causes:
        yield Section(anchor="causes", title="Causes", sections=causes)
    yield Section(anchor="alerts", title="Alerts", blocks=_alerts(gathering, whole))
    yield Section(anchor="connections-section", title="Connections", blocks=tuple(_connections(gathering)))
    rtt = _rtt(gathering, whole)
    if rtt:
        yield Section(anchor="rtt", title="Round trip times", blocks=rtt)
    tables = tuple(table for table in (retransmission_table(whole), drop_table(whole)) if table is not None)
    yield Section(
        anchor="losses", title="Retransmissions and drops",
        blocks=tables or (Paragraph(text="Nothing was retransmitted, and no drop was seen."),),
    )  # fmt: skip
    yield Section(anchor="accounting", title="Accounting", blocks=tuple(_accounting(gathering, whole)))


def _causes(found: Findings) -> Iterator[Section]:
    parts = (("alarmed", "While alerts were raised", found.alarmed), ("whole", "All of the time", found.whole))
    for anchor, title, told in parts:
        if told is None:
            continue
        blocks = all_causes(told.causes)
        if told.account:
            tree = Code(text="\n".join(told.account))
            blocks = (*blocks, Fold(summary="the decision tree", blocks=(tree,), printed=False))
        yield Section(anchor=f"causes-{anchor}", title=title, blocks=blocks)


def _connections(gathering: Gathering) -> Iterator[Block]:
    limits = limits_chart(gathering)
    if limits is not None:
        yield Figures(charts=(limits,))
    yield from flow_blocks(gathering)


def _rtt(gathering: Gathering, whole: Stretch) -> tuple[Block, ...]:
    if whole.rtt is None:
        return ()
    labels = Labels(name="rtt-distribution", title="Round trip times of all connections", quantity="tcp.rtt_us",
                    unit="us")  # fmt: skip
    charts = [cumulated(labels, whole.rtt), rtt_heatmap(gathering)]
    return (Figures(charts=tuple(chart for chart in charts if chart is not None)),)


def _alerts(gathering: Gathering, whole: Stretch) -> tuple[Block, ...]:
    alarms = gathering.alarms.told
    if not alarms:
        return (Paragraph(text="No alert was raised.", tone=Tone.GOOD),)
    raised = sum(gathering.alarms.raised.values())
    found = [
        Span(
            kind=one.rule, begin_s=_since(gathering, one), end_s=(one.now_ns - gathering.begin_ns) / _NS,
            word=_LASTED if _is_over(one) else _STILL, tone=_tone_of(one), detail=one.text,
        )
        for one in alarms
    ]  # fmt: skip
    labels = Labels(name="alert-times", title="Alerts over time", quantity="", unit="")
    chart = spans(labels, found, whole_s=(0.0, (whole.end_ns - gathering.begin_ns) / _NS))
    more = f"the latest {MOST} of {raised:,} alerts" if raised > len(alarms) else ""
    rows = tuple(_alarm(gathering, one) for one in alarms)
    headings = ("rule", "whom", "from (s)", "lasted (s)", "says")
    table = Table(headings=headings, rows=rows, numeric=frozenset({2, 3}), caption=more)
    return (Figures(charts=(chart,)), table)


def _alarm(gathering: Gathering, alert: Alert) -> tuple[Cell, ...]:
    return (
        Cell(text=alert.rule, tone=_tone_of(alert)), Cell(text=alert.subject.label),
        Cell(text=f"{_since(gathering, alert):.3f}"), Cell(text=f"{alert.seconds:.3f}"), Cell(text=alert.text),
    )  # fmt: skip


def _is_over(alert: Alert) -> bool:
    return alert.state is AlertState.CLEARED


def _tone_of(alert: Alert) -> Tone:
    return Tone.WARNING if _is_over(alert) else Tone.BAD


def _since(gathering: Gathering, alert: Alert) -> float:
    return (alert.since_ns - gathering.begin_ns) / _NS


def _accounting(gathering: Gathering, whole: Stretch) -> Iterator[Block]:
    yield accounting(gathering, whole)
    lacking = not_measured(whole)
    if lacking:
        yield Paragraph(text="What could not be measured here:")
        yield Bullets(items=lacking, tone=Tone.WARNING)
    if gathering.watch.reproduce:
        yield Code(text=gathering.watch.reproduce, copied=True)
