"""CoDel's law against its own definition, and marks that leave a packet whole."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from links_frames import CLIENT, CLIENT6, SERVER, SERVER6, checksum, tcp, udp

from perfcheck.lab.links.impair.codel import INTERVAL_NS, TARGET_NS, CoDel
from perfcheck.lab.links.impair.direction import ImpairedDirection
from perfcheck.lab.links.impair.mark import ecn_capable, marked
from perfcheck.lab.links.impair.plan import DirectionPlan

MS = 1_000_000


def with_ecn(frame: bytes, codepoint: int) -> bytes:
    """Set the ECN field of a frame and mend IPv4's checksum from nothing."""
    changed = bytearray(frame)
    if frame[12:14] == b"\x86\xdd":
        changed[15] = (changed[15] & 0xCF) | codepoint << 4
        return bytes(changed)
    changed[15] = (changed[15] & 0xFC) | codepoint
    changed[24:26] = b"\0\0"
    changed[24:26] = checksum(bytes(changed[14:34])).to_bytes(2, "big")
    return bytes(changed)


def marks_at(waits: dict[int, int], until_ms: int) -> list[int]:
    """Return the ms at which the law marks when one packet a ms has waited so long (ns, from each ms on)."""
    law = CoDel()
    waited, times = 0, []
    for ms in range(until_ms):
        waited = waits.get(ms, waited)
        if law.tells(ms * MS, waited):
            times.append(ms)
    return times


def test_a_short_queue_is_never_marked() -> None:
    assert marks_at({0: TARGET_NS - 1}, 5000) == []


def test_a_queue_that_is_short_once_an_interval_is_never_marked() -> None:
    waits = {ms: (0 if ms % 90 == 0 else 50 * MS) for ms in range(5000)}
    assert marks_at(waits, 5000) == []


def test_a_standing_queue_is_marked_ever_more_often() -> None:
    times = marks_at({0: 20 * MS}, 3000)
    assert times[0] == 100
    # RFC 8289, 3.4: the n-th gap is the interval over the square root of n.
    due = float(times[0])
    for number, (one, other) in enumerate(pairwise(times), start=1):
        due += 100 / sqrt(number)
        assert other == pytest.approx(due, abs=1.5), number
        assert other > one


def test_marking_goes_on_where_it_left_off() -> None:
    waits = {0: 20 * MS, 1500: 0, 1510: 20 * MS}
    times = marks_at(waits, 2500)
    before = [ms for ms in times if ms < 1500]
    again = [ms for ms in times if ms >= 1500]
    assert again[0] == 1610
    assert again[1] - again[0] <= INTERVAL_NS / MS / sqrt(len(before) - 2) + 1


@pytest.mark.parametrize("hosts", [(CLIENT, SERVER), (CLIENT6, SERVER6)])
@given(size=st.integers(1, 40), codepoint=st.integers(1, 3), seq=st.integers(0, 2**32 - 1))
def test_a_mark_changes_the_field_and_its_checksum_only(
    hosts: tuple[str, str], size: int, codepoint: int, seq: int
) -> None:
    frame = with_ecn(tcp(seq, size, hosts=hosts), codepoint)
    assert marked(frame) == with_ecn(frame, 3)


def test_only_some_packets_can_be_marked() -> None:
    assert not ecn_capable(udp(10))
    assert not ecn_capable(udp(10, hosts=(CLIENT6, SERVER6)))
    assert not ecn_capable(b"\xff" * 12 + b"\x08\x06" + bytes(28))
    for codepoint in (1, 2, 3):
        assert ecn_capable(with_ecn(udp(10), codepoint))
        assert ecn_capable(with_ecn(udp(10, hosts=(CLIENT6, SERVER6)), codepoint))


def direction_of(**fields: Any) -> ImpairedDirection:
    return ImpairedDirection(DirectionPlan(direction=0, seed=5, mtu=1500, ecn=True, **fields))


def test_loss_marks_who_understands_and_drops_the_others() -> None:
    loss = {"to_bad": 0.0, "to_good": 1.0, "bad_loss": 1.0, "good_loss": 0.5}
    capable, other = direction_of(loss=loss), direction_of(loss=loss)
    for _ in range(1000):
        capable.accept(with_ecn(udp(10), 2), 0)
        other.accept(udp(10), 0)
    assert capable.counts.marked == other.counts.dropped_loss > 400
    assert capable.counts.dropped_loss == other.counts.marked == 0
    assert sum(frame == with_ecn(udp(10), 3) for _, frame in capable.line) == capable.counts.marked


def test_a_standing_queue_marks_and_a_full_one_drops() -> None:
    direction = direction_of(rate_bps=12_112_000, queue_packets=20)
    frame = with_ecn(udp(1472), 2)
    for ms in range(2000):
        # One packet a ms is the line's rate; now and then two, until the queue is full and stays so.
        for _ in range(2 if ms % 10 == 0 else 1):
            direction.accept(frame, ms * MS)
    assert direction.counts.dropped_queue > 100
    assert 30 < direction.counts.marked < 500
    direction = direction_of(rate_bps=12_112_000, queue_packets=20)
    for ms in range(2000):
        direction.accept(udp(1472), ms * MS // 2)
    assert direction.counts.marked == 0
