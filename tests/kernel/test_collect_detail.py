"""Detail mode on known workloads: packets, times and anomalies against sources that are not ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from collect_lab import PORT, measuring, pair, transfer
from detail_lab import (
    MESSAGE_BYTES,
    busiest,
    count,
    detail,
    filtered,
    followed_of,
    interface,
    nstat,
    stream_of,
    talk,
)

from perfcheck.analyse import complete
from perfcheck.analyse.paths import lots_of
from perfcheck.analyse.stages import STAGES, WAY, stage_ns
from perfcheck.collect.detail.collector import DetailCollector
from perfcheck.model.detail import DetailFilter, Kind

pytestmark = pytest.mark.kernel

ALL = DetailFilter()
DROPPING = (
    "add table ip t",
    "add counter ip t d",
    "add chain ip t c { type filter hook input priority 0; }",
    "add rule ip t c tcp dport 5201 ip length > 500 numgen inc mod 50 0 counter name d drop",
)


@pytest.fixture(scope="module")
def collector() -> Iterator[DetailCollector]:
    with detail() as attached:
        yield attached


def test_packets_are_the_same_at_every_station_and_those_of_the_interfaces(collector: DetailCollector) -> None:
    with pair() as hosts:
        before = interface(hosts, 0), interface(hosts, 1)
        with measuring(filtered(hosts.scope(), ALL), collector) as seen:
            report = hosts.iperf3("-t", "1", "-b", "80M")
        sent = interface(hosts, 0)["tx"] - before[0]["tx"]
        received = interface(hosts, 1)["rx"] - before[1]["rx"]
    stream = stream_of(seen["detail"])
    assert stream.lost == 0
    assert stream.share == 1.0
    for kind in (Kind.TX_QUEUE, Kind.TX_NIC):
        assert count(stream, kind, "client") == pytest.approx(sent, rel=0.02), kind
    for kind in (Kind.RX_NIC, Kind.RX_IP):
        assert count(stream, kind, "server") == pytest.approx(received, rel=0.02), kind
    _, packets = busiest(followed_of(seen["detail"]))
    payload = int(packets["length"][packets["attempt"] == 0].sum())
    assert payload == pytest.approx(report["end"]["sum_sent"]["bytes"], rel=0.001)


@pytest.mark.parametrize("offloads", [False, True])
def test_every_packet_is_seen_at_every_station_whatever_gso_and_gro_make_of_it(
    collector: DetailCollector, offloads: bool
) -> None:
    with pair(offloads=offloads) as hosts:
        one, two = hosts.connect()
        with one, two, measuring(filtered(hosts.scope(), ALL), collector) as seen:
            transfer(one, two, 4_000_000)
    followed = followed_of(seen["detail"])
    key, packets = busiest(followed)
    assert (key.host, key.remote_port) == ("client", PORT)
    first = packets[packets["attempt"] == 0]
    assert int(first["length"].sum()) == 4_000_000
    arrived = packets[~packets["duplicate"]]
    assert int((~complete(arrived)).sum()) <= max(2, len(arrived) // 100)
    times = np.stack([stage_ns(arrived, begin, end) for _, begin, end in STAGES])
    assert (times[:, complete(arrived)] >= 0).all()


def test_stages_add_up_to_what_both_applications_measure_themselves(collector: DetailCollector) -> None:
    with pair() as hosts, measuring(filtered(hosts.scope(), ALL), collector) as seen:
        times = talk(hosts, 200)
    _, packets = busiest(followed_of(seen["detail"]))
    assert complete(packets).all()
    stages = np.stack([stage_ns(packets, begin, end) for _, begin, end in STAGES]).sum(axis=0)
    way = stage_ns(packets, WAY[1], WAY[2])
    assert (stages == way).all()
    # Of each message the last packet: it lies between the application's own looks at the clock, close to both.
    position = packets["position"] - packets["position"].min() + packets["length"]
    last = packets[position % MESSAGE_BYTES == 0]
    assert len(last) == len(times)
    called, had = (np.array(column) for column in zip(*times, strict=True))
    assert (last["offered_ns"] >= called).all()
    assert (last["read_ns"] <= had).all()
    ours, theirs = np.median(stage_ns(last, WAY[1], WAY[2])), np.median(had - called)
    assert theirs - ours < 100_000, "the rest are two system calls and the interpreter"


@pytest.mark.parametrize("offloads", [False, True])
def test_retransmissions_and_losses_are_those_that_the_hosts_count(collector: DetailCollector, offloads: bool) -> None:
    with pair(offloads=offloads) as hosts:
        hosts.nft(1, *DROPPING)
        before = nstat(hosts, 0)
        with measuring(filtered(hosts.scope(), ALL), collector) as seen:
            hosts.iperf3("-t", "1", "-b", "60M", "-C", "cubic")
        after, dropped = nstat(hosts, 0), hosts.dropped(1)
    stream = stream_of(seen["detail"])
    retransmitted = int(stream.events["segments"][stream.events["kind"] == Kind.RETRANSMIT].sum())
    assert retransmitted > 50
    assert retransmitted == pytest.approx(after["TcpRetransSegs"] - before["TcpRetransSegs"], rel=0.02, abs=2)
    followed = followed_of(seen["detail"])
    _, packets = busiest(followed)
    assert not packets["lost"].any(), "they are dropped by the receiving host, not by the link"
    unseen = packets[(packets["softirq_ns"] > 0) & (packets["tcp_ns"] == 0)]
    assert len(unseen) == pytest.approx(dropped, rel=0.02, abs=2)


def test_each_arrival_is_that_of_its_own_transmission(collector: DetailCollector) -> None:
    with pair() as hosts:
        hosts.nft(1, *DROPPING)
        with measuring(filtered(hosts.scope(), ALL), collector) as seen:
            hosts.iperf3("-t", "1", "-b", "60M", "-C", "cubic")
    stream = stream_of(seen["detail"])
    _, packets = busiest(followed_of(seen["detail"]))
    assert int((packets["attempt"] > 0).sum()) > 20
    # The IP header's id is another one for each transmission, and the join knows nothing of it.
    arrivals = stream.events[stream.events["kind"] == Kind.RX_NIC]
    ids = {(int(one["flow"]), int(one["ns"])): int(one["id"]) for one in arrivals}
    arrived = packets[packets["received_ns"] > 0]
    wrong = [one for one in arrived if ids[int(one["flow"]), int(one["received_ns"])] != int(one["id"])]
    assert not wrong


def test_only_what_the_filter_asks_for_is_followed(collector: DetailCollector) -> None:
    with pair() as hosts:
        one, two = hosts.connect()
        with one, two, measuring(filtered(hosts.scope(), DetailFilter(port=5201)), collector) as seen:
            transfer(one, two, 100_000)
            hosts.iperf3("-n", "1M")
        ports = Counter(key.remote_port for key in stream_of(seen["detail"]).flows.values() if key.host == "client")
        assert set(ports) == {5201}
        for address, there in ((hosts.addresses[1], True), ("198.18.7.7", False)):
            chosen = DetailFilter(protocol=6, addresses=(address,))
            with measuring(filtered(hosts.scope(), chosen), collector) as seen:
                hosts.iperf3("-n", "1M")
            assert bool(len(stream_of(seen["detail"]).events)) is there


def test_ipv6_is_followed_as_ipv4_is(collector: DetailCollector) -> None:
    with pair() as hosts:
        one, two = hosts.connect("2001:2::2")
        with one, two, measuring(filtered(hosts.scope(), DetailFilter(addresses=("2001:2::2",))), collector) as seen:
            transfer(one, two, 500_000)
    key, packets = busiest(followed_of(seen["detail"]))
    assert (key.local, key.remote, key.remote_port) == ("2001:2::1", "2001:2::2", PORT)
    assert int(packets["length"][packets["attempt"] == 0].sum()) == 500_000
    assert complete(packets[~packets["duplicate"]]).all()


def test_fewer_packets_are_followed_rather_than_parts_of_them() -> None:
    with detail(most=20_000) as small, pair() as hosts, measuring(filtered(hosts.scope(), ALL), small) as seen:
        hosts.iperf3("-t", "1", "-b", "100M")
    stream, followed = stream_of(seen["detail"]), followed_of(seen["detail"])
    assert 0 < stream.share < 0.5
    assert len(stream.events) <= 20_000
    assert any("% of the packets" in text for text in seen["detail"].warnings)
    counted = followed.packets[followed.packets["counts"]]
    assert complete(counted[~counted["duplicate"]]).mean() > 0.99
    assert len(np.unique(counted["seq"] >> 16)) > 3


def test_a_tiny_budget_makes_it_follow_fewer(collector: DetailCollector) -> None:
    with pair() as hosts, measuring(filtered(hosts.scope(), ALL, budget_pct=0.2), collector) as seen:
        hosts.iperf3("-t", "2", "-b", "300M")
    stream = stream_of(seen["detail"])
    assert stream.share < 1.0
    assert any("% of a CPU" in text for text in seen["detail"].warnings)


def test_a_ring_that_runs_full_loses_no_record_uncounted() -> None:
    with (
        detail(ring_bytes=1 << 12) as small,
        pair() as hosts,
        measuring(filtered(hosts.scope(), ALL), small) as seen,
    ):
        hosts.iperf3("-t", "1")
    stream = stream_of(seen["detail"])
    assert stream.lost == seen["detail"].lost_events > 0
    assert stream.share < 1.0
    assert any("ring buffer" in text for text in seen["detail"].warnings)


def test_kernel_and_user_space_draw_the_same_lots(collector: DetailCollector) -> None:
    with pair() as hosts:
        one, two = hosts.connect()
        with one, two, measuring(filtered(hosts.scope(), ALL), collector) as seen:
            transfer(one, two, 2_000_000)
    events = stream_of(seen["detail"]).events
    sent = events[(events["kind"] == Kind.TX_NIC) & (events["protocol"] == 6)]
    last = sent["seq"].astype(np.int64) + sent["length"] - 1
    inside = sent[sent["seq"] >> 16 == (last >> 16) & 0xFFFF]
    assert len(inside) > 1000
    assert (lots_of(inside, udp=False) == inside["lot"]).all()
