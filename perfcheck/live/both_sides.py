"""What the difference between the ACK side and the send side means; pure rules, a sentence a quantity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from perfcheck.analyse.histogram import quantile
from perfcheck.live.perspectives import CWND, INFLIGHT, SRTT, Perspectives, Quantity, Side
from perfcheck.model.units import format_value

ALIKE: Final = 0.1
"""Medians that differ by no more of the larger one are alike: a bucket is 3 % wide, and both sides are samples."""
FULL: Final = 0.9
"""So much of the congestion window in flight when segments leave, and the window is used up."""
HALF: Final = 0.5
LOWER: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Medians:
    """Medians of both sides by quantity; None where one side has no samples."""

    srtt: tuple[float, float] | None = None
    inflight: tuple[float, float] | None = None
    cwnd: tuple[float, float] | None = None

    @classmethod
    def of(cls, seen: Perspectives) -> Medians:
        """Return the medians of a run."""
        return cls(srtt=_pair(seen, SRTT), inflight=_pair(seen, INFLIGHT), cwnd=_pair(seen, CWND))


def _pair(seen: Perspectives, quantity: Quantity) -> tuple[float, float] | None:
    ack, send = seen.of(quantity, Side.ACK), seen.of(quantity, Side.SEND)
    return None if ack is None or send is None else (quantile(ack, 0.5), quantile(send, 0.5))


def meanings(found: Medians) -> Mapping[str, str]:
    """Return, by quantity, what the difference of its medians means."""
    return dict(_meanings(found))


def _meanings(found: Medians) -> Iterator[tuple[str, str]]:
    if found.srtt is not None:
        yield SRTT.name, _of_srtt(*found.srtt)
    if found.inflight is not None:
        yield INFLIGHT.name, _of_inflight(*found.inflight, None if found.cwnd is None else found.cwnd[1])
    if found.cwnd is not None:
        yield CWND.name, _of_cwnd(*found.cwnd)


def _of_srtt(ack: float, send: float) -> str:
    if alike(ack, send):
        return "Alike: segments leave all along, and the sender's RTT is current when they do."
    ack_text, send_text = format_value(ack, "us"), format_value(send, "us")
    if send < ack:
        return (f"Lower when segments leave ({send_text}) than when ACKs arrive ({ack_text}): data leaves in bursts, "
                "before the queue that they make shows.")  # fmt: skip
    return (f"Higher when segments leave ({send_text}) than when ACKs arrive ({ack_text}): the sender works with an "
            "older RTT; many ACKs arrive close together (ACK compression), or it pauses between bursts.")  # fmt: skip


def _of_inflight(ack: float, send: float, cwnd: float | None) -> str:
    ack_text, send_text = _segs(ack), _segs(send)
    if cwnd is not None and send >= FULL * cwnd:
        if ack < LOWER * send:
            return (f"{send_text} when segments leave, near the window of {_segs(cwnd)}, and {ack_text} when ACKs "
                    "arrive: the congestion window limits.")  # fmt: skip
        return (f"{send_text} when segments leave and {ack_text} when ACKs arrive, near the window of {_segs(cwnd)}: "
                "each ACK lets the next segment go; the congestion window limits.")  # fmt: skip
    if cwnd is not None and send < HALF * cwnd:
        return (f"{send_text} when segments leave, well below the window of {_segs(cwnd)}: the application, a buffer "
                "or the receive window limits.")  # fmt: skip
    if alike(ack, send):
        return "Alike: segments leave evenly, as ACKs arrive or as pacing lets them."
    if send > ack:
        return (f"Higher when segments leave ({send_text}) than when ACKs arrive ({ack_text}): data leaves in bursts, "
                "and the flight drains in between.")  # fmt: skip
    return (f"Lower when segments leave ({send_text}) than when ACKs arrive ({ack_text}): the flight drains before "
            "more is sent; ACKs cover many segments, or the application pauses.")  # fmt: skip


def _of_cwnd(ack: float, send: float) -> str:
    if alike(ack, send):
        return "Alike: the window is steady while data leaves."
    if send < ack:
        return (f"Smaller when segments leave ({_segs(send)}) than when ACKs arrive ({_segs(ack)}): most data leaves "
                "before the window has grown (slow start, or after a cut).")  # fmt: skip
    return (f"Larger when segments leave ({_segs(send)}) than when ACKs arrive ({_segs(ack)}): most ACKs arrive "
            "after a cut of the window.")  # fmt: skip


def alike(one: float, other: float) -> bool:
    """Return whether two medians differ by no more than samples do."""
    return abs(one - other) <= max(ALIKE * max(one, other), 1.0)


def _segs(value: float) -> str:
    return f"{value:.0f} segments" if round(value) != 1 else "1 segment"
