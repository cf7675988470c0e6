"""Advice: the right one for what is seen, with a bound, and only of sysctls that may be changed."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_sysctls import FakeSysctls

from perfcheck.live.advice import ALLOWED, LARGEST, Advice, Change, advice_of
from perfcheck.live.sysctls import path_of_host
from perfcheck.model.causes import CAUSES
from perfcheck.model.flow_table import AF_INET, FlowTable
from perfcheck.model.interval import Interval

OWN = path_of_host("")
OTHER = path_of_host("other")
VALUES = {
    "net.ipv4.tcp_rmem": "4096 131072 400000", "net.ipv4.tcp_wmem": "4096 16384 400000", "net.core.somaxconn": "128",
    "net.ipv4.tcp_max_syn_backlog": "512", "net.netfilter.nf_conntrack_max": "1000", "net.core.netdev_budget": "300",
    "net.core.netdev_max_backlog": "1000", "net.ipv4.tcp_slow_start_after_idle": "1",
}  # fmt: skip
SENT = {
    "bytes_acked": 10**7, "data_segs_out": 7000, "elapsed_us": 10**6, "busy_us": 9 * 10**5, "delivery_rate_bps": 80e6,
    "min_rtt_us": 20_000.0, "inflight_segs": 9e9, "mss_bytes": 1448.0, "established_ns": 5,
}  # fmt: skip
RWND = {**SENT, "rwnd_limited_us": 8 * 10**5}


def sysctls(values: Mapping[str, str] | None = None) -> FakeSysctls:
    chosen = VALUES if values is None else values
    return FakeSysctls(values={(path, key): value for path in (OWN, OTHER) for key, value in chosen.items()})


def interval(
    *rows: Mapping[str, object], metrics: Mapping[str, float] | None = None,
    hosts: Mapping[str, Mapping[str, float]] | None = None,
) -> Interval:  # fmt: skip
    flows = FlowTable.empty(len(rows), hosts={1: "", 2: "other"})
    for at, row in enumerate(rows):
        own = {"netns": 1, "family": AF_INET, "local": "10.0.0.1", "local_port": 1000 + at, "remote": "10.0.0.2",
               "remote_port": 80, **row}  # fmt: skip
        for name, cell in own.items():
            flows.columns[name][at] = (
                np.void(ipaddress.ip_address(str(cell)).packed.ljust(16, b"\0"))
                if name in {"local", "remote"}
                else cell
            )
    return Interval(number=0, begin_ns=0, end_ns=10**9, epoch_ns=0, flows=flows, metrics=metrics or {},
                    hosts=hosts or {})  # fmt: skip


def one(seen: Interval, causes: tuple[str, ...] = (), values: Mapping[str, str] | None = None) -> Advice:
    (found,) = advice_of(seen, sysctls(values), causes)
    return found


def test_a_send_buffer_is_raised_to_four_bdps() -> None:
    found = one(interval({**SENT, "sndbuf_limited_us": 8 * 10**5}))
    # 80 Mbit/s x 20 ms = 200 kB, whatever is in flight; four of them in a power of two.
    assert found.id == "PC-SNDBUF-TCP_WMEM"
    assert found.changes == (Change(key="net.ipv4.tcp_wmem", old="4096 16384 400000", new="4096 16384 1048576"),)
    assert "BDP 200 kB" in found.bound
    assert "1 connection." in found.reason


def test_a_buffer_that_is_large_enough_is_not_raised() -> None:
    found = one(interval({**SENT, "sndbuf_limited_us": 8 * 10**5}), values={"net.ipv4.tcp_wmem": "4096 16384 4000000"})
    assert found.id == "PC-SNDBUF-SO_SNDBUF"
    assert found.changes == ()


def test_a_receive_window_of_another_machine_is_told() -> None:
    found = one(interval(RWND))
    assert found.id == "PC-RWND-PEER"
    assert "10.0.0.2" in found.reason
    assert found.changes == ()


def test_a_receive_window_of_this_machine_is_raised_where_the_receiver_is() -> None:
    peer = {"netns": 2, "local": "10.0.0.2", "local_port": 80, "remote": "10.0.0.1", "remote_port": 1000}
    found = one(interval(RWND, {**peer, "bytes_received": 10**7, "elapsed_us": 10**6}))
    assert found.id == "PC-RWND-TCP_RMEM"
    assert found.netns == "other"
    assert found.changes[0].new == "4096 131072 1048576"
    assert "1 connection." in found.reason


def test_both_ends_that_say_the_same_are_one_connection() -> None:
    peer = {
        "netns": 2, "local": "10.0.0.2", "local_port": 80, "remote": "10.0.0.1", "remote_port": 1000,
        "bytes_received": 10**7, "elapsed_us": 10**6, "receive_bps": 80e6, "min_rtt_us": 20_000.0,
        "rcv_wnd_bytes": 200_000.0,
    }  # fmt: skip
    found = one(interval(RWND, peer))
    assert (found.id, found.netns) == ("PC-RWND-TCP_RMEM", "other")
    assert "1 connection." in found.reason


@pytest.mark.parametrize(
    ("metrics", "name", "changes"),
    [
        ({"socket.listen_overflows": 5}, "PC-BACKLOG-SOMAXCONN",
         {"net.core.somaxconn": "4096", "net.ipv4.tcp_max_syn_backlog": "4096"}),
        ({"ip.conntrack_use_pct": 95}, "PC-CONNTRACK-NF_CONNTRACK_MAX", {"net.netfilter.nf_conntrack_max": "2000"}),
        ({"ip.conntrack_drop": 3}, "PC-CONNTRACK-NF_CONNTRACK_MAX", {"net.netfilter.nf_conntrack_max": "2000"}),
        ({"nic.softnet_dropped": 3}, "PC-SOFTIRQ-NETDEV_MAX_BACKLOG", {"net.core.netdev_max_backlog": "2000"}),
        ({"nic.softnet_squeezed": 30}, "PC-SOFTIRQ-NETDEV_BUDGET", {"net.core.netdev_budget": "600"}),
        ({"cpu.runq_wait_pct": 40}, "PC-CPU-WAIT", {}),
        ({"cpu.throttled_pct": 40}, "PC-CPU-QUOTA", {}),
    ],
)  # fmt: skip
def test_what_the_machine_counts_is_advised(metrics: dict[str, float], name: str, changes: dict[str, str]) -> None:
    found = one(interval(metrics=metrics))
    assert found.id == name
    assert {each.key: each.new for each in found.changes} == changes


def test_a_window_that_starts_again_after_pauses() -> None:
    row = {**SENT, "busy_us": 600_000, "cwnd_min_segs": 10.0, "cwnd_max_segs": 80.0, "established_ns": 0}
    found = one(interval(row))
    assert found.changes == (Change(key="net.ipv4.tcp_slow_start_after_idle", old="1", new="0"),)


def test_a_reader_that_is_slow_gets_no_sysctl() -> None:
    found = one(interval({"recvq_bytes": 9e4, "rcvbuf_bytes": 1e5}))
    assert found.id == "PC-APP-READS_SLOWLY"
    assert found.changes == ()


def test_settings_of_the_machine_are_not_advised_in_another_namespace() -> None:
    found = one(interval({"netns": 2}, hosts={"other": {"nic.softnet_dropped": 3}}))
    assert (found.netns, found.changes) == ("other", ())


def test_healthy_traffic_has_no_advice() -> None:
    assert advice_of(interval(SENT, metrics={"cpu.runq_wait_pct": 1}), sysctls()) == ()
    assert advice_of(interval(), sysctls()) == ()


@given(
    st.dictionaries(
        st.sampled_from(["socket.listen_overflows", "ip.conntrack_use_pct", "nic.softnet_dropped", "nan",
                         "nic.softnet_squeezed", "cpu.runq_wait_pct", "cpu.throttled_pct"]),
        st.floats(),
    ),
    st.sets(st.sampled_from(CAUSES)),
    st.dictionaries(st.sampled_from(sorted(VALUES)), st.sampled_from(("", "0", "x", "1", "9999999999", "4096 1 2"))),
    st.floats(), st.floats(),
)  # fmt: skip
def test_advice_raises_within_bounds_and_is_of_known_causes(
    metrics: dict[str, float], causes: set[str], values: dict[str, str], rate: float, rtt: float
) -> None:
    row = {**SENT, "sndbuf_limited_us": 8 * 10**5, "delivery_rate_bps": rate, "min_rtt_us": rtt}
    found = advice_of(interval(row, RWND, metrics=metrics), sysctls({**VALUES, **values}), causes)
    assert len({advice.id for advice in found}) == len(found)
    for advice in found:
        assert advice.cause in CAUSES
        assert all(line.isprintable() for line in advice.lines())
        for change in advice.changes:
            assert change.key in ALLOWED
            if change.key in LARGEST:
                old, new = int(change.old.split()[-1]), int(change.new.split()[-1])
                assert old < new <= LARGEST[change.key]
