"""From the kernel's records, and from sock_diag's messages, to the model's sockets."""

from __future__ import annotations

import socket
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.collect.base import histogram
from perfcheck.collect.sockdiag import host, tcp_info
from perfcheck.collect.tcp import collector, decode
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import TcpSocket

SECOND = 1_000_000_000
COUNTS = dict.fromkeys(
    (
        "bytes_acked", "bytes_received", "segs_out", "data_segs_out", "retrans_segs", "lost_segs", "delivered_segs",
        "delivered_ce_segs", "dsack_dups_segs", "reord_seen_events", "ooo_segs", "busy_jiffies", "rwnd_limited_jiffies",
        "sndbuf_limited_jiffies",
    ),
    0,
)  # fmt: skip
COUNTS_TYPE = np.dtype([(name, "u8" if name.startswith("bytes") else "u4") for name in COUNTS] + [("__pad_end", "S4")])
WINDOW_EVENTS = dict.fromkeys(("retrans_fast_segs", "retrans_rto_segs", "retrans_tlp_segs"), 0)
WHOLE_EVENTS = dict.fromkeys(("retrans_syn_segs", "resets", "resets_late", "resets_sent"), 0)
SPREAD = np.dtype([("total", "u8"), ("minimum", "u4"), ("maximum", "u4")])
SETS = np.zeros(
    1,
    dtype=[
        ("segs", [("cwnd", "u4"), ("inflight", "u4")], (histogram.SEGS_BUCKETS,)),
        ("times", [("rtt", "u4"), ("srtt", "u4")], (histogram.RTT_BUCKETS,)),
        ("slow_start", [("slow_rtt", "u4")], (histogram.RTT_BUCKETS,)),
    ],
)
NAMES = ("rtt", "srtt", "cwnd", "inflight", "slow_rtt")


def counts(values: dict[str, int]) -> np.void:
    return np.array([(*(values[name] for name in COUNTS), b"")], COUNTS_TYPE)[0]  # type: ignore[no-any-return]


def events(names: dict[str, int], values: dict[str, int]) -> np.void:
    return np.array([tuple((names | values).values())], [(name, "u4") for name in names])[0]  # type: ignore[no-any-return]


def record(
    base: dict[str, int] = COUNTS, now: dict[str, int] = COUNTS, window_events: dict[str, int] = WINDOW_EVENTS,
    whole_events: dict[str, int] = WHOLE_EVENTS, **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return a connecting socket that was open for 5 s, measured from 2 s to 4.5 s, without any event in it."""
    return {
        "cookie": 77, "window_at_ns": 2 * SECOND, "last_ns": 4 * SECOND + SECOND // 2, "pacing_total": 0,
        "pacing_samples": 0, "histogram": 0, "snd_wnd_bytes": 65536, "window_ns": 2 * SECOND,
        "syn_ns": SECOND - 20_000, "established_ns": SECOND, "end_ns": 5 * SECOND, "state_ns": [0] * 5,
        "state_since_ns": 2 * SECOND, "state_entries": [0] * 5, "state": 0, "netns": 42, "handshake_us": 20,
        "synack_rtt_us": 0, "min_rtt_us": 19_900, "rttvar_us": 300, "ssthresh_segs": 0x7FFFFFFF, "mss_bytes": 1448,
        "reordering_segs": 3, "rate_delivered_segs": 0, "rate_interval_us": 0, "cwnd_segs": 10, "outstanding_segs": 0,
        "closed": 1, "passive": 0, "family": 2, "local_port": 40000, "remote_port": 5201,
        "local": bytes([198, 18, 0, 1]) + bytes(12), "remote": bytes([198, 18, 0, 2]) + bytes(12),
        "congestion": b"cubic" + bytes(11), "lost_samples": 0, "sndbuf_ns": 0, "sndbuf_last_ns": 0,
        **dict.fromkeys((f"{name}_above" for name in NAMES), 0),
        **{f"{name}_spread": np.array((0, 0xFFFFFFFF, 0), SPREAD) for name in NAMES}, "base": counts(base),
        "now": counts(now), "window_events": events(WINDOW_EVENTS, window_events),
        "whole_events": events(WHOLE_EVENTS, whole_events), **changes,
    }  # fmt: skip


def decoded(absent: frozenset[str] = frozenset(), **changes: Any) -> TcpSocket:
    return decode.socket_of(record(**changes), SETS, {42: "client"}, 4000, absent)


def test_a_socket_is_named_by_its_host_and_addresses() -> None:
    key = decoded().key
    assert (key.host, key.local, key.local_port) == ("client", "198.18.0.1", 40000)
    assert (key.remote, key.remote_port) == ("198.18.0.2", 5201)
    assert decoded().congestion == "cubic"


def test_an_ipv4_address_mapped_into_ipv6_is_given_as_ipv4() -> None:
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:198.18.0.1")
    plain = socket.inet_pton(socket.AF_INET6, "2001:2::1")
    key = decoded(family=10, local=mapped, remote=plain).key
    assert (key.local, key.remote) == ("198.18.0.1", "2001:2::1")


def test_round_trips_of_slow_start_have_a_histogram_of_their_own() -> None:
    sets = SETS.copy()
    sets[0]["slow_start"]["slow_rtt"][[histogram.bucket_of(20_000), histogram.bucket_of(40_000)]] = 3, 1
    spread = np.array((100_000, 20_000, 40_000), SPREAD)
    changes: dict[str, Any] = {"histogram": 1, "slow_rtt_spread": spread}
    found = decode.socket_of(record(**changes), sets, {42: "client"}, 4000, frozenset())
    slow = found.slow_start_rtt_us
    assert slow is not None
    assert (slow.count, slow.minimum, slow.maximum) == (4, 20_000, 40_000)
    assert found.rtt_us.count == 0
    unseen = decoded().slow_start_rtt_us
    assert unseen is not None
    assert unseen.count == 0


def test_counters_are_differences_over_the_window() -> None:
    base = {**COUNTS, "segs_out": 100, "bytes_acked": 1001, "busy_jiffies": 25, "rwnd_limited_jiffies": 10}
    now = {**COUNTS, "segs_out": 350, "bytes_acked": 9001, "busy_jiffies": 125, "rwnd_limited_jiffies": 60}
    counters = decoded(base=base, now=now).counters
    assert (counters["segs_out"], counters["bytes_acked"]) == (250, 8000)
    assert counters["elapsed_us"] == 2_500_000
    assert counters["rwnd_limited_us"] == 50 * 4000
    assert counters["busy_us"] == 150 * 4000  # as tcp_info: the limits are part of it


def test_the_send_buffers_limit_is_the_time_measured_not_the_kernels_clock() -> None:
    """That clock starts for a writer that polls, and seldom for one that blocks."""
    now = {**COUNTS, "busy_jiffies": 400}
    counters = decoded(now=now, sndbuf_ns=SECOND, sndbuf_last_ns=SECOND // 4).counters
    assert (counters["sndbuf_limited_us"], counters["sndbuf_chrono_us"]) == (1_250_000, 0)
    assert counters["busy_us"] == 1_600_000


@given(*(st.integers(0, 2**20) for _ in range(3)), st.integers(0, 2**45), st.integers(0, 2**40))
def test_limits_never_exceed_the_busy_time(busy: int, rwnd: int, sndbuf: int, limited_ns: int, last_ns: int) -> None:
    now = {
        **COUNTS, "busy_jiffies": busy, "rwnd_limited_jiffies": rwnd, "sndbuf_limited_jiffies": sndbuf,
    }  # fmt: skip
    counters = decoded(now=now, sndbuf_ns=limited_ns, sndbuf_last_ns=last_ns).counters
    assert 0 <= counters["sndbuf_limited_us"] <= limited_ns // 1000 + last_ns // 1000 + 1
    assert counters["rwnd_limited_us"] + counters["sndbuf_limited_us"] <= counters["busy_us"]


def test_a_counter_that_the_kernels_side_gains_needs_no_line_here() -> None:
    grown = record()
    for name, value in (("base", 2**32 - 5), ("now", 7)):
        grown[name] = np.array((*grown[name].item(), value), [*COUNTS_TYPE.descr, ("segs_in", "u4")])[()]
    found = decode.socket_of(grown, SETS, {}, 4000, frozenset()).counters
    assert found["segs_in"] == 12
    assert not any(name.startswith("__") for name in found)
    assert found.keys() - {"segs_in"} == decoded().counters.keys()


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**31))
def test_counters_of_32_bits_may_wrap(base: int, grown: int) -> None:
    now = (base + grown) % 2**32
    found = decoded(base={**COUNTS, "segs_out": base}, now={**COUNTS, "segs_out": now})
    assert found.counters["segs_out"] == grown


def test_a_connection_that_was_there_before_the_trial_was_not_established_in_it() -> None:
    assert decoded().established_ns == SECOND
    assert decoded(syn_ns=0, passive=1).established_ns == SECOND
    assert decoded(syn_ns=0, passive=0).established_ns == 0


def test_whole_counts_leave_the_syn_out_of_the_bytes() -> None:
    now = {**COUNTS, "bytes_acked": 5001, "bytes_received": 10, "retrans_segs": 4, "segs_out": 9}
    active, passive = decoded(now=now), decoded(now=now, syn_ns=0, passive=1)
    assert (active.whole_bytes_acked, passive.whole_bytes_acked) == (5000, 5001)
    assert (active.whole_bytes_received, active.whole_retrans_segs, active.whole_segs_out) == (10, 4, 9)


def test_the_window_ends_with_the_last_segment_or_while_data_are_outstanding_with_the_socket() -> None:
    assert decoded().last_ns == 4 * SECOND + SECOND // 2
    assert decoded(outstanding_segs=3).last_ns == 5 * SECOND


def test_times_in_congestion_states_add_up_to_the_window() -> None:
    spent = [SECOND, 0, 0, SECOND // 2, 0]
    since = 2 * SECOND + SECOND + SECOND // 2
    counters = decoded(state_ns=spent, state=4, state_since_ns=since, state_entries=[0, 0, 0, 2, 1]).counters
    times = [counters[f"state_{state}_us"] for state in decode.STATES]
    assert times == [1_000_000, 0, 0, 500_000, 1_000_000]
    assert sum(times) == counters["elapsed_us"]
    assert (counters["recovery_events"], counters["rto_events"]) == (2, 1)


def test_retransmissions_are_split_by_kind() -> None:
    window = {"retrans_fast_segs": 5, "retrans_rto_segs": 6, "retrans_tlp_segs": 7}
    counters = decoded(window_events=window, whole_events={"retrans_syn_segs": 8}).counters
    kinds = [counters[f"retrans_{kind}_segs"] for kind in ("fast", "rto", "tlp", "syn")]
    assert kinds == [5, 6, 7, 8]


def test_a_connection_that_ended_within_its_warm_up_measured_nothing_but_its_handshake() -> None:
    now = {**COUNTS, "segs_out": 50}
    found = decoded(
        window_ns=0,
        now=now,
        window_events=dict.fromkeys(WINDOW_EVENTS, 1),
        whole_events={"retrans_syn_segs": 2, "resets": 1},
    )
    assert found.first_ns == 0
    assert {name for name, value in found.counters.items() if value} == {"retrans_syn_segs", "resets"}
    assert found.whole_segs_out == 50


def test_counters_whose_tracepoint_is_missing_are_absent_not_zero() -> None:
    absent = frozenset({"state_open_us", "rto_events"})
    assert absent & decoded().counters.keys() == absent
    assert not absent & decoded(absent).counters.keys()


def test_gauges_without_a_value_are_absent() -> None:
    gauges = decoded().gauges
    assert gauges["ssthresh_segs"] == 0.0
    assert gauges["handshake_us"] == 20.0
    assert gauges.keys().isdisjoint({"pacing_rate_bps", "delivery_rate_bps", "synack_rtt_us"})
    assert decoded(min_rtt_us=0xFFFFFFFF).gauges.keys().isdisjoint({"min_rtt_us"})
    passive = decoded(syn_ns=0, passive=1, synack_rtt_us=31).gauges
    assert passive["synack_rtt_us"] == 31.0
    assert "handshake_us" not in passive


def test_rates_are_in_bits_per_second() -> None:
    gauges = decoded(
        pacing_total=3_000_000, pacing_samples=2, rate_delivered_segs=10, rate_interval_us=1448, mss_bytes=1448
    ).gauges
    assert gauges["pacing_rate_bps"] == 12e6
    assert gauges["delivery_rate_bps"] == 80e6


def test_histograms_are_those_of_the_sockets_number() -> None:
    sets = SETS.copy()
    sets[0]["times"]["rtt"][histogram.bucket_of(20_000)] = 3
    spread = np.array((60_000, 20_000, 20_000), SPREAD)
    found = decode.socket_of(record(histogram=1, rtt_spread=spread, cwnd_above=1), sets, {}, 4000, frozenset())
    assert (found.rtt_us.count, found.rtt_us.total, found.rtt_us.unit) == (3, 60_000.0, "us")
    assert found.rtt_us.edges[found.rtt_us.counts.index(3)] <= 20_000
    assert found.cwnd.above == 1
    beyond = decode.socket_of(record(histogram=2), sets, {}, 4000, frozenset())
    assert beyond.rtt_us.count == 0


def test_every_counter_is_a_metrics_or_documented_and_every_gauge_is_documented() -> None:
    found = decoded(pacing_samples=1, pacing_total=1, rate_delivered_segs=1, rate_interval_us=1, passive=1, histogram=0)
    summed = {spec.counter for spec in CATALOGUE.values()}
    for name in (*(found.counters.keys() - summed), *found.gauges):
        assert f"`{name}`" in (collector.__doc__ or ""), name


def message(family: int, info: bytes, *, cookie: int = 9) -> bytes:
    body = struct.pack("=BBBB", family, 1, 0, 0) + struct.pack(">HH", 40000, 5201)
    for text in ("198.18.0.1", "198.18.0.2") if family == socket.AF_INET else ("2001:2::1", "2001:2::2"):
        body += socket.inet_pton(family, text).ljust(16, b"\0")
    body += struct.pack("=IQIIIII", 0, cookie, 0, 0, 0, 0, 0)
    for kind, data in ((tcp_info.INET_DIAG_INFO, info), (tcp_info.INET_DIAG_CONG, b"bbr\0")):
        body += struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)
    return body


def info_of(**values: int) -> bytes:
    sizes = {"B": 1, "I": 4, "Q": 8}
    parts = [values.get(name, 0).to_bytes(sizes[code], "little") for name, code in tcp_info.LAYOUT]
    return b"".join(parts)


@pytest.mark.parametrize(("family", "local"), [(socket.AF_INET, "198.18.0.1"), (socket.AF_INET6, "2001:2::1")])
def test_a_look_names_the_socket_and_has_its_tcp_info(family: int, local: str) -> None:
    look = tcp_info.look_of(message(family, info_of(rtt=20_000, bytes_acked=5, snd_wnd=65536)))
    assert look is not None
    assert (look.local, look.remote[1], look.cookie) == ((local, 40000), 5201, 9)
    assert (look.info["rtt"], look.info["bytes_acked"], look.info["snd_wnd"]) == (20_000, 5, 65536)
    assert look.congestion == "bbr"


def test_the_offsets_of_tcp_info_are_the_kernels() -> None:
    places, at = {}, 0
    for name, code in tcp_info.LAYOUT:
        places[name] = at
        at += {"B": 1, "I": 4, "Q": 8}[code]
    # include/uapi/linux/tcp.h
    expected = {"rto": 8, "total_retrans": 100, "pacing_rate": 104, "bytes_acked": 120, "delivery_rate": 160}
    assert {name: places[name] for name in expected} == expected
    assert (places["delivered"], places["snd_wnd"]) == (192, 228)


def test_an_older_kernels_shorter_tcp_info_lacks_the_later_fields() -> None:
    look = tcp_info.look_of(message(socket.AF_INET, info_of(rtt=1)[:104]))
    assert look is not None
    assert "total_retrans" in look.info
    assert "pacing_rate" not in look.info


@given(st.dictionaries(st.sampled_from(tcp_info.Glance._fields), st.integers(0, 2**32 - 1)))
def test_a_glance_is_part_of_the_whole(values: dict[str, int]) -> None:
    look = tcp_info.look_of(message(socket.AF_INET, info_of(**values)))
    assert look is not None
    assert look.glance._asdict() == {name: look.info[name] for name in tcp_info.Glance._fields}


def test_a_socket_is_asked_for_by_the_name_that_it_was_seen_under() -> None:
    seen = message(socket.AF_INET6, info_of(rtt=1), cookie=77)
    look = tcp_info.look_of(seen)
    assert look is not None
    ((kind, payload),) = tcp_info.messages(tcp_info.request_for(look))
    family, protocol, extensions = struct.unpack_from("=BBB", payload)
    assert (kind, family, protocol) == (20, socket.AF_INET6, socket.IPPROTO_TCP)
    assert extensions & 1 << (tcp_info.INET_DIAG_INFO - 1)
    assert payload[8:] == seen[4:52]


SNMP = b"""\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm ActiveOpens PassiveOpens InSegs
Tcp: 1 12 7 %d
Udp: InDatagrams
Udp: 3
"""


def test_opened_connections_are_told_by_two_counters_alone() -> None:
    assert host.opens(SNMP % 5) == host.opens(SNMP % 9) == (b"12", b"7")
    assert host.opens(b"Tcp: InSegs\nTcp: 5\n") == ()


@given(st.binary(max_size=200))
def test_no_text_breaks_the_reader_of_counters(text: bytes) -> None:
    host.opens(b"Tcp:" + text)


@given(st.binary(max_size=200))
def test_no_message_breaks_the_reader(data: bytes) -> None:
    for _, payload in tcp_info.messages(data):
        tcp_info.look_of(payload)
    tcp_info.look_of(data)


def test_a_dump_asks_for_tcp_info_of_all_sockets_in_the_states() -> None:
    ((kind, payload),) = tcp_info.messages(tcp_info.dump_request(0b10))
    assert kind == tcp_info.TCPDIAG_GETSOCK
    family, _, _, extensions = struct.unpack_from("=BBBB", payload)
    (states,) = struct.unpack_from("=I", payload, 52)
    assert (family, states) == (socket.AF_UNSPEC, 0b10)
    assert extensions & 1 << (tcp_info.INET_DIAG_INFO - 1)
    assert len(payload) == 60
