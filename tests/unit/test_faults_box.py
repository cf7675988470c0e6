"""The hop in user space that faults are made of: what it drops, delays, marks and lets overtake."""

from __future__ import annotations

import argparse
import struct
import sys
import time
from itertools import pairwise
from typing import Any

import pytest

from perfcheck.faults.programs import box

SYN, ACK = 0x02, 0x10


def made(**changed: Any) -> box.Box:
    options = vars(box.parsed()) | changed
    return box.Box(argparse.Namespace(**options))


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["box.py"])


def ipv4(number: int, *, size: int = 1000, flags: int = ACK, ecn: int = 0) -> bytes:
    header = bytearray(struct.pack("!BBHHHBBHII", 0x45, ecn, size, number, 0, 64, 6, 0, 0x0A000001, 0x0A000002))
    header[10:12] = struct.pack("!H", box.checksum(header))
    tcp = struct.pack("!HHIIBBHHH", 1, 2, number, 0, 0x50, flags, 0, 0, 0)
    return bytes(header) + tcp + bytes(size - 40)


def ipv6(*, flags: int = ACK, ecn: int = 0) -> bytes:
    header = struct.pack("!IHBB", 6 << 28 | ecn << 20, 60, 6, 64) + bytes(32)
    return header + struct.pack("!HHIIBBHHH", 1, 2, 0, 0, 0x50, flags, 0, 0, 0) + bytes(40)


def numbers(packets: list[bytes]) -> list[int]:
    return [struct.unpack("!H", each[4:6])[0] for each in packets]


def sent(hop: box.Box, count: int, *, gap_s: float = 0.001, size: int = 1000) -> list[tuple[float, int]]:
    """Return when each packet of a steady stream left, in milliseconds, and which it was."""
    left: list[tuple[float, int]] = []
    begun = time.monotonic()
    steps = int((count * gap_s + 2) / 0.0005)
    taken = 0
    for step in range(steps):
        now = begun + step * 0.0005
        while taken < count and now >= begun + taken * gap_s:
            hop.take(ipv4(taken, size=size), now)
            taken += 1
        left += [(round((now - begun) * 1e3, 1), number) for number in numbers(hop.due(now))]
    return left


def test_without_options_all_passes_at_once_and_in_order() -> None:
    left = sent(made(), 50)
    assert [number for _, number in left] == list(range(50))
    assert all(when == pytest.approx(number, abs=0.6) for when, number in left)


def test_a_share_vanishes() -> None:
    assert 900 < len(sent(made(drop=0.05), 1000)) < 975


def test_long_packets_vanish() -> None:
    assert not sent(made(longest=999), 10)
    assert len(sent(made(longest=1000), 10)) == 10


def test_a_policer_lets_the_burst_and_its_rate_pass_without_a_delay() -> None:
    left = sent(made(police=4_000_000, burst=20_000), 1000)  # It is offered 8 Mbit/s.
    assert 500 <= len(left) <= 540
    assert all(when == pytest.approx(number, abs=0.6) for when, number in left)


def test_a_shaper_delays_up_to_its_queue_and_drops_the_rest() -> None:
    left = sent(made(bit_per_s=4_000_000, queue=20_000), 1000)
    assert 500 <= len(left) <= 540
    delays = [when - number for when, number in left]
    assert max(delays) == pytest.approx(40, abs=3)


def test_jitter_and_pauses_keep_the_order() -> None:
    for hop in (made(jitter_ms=5), made(work_ms=50, pause_ms=20)):
        left = sent(hop, 400)
        assert [number for _, number in left] == list(range(400))
        assert max(when - number for when, number in left) > 12


def test_late_packets_are_overtaken() -> None:
    left = sent(made(late=0.05, late_ms=20), 400)
    order = [number for _, number in left]
    assert sorted(order) == list(range(400))
    assert 5 < sum(one > other for one, other in pairwise(order)) < 60


def test_each_nth_packet_lets_others_pass() -> None:
    order = [number for _, number in sent(made(swap_every=10, swap_by=4), 100)]
    assert sorted(order) == list(range(100))
    assert order[9:14] == [10, 11, 12, 13, 9]


def test_the_last_swapped_packet_does_not_stay() -> None:
    assert [number for _, number in sent(made(swap_every=10, swap_by=4), 10)] == list(range(10))


@pytest.mark.parametrize(
    ("packet", "is_one"),
    [(ipv4(1, flags=SYN), True), (ipv4(1, flags=SYN | ACK), False), (ipv6(flags=SYN), True), (ipv6(), False)],
)
def test_it_knows_the_first_packet_of_a_handshake(packet: bytes, *, is_one: bool) -> None:
    assert box.is_syn(packet) is is_one


def test_a_mark_keeps_the_checksum_right_and_spares_what_takes_none() -> None:
    changed = box.marked(ipv4(3, ecn=2))
    assert changed[1] == 3
    assert box.checksum(changed[:20]) == 0
    assert box.marked(ipv4(3)) == ipv4(3)
    assert box.marked(ipv6(ecn=1))[1] == 0x30
    assert box.marked(ipv6()) == ipv6()
