"""A flow's id: alike in both directions and on both hosts, and another one for another flow."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from perfcheck.model.flow import FlowKey, Protocol, flow_id

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
PORTS = st.integers(0, 65535)
KEYS = st.builds(
    FlowKey, protocol=st.sampled_from(Protocol), host=st.sampled_from(["client", "server"]), local=ADDRESSES,
    local_port=PORTS, remote=ADDRESSES, remote_port=PORTS,
)  # fmt: skip


def turned(key: FlowKey, host: str) -> FlowKey:
    return replace(
        key, host=host, local=key.remote, local_port=key.remote_port, remote=key.local, remote_port=key.local_port
    )


@given(KEYS)
def test_a_flows_id_is_alike_in_both_directions_and_on_both_hosts(key: FlowKey) -> None:
    assert flow_id(key) == flow_id(turned(key, "other")) == flow_id(replace(key, host="third"))
    assert len(flow_id(key)) == 16
    assert int(flow_id(key), 16) >= 0


@given(KEYS, KEYS)
def test_flows_that_differ_have_other_ids(one: FlowKey, other: FlowKey) -> None:
    same = replace(one, host="") in {replace(other, host=""), turned(other, "")}
    assert (flow_id(one) == flow_id(other)) == same


def test_an_ipv4_address_mapped_into_ipv6_is_the_same_end() -> None:
    key = FlowKey(protocol=Protocol.TCP, host="a", local="198.18.0.1", local_port=1, remote="198.18.0.2", remote_port=2)
    mapped = replace(key, local="::ffff:198.18.0.1", remote="::ffff:198.18.0.2")
    assert flow_id(mapped) == flow_id(key)
    assert flow_id(replace(key, protocol=Protocol.UDP)) != flow_id(key)


def test_a_port_belongs_to_its_address() -> None:
    key = FlowKey(protocol=Protocol.TCP, host="a", local="198.18.0.1", local_port=1, remote="198.18.0.2", remote_port=2)
    assert flow_id(replace(key, local_port=2, remote_port=1)) != flow_id(key)
