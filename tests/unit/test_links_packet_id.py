"""A packet's id: the same in two runs whose timing differs, and never shared by two packets."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from links_frames import ACK, CLIENT6, FIN, SERVER6, SYN, packet, tcp, udp

from perfcheck.lab.links.impair.packet_id import PacketIds
from perfcheck.lab.links.impair.prf import fold, fold_bytes, mix64, threshold, unit

MSS = 1460
SEEDS = st.integers(0, 2**32 - 1)


def keys_of(frames: Iterable[bytes], seed: int = 1, direction: int = 0) -> list[int]:
    """Return the keys of a run's frames."""
    packet_ids = PacketIds(seed, direction, 1500)
    found = [packet_ids.identify(frame) for frame in frames]
    return [packet_id[0] for packet_id in found if packet_id is not None]


def segments(bounds: list[int], isn: int = 1000) -> list[bytes]:
    """Return a connection's data segments, cut at these offsets."""
    syn = tcp(isn, 0, flags=SYN)
    return [syn, *(tcp(isn + 1 + start, end - start) for start, end in pairwise(bounds))]


@given(SEEDS, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_connections_random_numbers_do_not_matter(seed: int, isn: int, other_isn: int) -> None:
    bounds = [n * MSS for n in range(20)]
    assert keys_of(segments(bounds, isn), seed) == keys_of(segments(bounds, other_isn), seed)


def test_the_client_port_does_not_matter_but_the_service_does() -> None:
    def run(client: int, server: int) -> list[int]:
        return keys_of([tcp(1, 0, flags=SYN, ports=(client, server)), tcp(2, 100, ports=(client, server))])

    assert run(40000, 5201) == run(51234, 5201)
    assert set(run(40000, 5201)).isdisjoint(run(40000, 5202))


@given(SEEDS, st.lists(st.integers(1, MSS), min_size=1, max_size=60))
def test_acks_and_repeats_shift_nothing(seed: int, sizes: list[int]) -> None:
    bounds = [sum(sizes[:n]) for n in range(len(sizes) + 1)]
    plain = segments(bounds)
    disturbed = []
    for number, frame in enumerate(plain):
        disturbed += [frame, tcp(1000 + bounds[number], 0, ack=number * 7)]
        if number > 1 and number % 3 == 0:
            disturbed.append(plain[number - 1])
    kept = keys_of(plain, seed)
    seen = keys_of(disturbed, seed)
    assert len(set(kept)) == len(kept)
    assert set(kept) <= set(seen)


@given(st.lists(st.integers(1, 3 * MSS), min_size=1, max_size=60))
def test_no_two_segments_share_a_place(sizes: list[int]) -> None:
    bounds = [sum(sizes[:n]) for n in range(len(sizes) + 1)]
    keys = keys_of(segments(bounds))
    assert len(set(keys)) == len(keys)


@given(st.integers(1, MSS - 1), st.integers(1, 10))
def test_full_segments_keep_their_places_behind_an_odd_one(odd: int, before: int) -> None:
    straight = segments([n * MSS for n in range(30)])
    cuts = [n * MSS for n in range(before + 1)] + [before * MSS + odd + n * MSS for n in range(20)]
    shifted = segments(cuts)
    common = set(keys_of(straight)) & set(keys_of(shifted))
    assert len(common) >= 1 + before + 19


def test_a_segment_sent_again_has_a_new_place_each_time() -> None:
    frames = [*segments([0, MSS, 2 * MSS]), *[tcp(1001, MSS)] * 5]
    keys = keys_of(frames)
    assert len(set(keys)) == len(frames)
    packet_ids = PacketIds(1, 0, 1500)
    identified = [packet_ids.identify(frame) for frame in frames]
    assert [packet_id[2] for packet_id in identified if packet_id] == [
        False,
        False,
        False,
        True,
        True,
        True,
        True,
        True,
    ]


def test_sequence_numbers_wrap() -> None:
    near_end = 2**32 - 5 * MSS
    count = 20
    bounds = [n * MSS for n in range(count)]
    assert keys_of(segments(bounds, near_end)) == keys_of(segments(bounds, 77))


def test_a_reused_port_is_a_new_flow() -> None:
    first = segments([0, MSS])
    second = segments([0, MSS], isn=99999)
    keys = keys_of(first + second)
    assert len(set(keys)) == 4


def test_the_ways_and_seeds_differ() -> None:
    frames = segments([0, MSS, 2 * MSS])
    runs = [keys_of(frames, seed, direction) for seed in (1, 2) for direction in (0, 1)]
    assert len({key for run in runs for key in run}) == 4 * len(frames)


def test_acks_are_placed_by_what_they_acknowledge() -> None:
    def run(server_isn: int, acked: list[int]) -> list[int]:
        handshake = [tcp(1, 0, flags=SYN, ack=0), tcp(2, 0, ack=server_isn + 1)]
        return keys_of([*handshake, *(tcp(2, 0, ack=server_isn + 1 + offset) for offset in acked)])

    every_second = run(500, [2000, 4000, 6000])
    assert set(every_second) <= set(run(2**32 - 3, [1000, 2000, 3000, 4000, 5000, 6000]))
    repeated = run(500, [2000, 2000, 2000])
    assert len(set(repeated)) == 5


def test_other_packets_are_placed_by_their_ordinal() -> None:
    icmp = packet(1, b"\x08\0\0\0abcd", "198.18.0.1", "198.18.0.2", None)
    later_fragment = packet(17, b"x" * 64, "198.18.0.1", "198.18.0.2", None, fragment=100)
    v6 = udp(30, hosts=(CLIENT6, SERVER6))
    fin = tcp(5, 0, flags=FIN | ACK)
    frames = [icmp, later_fragment, v6, udp(30), fin] * 3
    keys = keys_of(frames)
    assert len(set(keys)) == len(frames)
    assert keys_of([v6, v6, v6]) == [keys[2], keys[7], keys[12]]


def test_addresses_keep_flows_of_two_hosts_apart_in_ipv6() -> None:
    one = keys_of([udp(8, hosts=("2001:2::1", "2001:2::9"))])
    two = keys_of([udp(8, hosts=("2001:2::2", "2001:2::9"))])
    assert one != two


def test_the_labs_own_neighbour_discovery_is_spared() -> None:
    arp = b"\xff" * 6 + b"\x02\0\0\0\0\x01" + b"\x08\x06" + b"\0" * 28
    solicitation = packet(58, b"\x87\0\0\0" + b"\0" * 20, CLIENT6, SERVER6, 2)
    echo = packet(58, b"\x80\0\0\0" + b"\0" * 20, CLIENT6, SERVER6, 2)
    packet_ids = PacketIds(1, 0, 1500)
    assert packet_ids.identify(arp) is None
    assert packet_ids.identify(solicitation) is None
    assert packet_ids.identify(echo) is not None


@pytest.mark.parametrize("length", [0, 13, 14, 20, 33, 40])
def test_short_frames_have_places_too(length: int) -> None:
    for ethertype in (b"\x08\x00", b"\x86\xdd"):
        frame = (bytes(12) + ethertype + b"\x45" + bytes(30))[:length]
        assert PacketIds(1, 0, 1500).identify(frame) is not None


@given(st.lists(st.integers(0, 2**70), min_size=2, max_size=50, unique_by=lambda value: value % 2**64))
def test_mixing_is_one_to_one_in_64_bits(values: list[int]) -> None:
    assert len({mix64(value) for value in values}) == len(values)


def test_drawn_numbers_are_even() -> None:
    count = 20_000
    draws = [unit(mix64(number), 3) for number in range(count)]
    assert abs(sum(draws) / count - 0.5) < 5 * (1 / 12 / count) ** 0.5
    assert abs(sum(fold(number, 9) < threshold(0.01) for number in range(count)) - 200) < 5 * 200**0.5
    assert fold_bytes(1, b"abcdefgh" * 3) != fold_bytes(1, b"abcdefgh" * 2 + b"abcdefgi")
