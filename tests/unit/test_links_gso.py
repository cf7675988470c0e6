"""Super-packets in pieces: every way of cutting one must come to the same packets at the MTU."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from links_frames import ACK, CLIENT, CLIENT6, FIN, PSH, SERVER, SERVER6, SYN, checksum, tcp

from perfcheck.lab.links.impair.direction import ImpairedDirection
from perfcheck.lab.links.impair.gso import HEADER_BYTES, segments_in, super_of
from perfcheck.lab.links.impair.gso_direction import PIECE_NS, GsoDirection
from perfcheck.lab.links.impair.plan import DirectionPlan

HOSTS = [(CLIENT, SERVER), (CLIENT6, SERVER6)]
HEADER = struct.Struct("=BBHHHH")
NEEDS_CSUM = 1
CWR = 0x80


def transport_of(frame: bytes | bytearray) -> int:
    return 54 if frame[12:14] == b"\x86\xdd" else 34


def big(seq: int, length: int, size: int, hosts: tuple[str, str], flags: int = ACK) -> bytes:
    """Return a super-packet as a kernel would: the checksum field holds the pseudo-header's sum."""
    frame = bytearray(tcp(seq, length, flags=flags, hosts=hosts))
    at = transport_of(frame)
    six = at == 54
    pseudo = bytes(frame[at - 32 : at] if six else frame[at - 8 : at]) + struct.pack("!IxxxB", len(frame) - at, 6)
    frame[at + 16 : at + 18] = (~checksum(pseudo) & 0xFFFF).to_bytes(2, "big")
    kind = (4 if six else 1) if length > size else 0
    return HEADER.pack(NEEDS_CSUM, kind, at + 20, size if kind else 0, at, 16) + bytes(frame)


def finished(frame: bytes) -> bytes:
    """Complete one packet's checksum as a receiver's kernel would, and drop the virtio header."""
    flags, kind, _, _, start, offset = HEADER.unpack_from(frame)
    assert flags == NEEDS_CSUM
    assert kind == 0
    packet = bytearray(frame[HEADER_BYTES:])
    packet[start + offset : start + offset + 2] = checksum(bytes(packet[start:])).to_bytes(2, "big")
    return bytes(packet)


def expected(seq: int, length: int, size: int, hosts: tuple[str, str], flags: int) -> list[bytes]:
    """Return the packets at the MTU, made from nothing; IPv4's identification counts up from 0."""
    packets = []
    for number, begin in enumerate(range(0, length, size)):
        last = begin + size >= length
        own = flags & ~((0 if last else FIN | PSH) | (CWR if number else 0))
        packet = bytearray(tcp(seq + begin, min(size, length - begin), flags=own, hosts=hosts))
        if transport_of(packet) == 34:
            packet[18:20] = number.to_bytes(2, "big")
            packet[24:26] = b"\0\0"
            packet[24:26] = checksum(bytes(packet[14:34])).to_bytes(2, "big")
        packets.append(bytes(packet))
    return packets


def all_packets(frame: bytes) -> list[bytes]:
    found = super_of(frame)
    if found is None:
        return [finished(frame)]
    return [finished(found.cut(number, number + 1)) for number in range(found.count)]


@pytest.mark.parametrize("hosts", HOSTS)
@given(
    seq=st.integers(0, 2**32 - 1),
    size=st.integers(1, 200),
    segments=st.integers(2, 12),
    short=st.integers(0, 199),
    flags=st.sampled_from([ACK, ACK | PSH, ACK | FIN | PSH, ACK | CWR]),
    cuts=st.sets(st.integers(1, 11)),
)
def test_any_cutting_gives_the_same_packets(
    hosts: tuple[str, str], seq: int, size: int, segments: int, short: int, flags: int, cuts: set[int]
) -> None:
    length = size * segments - short % size
    frame = big(seq, length, size, hosts, flags)
    wanted = expected(seq, length, size, hosts, flags)
    assert all_packets(frame) == wanted
    found = super_of(frame)
    assert found is not None
    bounds = [0, *sorted(cut for cut in cuts if cut < found.count), found.count]
    pieces = [found.cut(begin, end) for begin, end in pairwise(bounds)]
    assert [packet for piece in pieces for packet in all_packets(piece)] == wanted
    assert sum(segments_in(piece) for piece in pieces) == found.count
    assert [found.wire_bytes(number) for number in range(found.count)] == [len(packet) for packet in wanted]


def test_what_is_one_packet_stays_one() -> None:
    assert super_of(big(1, 100, 200, HOSTS[0])) is None
    assert segments_in(big(1, 100, 200, HOSTS[0])) == 1
    assert segments_in(big(1, 1000, 100, HOSTS[0])) == 10


LOSS = {"to_bad": 0.05, "to_good": 0.3, "bad_loss": 1.0, "good_loss": 0.01}


def plan(**fields: Any) -> DirectionPlan:
    return DirectionPlan(**{"direction": 0, "seed": 3, "mtu": 1500} | fields)


@pytest.mark.parametrize("hosts", HOSTS)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(0, 1000))
def test_segments_are_lost_as_single_packets_are(hosts: tuple[str, str], trains: list[int], seed: int) -> None:
    size = 1460 if transport_of(tcp(1, 1, hosts=hosts)) == 34 else 1440
    whole, single = GsoDirection(plan(loss=LOSS, seed=seed)), ImpairedDirection(plan(loss=LOSS, seed=seed))
    start = tcp(99, 0, flags=SYN, hosts=hosts)
    whole.accept(HEADER.pack(0, 0, 0, 0, 0, 0) + start, 0)
    single.accept(start, 0)
    seq = 100
    for segments in trains:
        whole.accept(big(seq, segments * size, size, hosts), 0)
        for number in range(segments):
            single.accept(tcp(seq + number * size, size, hosts=hosts), 0)
        seq += segments * size

    def sequence_numbers(frames: list[bytes]) -> list[int]:
        at = transport_of(start)
        return [int.from_bytes(frame[at + 4 : at + 8], "big") for frame in frames]

    arrived = [packet for _, frame in whole.line for packet in (all_packets(frame) if frame[0] else [frame[10:]])]
    assert sequence_numbers(arrived) == sequence_numbers([frame for _, frame in single.line])
    for name in ("received", "received_bytes", "dropped_loss"):
        assert getattr(whole.counts, name) == getattr(single.counts, name)
    assert whole.in_flight() == len(single.line)


@given(
    st.lists(st.tuples(st.integers(0, 2_000_000), st.integers(1, 44)), min_size=1, max_size=20),
    st.integers(5_000, 300_000),
)
def test_the_line_sends_segments_as_it_sends_packets(arrivals: list[tuple[int, int]], limit: int) -> None:
    whole = GsoDirection(plan(rate_bps=1_000_000_000, queue_bytes=limit, delay_ns=1000))
    single = ImpairedDirection(plan(rate_bps=1_000_000_000, queue_bytes=limit, delay_ns=1000))
    now, seq = 0, 1
    for gap, segments in arrivals:
        now += gap
        whole.accept(big(seq, segments * 1460, 1460, HOSTS[0]), now)
        for number in range(segments):
            single.accept(tcp(seq + number * 1460, 1460), now)
        seq += segments * 1460
    assert whole.counts.dropped_queue == single.counts.dropped_queue
    assert whole.worst_queue_bytes() == single.worst_queue_bytes()
    dues = [due for due, frame in whole.line for _ in range(segments_in(frame))]
    for due, (own, _) in zip(dues, single.line, strict=True):
        assert own <= due <= own + PIECE_NS
    assert dues == sorted(dues)


def test_segments_beyond_the_mtu_are_told() -> None:
    direction = GsoDirection(plan())
    direction.accept(big(1, 3 * 1461, 1461, HOSTS[0]), 0)
    direction.accept(big(1, 3 * 1460, 1460, HOSTS[0]), 0)
    direction.accept(HEADER.pack(0, 0, 0, 0, 0, 0) + bytes(1515), 0)
    assert direction.counts.oversize == 4
