"""Figures of an interval's connections, and what cannot be measured."""

from __future__ import annotations

from live_intervals import flow_table, packed

from perfcheck.live.figures import tcp_figures
from perfcheck.live.lacking import lacking_lines


def test_a_connection_whose_two_ends_are_here_counts_once() -> None:
    flows = flow_table(
        3,
        local=[packed("10.0.0.1"), packed("10.0.0.2"), packed("10.0.0.1")],
        remote=[packed("10.0.0.2"), packed("10.0.0.1"), packed("10.0.0.2")],
        local_port=[40000, 5201, 40001], remote_port=[5201, 40000, 5201],
        bytes_acked=[1000, 0, 500], bytes_received=[0, 1000, 0],
    )  # fmt: skip
    assert tcp_figures(flows, {}, 1.0)["app.throughput_bps"] == 8 * 1500


def test_the_same_port_at_both_ends_is_no_reason_to_count_twice() -> None:
    flows = flow_table(2, local_port=[5201, 7], remote_port=[5201, 8], bytes_acked=[100, 100])
    assert tcp_figures(flows, {}, 1.0)["app.throughput_bps"] == 8 * 200


def test_one_reason_is_said_once() -> None:
    lacks = {"drops": "no BPF", "conntrack": "no module", "nic": "no BPF"}
    assert list(lacking_lines(lacks)) == ["drops, nic: no BPF", "conntrack: no module"]
