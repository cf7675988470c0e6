"""The lines above the table: what is watched and when, its figures, the diagnosis, alerts, what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from perfcheck.live.alerts import Alert, AlertState
from perfcheck.live.short_values import short
from perfcheck.live.wording import count, left_out, lost, without_room
from perfcheck.model.causes import HEALTHY
from perfcheck.model.units import readable_pct
from perfcheck.screen.clock import Clock
from perfcheck.screen.frame import Frame, Judgement
from perfcheck.screen.lines import Line, Span, both_sides, fitted, shown_text, wrapped_items
from perfcheck.screen.look import Look, Tone

_WHOLE_SECONDS: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the view stands: `state` is what happens, in words; it is `calm` while the view is the newest."""

    state: str
    calm: bool


def header_lines(
    frame: Frame | None, title: str, position: Position, clock: Clock, look: Look, width: int
) -> list[Line]:
    """Return the lines; without a frame, the title alone."""
    state: Span = (position.state, Tone.GOOD if position.calm else Tone.WARN)
    if frame is None:
        return [both_sides((*_title(title, look),), (state,), width)]
    when = clock.text(frame.at_ns, tenths=frame.seconds < _WHOLE_SECONDS)
    right: Line = ((f"{when}  #{frame.number}  ", Tone.PLAIN), state)
    made = [both_sides(_title(title, look), right, width), *wrapped_items([*_figures(frame)], width)]
    made.append(fitted(_diagnosis(frame.judgement, frame), width))
    made.append(fitted(_alerts(frame, look), width))
    made += [fitted(((text, Tone.WARN),), width) for text in missing(frame)]
    return made


def _title(title: str, look: Look) -> Line:
    return ("perfctl top", Tone.TITLE), ("  ", Tone.PLAIN), (shown_text(title, wide=look.wide), Tone.PLAIN)


def _figures(frame: Frame) -> Iterator[Line]:
    head = frame.headline
    came = f" +{head.opened:,} -{head.ended:,}" if head.opened or head.ended else ""
    yield (f"{head.flows:,}", Tone.STRONG), (" connections", Tone.LABEL), (came, Tone.PLAIN)
    yield (
        ("out ", Tone.LABEL), (f"{_rate(head.send_bps)}bit/s", Tone.STRONG),
        (" in ", Tone.LABEL), (f"{_rate(head.receive_bps)}bit/s", Tone.STRONG),
    )  # fmt: skip
    lost_share = readable_pct(head.retrans_pct, 2)
    yield ("retransmitted ", Tone.LABEL), (lost_share, Tone.BAD if head.retrans_pct > 0 else Tone.STRONG)
    yield (
        ("RTT p50 ", Tone.LABEL), (short(head.rtt_p50_us, "us"), Tone.STRONG),
        (" p99 ", Tone.LABEL), (short(head.rtt_p99_us, "us"), Tone.STRONG),
    )  # fmt: skip
    yield ("perfctl ", Tone.LABEL), (readable_pct(frame.accounting.cpu_pct, 2), Tone.STRONG), (" of a CPU", Tone.LABEL)


def _rate(bps: float) -> str:
    text = short(bps, "bps")
    return f"{text[:-1]} {text[-1]}" if text[-1:].isalpha() else f"{text} "


def _diagnosis(found: Judgement | None, frame: Frame) -> Line:
    if found is None:
        return ("diagnosis ", Tone.LABEL), ("after some intervals", Tone.DIM)
    first, _, rest = found.text.partition(", ")
    tone = Tone.GOOD if found.causes[0].cause == HEALTHY else Tone.WARN
    ago = frame.number - found.number
    when = f"   of {count(found.looks, 'interval')}{f', {ago:,} ago' if ago else ''}"
    return ("diagnosis ", Tone.LABEL), (first, tone), (f", {rest}" if rest else "", Tone.PLAIN), (when, Tone.DIM)


def raised(frame: Frame) -> list[Alert]:
    """Return the alerts that are raised, the newest first."""
    found = [alert for alert in frame.alerts if alert.state is not AlertState.CLEARED]
    return sorted(found, key=lambda alert: alert.since_ns, reverse=True)


def _alerts(frame: Frame, look: Look) -> Line:
    found = raised(frame)
    if not found:
        return ("alerts    ", Tone.LABEL), ("none", Tone.DIM)
    more = f" (1 of {len(found)}, a: all)" if len(found) > 1 else ""
    text = shown_text(found[0].text.partition(" (id ")[0], wide=look.wide)
    return ("alerts    ", Tone.LABEL), (f"ALERT{more} ", Tone.ALARM), (text, Tone.PLAIN)


def missing(frame: Frame) -> Iterator[str]:
    """Yield what the interval does not hold."""
    told = frame.accounting
    if told.refused:
        yield without_room(told.refused)
    if told.lost:
        yield lost(told.lost)
    if told.shed:
        yield left_out(told.shed)
