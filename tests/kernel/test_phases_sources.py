"""Phases and subjects of two pairs of hosts against ss(8), nstat(8), tc(8) and ip(8), asked when each phase begins.

The links are away around the begin of each phase, so that next to nothing passes between two answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pytest
import witness
from bracketing import COUNTS_PCT, Bracket
from witness import Answer, PhaseWitness, Told

from perfcheck.analyse.histogram import QUANTILES, merge, quantile
from perfcheck.collect.kernel.netlink import NetlinkCollector
from perfcheck.collect.kernel.snmp import HostCountersCollector
from perfcheck.collect.tcp.collector import TcpCollector
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import Histogram
from perfcheck.model.metric import Phased
from perfcheck.model.observation import Observation
from perfcheck.scenario import load_text
from perfcheck.system.netns import NetnsThread
from perfcheck.system.rundir import RUN_DIR_VARIABLE

pytestmark = pytest.mark.kernel

SCENARIO: Final = """
scenario: phases-against-other-counters
hosts:
  client-one: {congestion: cubic, sysctl: {net.ipv4.tcp_ecn: 1}}
  server-one: {sysctl: {net.ipv4.tcp_ecn: 1}}
  client-two: {congestion: cubic}
  server-two: {setup: [tc qdisc replace dev eth0 root tbf rate 2mbit burst 5kb limit 15kb]}
links:
  - between: [client-one, server-one]
    delay: 5ms
    rate: 6mbit
    queue: 100p
    forward: {loss: 0.5%, ecn: true}
    schedule:
      - {at: 2200ms, rate: 0bit}
      - {at: 3s, rate: 6mbit}
      - {at: 4200ms, rate: 0bit}
      - {at: 5s, rate: 6mbit}
  - between: [client-two, server-two]
    delay: 10ms
    rate: 6mbit
    queue: 12p
    schedule:
      - {at: 2200ms, rate: 0bit}
      - {at: 3s, rate: 6mbit}
      - {at: 4200ms, rate: 0bit}
      - {at: 5s, rate: 6mbit}
traffic:
  - name: marked
    iperf3: {from: client-one, to: server-one, duration: 6s, start: 600ms}
  - name: dropped
    iperf3: {from: client-two, to: server-two, duration: 6s, start: 600ms}
  - name: datagrams
    iperf3: {from: server-two, to: client-two, protocol: udp, rate: 3mbit, length: 1000b, duration: 1s, start: 600ms}
repeat: 1
phases: {first: 0ms, second: 2300ms, third: 4300ms}
"""
PAIRS: Final = {"marked": ("client-one", "server-one"), "dropped": ("client-two", "server-two")}
HOSTS: Final = tuple(host for pair in PAIRS.values() for host in pair)
_FEW: Final = 3.0
"""The tools' answers may be so far apart where that is more than the tolerance: an outage has its time-outs."""
_TRIES: Final = 3
_OF_NSTAT: Final = {
    "ip.ect_packets": ("IpExtInECT0Pkts", "IpExtInECT1Pkts", "Ip6InECT0Pkts", "Ip6InECT1Pkts"),
    "ip.ce_packets": ("IpExtInCEPkts", "Ip6InCEPkts"),
    "ip.discards": ("IpInDiscards", "IpOutDiscards", "Ip6InDiscards", "Ip6OutDiscards"),
    "udp.datagrams_in": ("UdpInDatagrams", "Udp6InDatagrams"),
    "udp.datagrams_out": ("UdpOutDatagrams", "Udp6OutDatagrams"),
    "udp.rcvbuf_errors": ("UdpRcvbufErrors", "Udp6RcvbufErrors"),
    "udp.no_ports": ("UdpNoPorts", "Udp6NoPorts"),
    "socket.rcv_pruned": ("TcpExtPruneCalled",),
    "socket.rcv_collapsed": ("TcpExtTCPRcvCollapsed",),
    "socket.zero_windows": ("TcpExtTCPToZeroWindowAdv",),
}
"""What nstat(8) calls the counters that a host's metric is the sum of."""
_HOST_COUNTS: Final = ("ip.ect_packets", "ip.ce_packets", "udp.datagrams_in", "udp.datagrams_out")
PHASES: Final = ("first", "second", "third")
BEGIN, END = 0, 5
"""Of the moments: the trial's begin and its end; phases begin at 1, 2 and 3, and the last of them ends at 4."""


def ask(thread: NetnsThread, paths: Mapping[str, str]) -> Answer:
    found: dict[str, float] = {}
    for entry, (client, _) in PAIRS.items():
        found |= _named(entry, witness.data_socket(thread, paths[client], "bytes_sent"))
    for host in HOSTS:
        found |= _named(f"{host} tc", witness.root_qdisc(thread, paths[host]))
        found |= _named(host, witness.nstat(thread, paths[host]))
        found |= _named(f"{host} ip", witness.interface(thread, paths[host]))
    return found


def _named(prefix: str, found: Answer) -> dict[str, float]:
    return {f"{prefix} {name}": value for name, value in found.items()}


@dataclass(frozen=True, kw_only=True)
class Run:
    told: Told
    before: PhaseWitness
    after: PhaseWitness

    def phase(self, name: str) -> Bracket:
        """Return what the tools counted in a phase."""
        number = 1 + PHASES.index(name)
        return witness.bracket(self.before, self.after, number, number + 1)

    def whole(self) -> Bracket:
        """Return what the tools counted in the trial."""
        return witness.bracket(self.before, self.after, BEGIN, END)

    def is_tight(self) -> bool:
        """Whether the tools, whatever perfcheck found, were asked close enough to each other to say anything."""
        found = [self.whole(), *map(self.phase, PHASES)]
        names = [f"{host} {name}" for host in HOSTS for name in ("ip tx", "ip rx", "TcpRetransSegs")]
        return all(_is_tight(told.least[name], told.most[name]) for told in found for name in names)

    def ours(self, phase: str, subject: str) -> Mapping[str, float]:
        """Return a subject's metrics of a phase, or (``) of the whole trial."""
        record = self.told.trial.record
        return record.phases[phase].subjects[subject] if phase else record.subjects[subject]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    (scenario,) = load_text(SCENARIO, "phases.yaml")
    before, after = (PhaseWitness(name=name, ask=ask) for name in ("before", "after"))
    collectors = (TcpCollector(64), HostCountersCollector(), NetlinkCollector())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUN_DIR_VARIABLE, str(tmp_path_factory.mktemp("run")))
        for _ in range(_TRIES):
            told = witness.told_of(scenario, before, *collectors, after, series=False)
            found = Run(told=told, before=before, after=after)
            if found.is_tight():
                break
            # Others had the CPUs while the tools were asked: no outage is long enough for that.
    return found


def _is_tight(least: float, most: float) -> bool:
    return most - least <= max(COUNTS_PCT / 100 * least, _FEW)


def _holds(told: Bracket, name: str, ours: float) -> None:
    """Fail where a count is not what the tools saw, or they were asked too far apart to say."""
    least, most = told.least[name], told.most[name]
    assert _is_tight(least, most), f"the machine is too busy: {name}: {least} to {most}"
    assert least <= ours <= most, f"{name}: {ours}, but the tools counted {least} to {most}"


# ---- phases


@pytest.mark.parametrize("entry", PAIRS)
def test_segments_of_a_phase_are_those_that_ss_saw(run: Run, entry: str) -> None:
    # ss knows a connection between its begin and its end; the first phase began before, and the last one ends after.
    until = [look.at_moments[2] for look in (run.before, run.after)]
    first = Bracket(least=dict(until[0]), most=dict(until[1]))
    for phase, told in (("first", first), ("second", run.phase("second"))):
        for metric, name in (("tcp.retrans_segs", "retrans"), ("tcp.data_segs_out", "data_segs_out")):
            _holds(told, f"{entry} {name}", run.ours(phase, entry)[metric])


@pytest.mark.parametrize("phase", PHASES)
def test_retransmissions_of_all_sockets_of_a_host_are_those_of_nstat(run: Run, phase: str) -> None:
    for host in HOSTS:
        sockets = [one for seen in run.told.core.by_phase[phase] for one in seen.tcp_sockets if one.key.host == host]
        _holds(run.phase(phase), f"{host} TcpRetransSegs", sum(one.counters["retrans_segs"] for one in sockets))


def test_counts_of_the_phases_add_up_to_each_subjects_whole(run: Run) -> None:
    phased = [name for name, spec in CATALOGUE.items() if spec.counter and spec.phased is Phased.ALSO]
    for entry in PAIRS:
        sums = {name for name in phased if name in run.ours("", entry)}
        assert {"tcp.retrans_segs", "tcp.data_segs_out", "tcp.lost_segs", "tcp.rto_events"} <= sums
        for name in sums:
            assert sum(run.ours(phase, entry)[name] for phase in PHASES) == run.ours("", entry)[name], name
    for host in HOSTS:
        for name in _HOST_COUNTS:
            # Nothing passes between the trial's begin and the first phase's, nor after the last one's end.
            assert sum(run.ours(phase, host)[name] for phase in PHASES) == run.ours("", host)[name], name


@pytest.mark.parametrize("entry", PAIRS)
def test_round_trips_of_the_phases_are_the_wholes(run: Run, entry: str) -> None:
    client, _ = PAIRS[entry]
    whole = _round_trips(run.told.trial.observations, client)
    parts = [_round_trips(run.told.core.by_phase[phase], client) for phase in PHASES]
    merged = merge(parts)
    assert merged is not None
    assert all(part.count > 100 for part in parts)
    assert merged.counts == whole.counts
    for name, share in QUANTILES.items():
        value = quantile(merged, share)
        assert value == pytest.approx(quantile(whole, share), rel=0.03), name
        assert value == pytest.approx(run.ours("", entry)[f"tcp.rtt_us.{name}"], rel=0.03), name
    # A phase's own percentiles are of its own round trips.
    for phase, part in zip(PHASES, parts, strict=True):
        assert run.ours(phase, entry)["tcp.rtt_us.p50"] == pytest.approx(quantile(part, 0.5), rel=1e-6)


def _round_trips(observations: Sequence[Observation], host: str) -> Histogram:
    """Return those of the connection that sent the most."""
    own = [one for seen in observations for one in seen.tcp_sockets if one.key.host == host]
    return max(own, key=lambda one: one.counters["data_segs_out"]).rtt_us


# ---- subjects


@pytest.mark.parametrize("phase", ["", *PHASES])
def test_counters_of_each_host_are_those_of_nstat_and_ip_there(run: Run, phase: str) -> None:
    told = run.phase(phase) if phase else run.whole()
    for host in HOSTS:
        ours = run.ours(phase, host)
        for metric, names in _OF_NSTAT.items():
            if metric in ours:
                least, most = (sum(bound[f"{host} {name}"] for name in names) for bound in (told.least, told.most))
                assert least <= ours[metric] <= most, f"{metric}@{host}/{phase}"
        for metric, name in (("nic.tx_packets", "ip tx"), ("nic.rx_packets", "ip rx"), ("qdisc.packets", "tc packets")):
            _holds(told, f"{host} {name}", ours[metric])


def test_hosts_counters_are_of_the_traffic_that_crosses_them(run: Run) -> None:
    whole = {host: run.ours("", host) for host in HOSTS}
    assert whole["server-one"]["ip.ce_packets"] >= 3
    assert whole["server-one"]["ip.ect_packets"] > 1000
    assert whole["server-two"]["udp.datagrams_out"] > 150
    assert whole["client-two"]["udp.datagrams_in"] > 150
    for host in ("client-two", "server-two"):
        assert whole[host]["ip.ect_packets"] == whole[host]["ip.ce_packets"] == 0
    for host in ("client-one", "server-one"):
        assert whole[host]["udp.datagrams_in"] == whole[host]["udp.datagrams_out"] == 0
    assert run.ours("third", "server-two")["udp.datagrams_out"] == 0


@pytest.mark.parametrize("phase", ["", *PHASES])
def test_drops_of_a_hosts_queue_are_those_of_tc_there(run: Run, phase: str) -> None:
    told = run.phase(phase) if phase else run.whole()
    for client, server in PAIRS.values():
        for source, target in ((client, server), (server, client)):
            ours = run.ours(phase, f"{source}>{target}")
            _holds(told, f"{source} tc drops", ours["qdisc.drops"])
            _holds(told, f"{source} tc packets", ours["qdisc.packets"])
    assert run.ours("first", "server-two>client-two")["qdisc.drops"] > 50


def test_drops_of_a_link_are_what_one_host_sent_and_the_other_did_not_get(run: Run) -> None:
    reports = iter(run.told.trial.links)
    for client, server in PAIRS.values():
        for source, target in ((client, server), (server, client)):
            report = next(reports)
            # All is quiet when the trial begins and when it ends.
            told = run.whole()
            missing = told.least[f"{source} ip tx"] - told.least[f"{target} ip rx"]
            assert report.dropped_queue + report.dropped_loss == pytest.approx(missing, abs=2), (source, target)
            assert run.ours("", f"{source}>{target}")["qdisc.link_drops"] == report.dropped_queue
    assert run.ours("", "client-two>server-two")["qdisc.link_drops"] > 20


def test_drops_of_a_link_by_phase_are_what_was_sent_and_did_not_arrive_in_it(run: Run) -> None:
    for client, server in PAIRS.values():
        for source, target in ((client, server), (server, client)):
            name = f"{source}>{target}"
            ours = {phase: run.ours(phase, name)["qdisc.link_drops"] for phase in PHASES}
            assert sum(ours.values()) == run.ours("", name)["qdisc.link_drops"]
            if source == "client-two":
                for phase in PHASES:
                    told = run.phase(phase)
                    missing = told.least[f"{source} ip tx"] - told.least[f"{target} ip rx"]
                    # When a phase begins the link is away, and holds what is in its queue of 12 packets.
                    assert ours[phase] == pytest.approx(missing, abs=14), phase
                assert ours["first"] > 10
