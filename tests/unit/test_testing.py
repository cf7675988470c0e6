"""The public fakes answer by their scripts, satisfy the seams and build values that hold together."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck import testing
from perfcheck.errors import CollectError, TrafficError, Unavailable
from perfcheck.model.observation import LinkReport, Observation, Scope
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.seams import (
    Collector,
    EmulatedLink,
    Host,
    LinkEmulator,
    LinkEnd,
    Output,
    Progress,
    Seam,
    TrafficGenerator,
    TrafficSession,
    UndoLog,
)
from perfcheck.model.verdict import Verdict

MISSING = Unavailable("iperf3", "it is not installed", "apt-get install iperf3")
SCOPE = Scope(namespaces={"client": 1}, netns_paths={"client": "/run/netns/client"}, warmup_ns=0)
ENDS = (
    LinkEnd(host="client", netns_path="/run/netns/client", ifname="eth0"),
    LinkEnd(host="server", netns_path="/run/netns/server", ifname="eth0"),
)


@pytest.mark.parametrize("make", [testing.FakeEmulator, testing.FakeGenerator, testing.FakeCollector])
def test_check_raises_only_what_the_script_says(make: Callable[..., Seam]) -> None:
    make().check()
    with pytest.raises(Unavailable, match="iperf3 is not available"):
        make(unavailable=MISSING).check()


def test_each_fake_satisfies_its_seam() -> None:
    scenario = testing.make_scenario()
    host: Host = testing.FakeHost()
    generator: TrafficGenerator = testing.FakeGenerator()
    session: TrafficSession = generator.prepare(scenario.traffic[0], testing.make_hosts(scenario), 0)
    emulator: LinkEmulator = testing.FakeEmulator()
    undo: UndoLog = testing.FakeUndoLog()
    link: EmulatedLink = emulator.up(0, scenario.links[0], ENDS, undo)
    collector: Collector = testing.FakeCollector()
    output: Output = testing.ListOutput()
    progress: Progress = testing.ListProgress()
    progress.stage(scenario, "lab", 0, 3)
    undo.note("netns", "pf0000-client", pid="1")
    seams = (host, generator, session, emulator, undo, link, collector, output, progress)
    assert all(part is not None for part in seams)
    assert undo.notes == [("netns", "pf0000-client", {"pid": "1"})]  # type: ignore[attr-defined]
    assert progress.stages == [("example", "lab", 0, 3)]  # type: ignore[attr-defined]


def test_generator_answers_in_turn_and_repeats_the_last() -> None:
    scenario = testing.make_scenario()
    hosts = testing.make_hosts(scenario)
    first = testing.make_traffic_report(scenario.traffic[0], hosts, {"app.throughput_bps": 1.0})
    second = testing.make_traffic_report(scenario.traffic[0], hosts, {"app.throughput_bps": 2.0})
    generator = testing.FakeGenerator(script=[first, TrafficError("broken"), second])

    def trial() -> float:
        session = generator.prepare(scenario.traffic[0], hosts, 5)
        session.start()
        try:
            return session.wait().metrics["app.throughput_bps"]
        finally:
            session.stop()

    assert trial() == 1.0
    with pytest.raises(TrafficError, match="broken"):
        trial()
    assert (trial(), trial()) == (2.0, 2.0)
    assert generator.calls == ["prepare iperf3 warmup_ns=5"] * 4
    assert [session.calls for session in generator.sessions] == [["start", "wait", "stop"]] * 4


def test_generator_that_cannot_run_says_so_when_prepared() -> None:
    scenario = testing.make_scenario()
    with pytest.raises(Unavailable, match="apt-get install iperf3"):
        testing.FakeGenerator(script=[MISSING]).prepare(scenario.traffic[0], {}, 0)


def test_default_traffic_report_has_the_hosts_addresses_and_the_senders_side_of_reverse() -> None:
    scenario = testing.make_scenario()
    spec = TrafficSpec.model_validate(
        {"iperf3": {"from": "client", "to": "server", "reverse": True, "protocol": "udp"}}
    )
    flow = testing.make_traffic_report(spec, testing.make_hosts(scenario)).flows[0]
    assert (flow.sender.host, flow.sender.local, flow.sender.protocol) == ("server", "198.18.0.2", "udp")
    assert (flow.receiver.host, flow.receiver.local) == ("client", "198.18.0.1")
    assert (flow.sender.local_port, flow.sender.remote_port) == (flow.receiver.remote_port, flow.receiver.local_port)


def test_collector_answers_in_turn() -> None:
    seen = Observation(collector="tcp", lost_events=3)
    collector = testing.FakeCollector(script=[seen, CollectError("the map is full")])
    collector.open()
    collector.begin(SCOPE)
    assert collector.end() is seen
    collector.begin(SCOPE)
    with pytest.raises(CollectError, match="map is full"):
        collector.end()
    collector.close()
    assert collector.calls == ["open", "begin", "end", "begin", "end", "close"]
    assert collector.scopes == [SCOPE, SCOPE]


def test_emulator_reports_quiet_links_unless_it_is_told_otherwise() -> None:
    link_spec = testing.make_scenario().links[0]
    quiet = testing.FakeEmulator(refuses="too fast").up(2, link_spec, ENDS, testing.FakeUndoLog())
    quiet.begin_trial(0)
    assert [(report.link, report.way, report.received) for report in quiet.end_trial()] == [
        (2, "forward", 0),
        (2, "reverse", 0),
    ]
    report = LinkReport(link=0, way="forward", emulator="fake", received=9, delivered=8, dropped_loss=1)
    emulator = testing.FakeEmulator(script=[(report,)], refuses="too fast")
    assert emulator.up(0, link_spec, ENDS, testing.FakeUndoLog()).end_trial() == (report,)
    assert emulator.floor(link_spec) == "too fast"


def test_host_plays_scripted_processes() -> None:
    host = testing.FakeHost(
        processes=lambda argv: testing.FakeProcess(argv, stdout=b"out", stderr=b"err", exit_status=3),
        ports={(5201, "tcp")},
        towards={"b": "198.18.7.1"},
    )
    done = host.run(["tool", "-x"])
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out", b"err")
    assert host.popen(["other"]).communicate() == (b"out", b"err")
    assert host.commands == [("tool", "-x"), ("other",)]
    assert (host.listening(5201), host.listening(5201, "udp")) == (True, False)
    assert (host.address_towards("b"), host.address_towards("c")) == ("198.18.7.1", "198.18.0.1")


def test_process_without_a_status_runs_until_it_is_signalled() -> None:
    process = testing.FakeProcess(["server"], exit_status=None)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.001)
    process.terminate()
    process.kill()
    assert (process.wait(), process.poll(), process.signals) == (-15, -15, [15, 9])
    assert process.communicate() == (b"", b"")


def test_list_output_refuses_a_record_when_closed() -> None:
    output = testing.ListOutput()
    record = testing.make_record()
    with pytest.raises(AssertionError, match="outside open"):
        output.write(record)
    output.open()
    output.write(record)
    output.close()
    assert output.records == [record]


def test_scenario_takes_expect_lines_in_the_metrics_unit_and_the_files_keys() -> None:
    scenario = testing.make_scenario(
        "wan",
        expect={"tcp.rtt_us.p50": "<= 60ms", "app.throughput_bps": ">= 85mbit"},
        links=[{"between": ["client", "server"], "delay": "20ms"}],
        repeat=7,
    )
    assert [(line.operator, line.threshold) for line in scenario.expect] == [("<=", 60_000.0), (">=", 85e6)]
    assert (scenario.name, scenario.repeat, scenario.links[0].rtt_ns()) == ("wan", 7, 40_000_000)
    with pytest.raises(KeyError):
        testing.make_expectation("tcp.rtt_us.p51", "<= 60ms")


def test_record_has_medians_and_survives_json() -> None:
    record = testing.make_record({"tcp.rtt_us.p50": (3.0, 1.0, 2.0)}, verdict=Verdict.FAIL, lost_events=4)
    assert (record.metrics["tcp.rtt_us.p50"].value, record.metrics["tcp.rtt_us.p50"].unit) == (2.0, "us")
    assert [trial.metrics["tcp.rtt_us.p50"] for trial in record.trials] == [3.0, 1.0, 2.0]
    assert (record.verdict, record.lost_events) == (Verdict.FAIL, 4)
    assert RunRecord.model_validate_json(record.to_json()) == record


def test_tcp_socket_takes_rtts_and_changes() -> None:
    socket = testing.make_tcp_socket(rtt_us=(1000.0, 3000.0), whole_retrans_segs=5)
    assert (socket.rtt_us.count, socket.rtt_us.total, socket.rtt_us.minimum) == (2, 4000.0, 1000.0)
    assert (socket.whole_retrans_segs, socket.key.host) == (5, "client")


@given(st.lists(st.floats(min_value=0, max_value=2**26), max_size=50))
def test_histogram_loses_no_value_and_puts_each_where_it_belongs(values: list[float]) -> None:
    histogram = testing.make_histogram(values)
    assert histogram.count == len(values)
    for low, high, count in zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False):
        assert count == sum(low <= value < high for value in values)
    assert histogram.below == sum(value < histogram.edges[0] for value in values)
    assert list(histogram.edges) == sorted(set(histogram.edges))
