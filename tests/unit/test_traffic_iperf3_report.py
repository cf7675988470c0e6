"""Recorded output of iperf3 becomes the right report; damaged output becomes a TrafficError and nothing else."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.errors import TrafficError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import Iperf3Spec
from perfcheck.traffic.iperf3_json import Document, parse
from perfcheck.traffic.iperf3_report import Roles, Run, build_report

GOLDEN = Path(__file__).parents[1] / "golden" / "iperf3"
VERSIONS = ("3.12", "3.16", "3.18")
S = 10**9
SPECS: dict[str, dict[str, Any]] = {
    "tcp": {"congestion": "cubic"},
    "tcp-reverse": {"congestion": "cubic", "reverse": True},
    "tcp-streams": {"streams": 4},
    "tcp-bytes": {"bytes": "1mib"},
    "udp-loss": {"protocol": "udp", "rate": "25mbit"},
    "udp-reverse": {"protocol": "udp", "rate": "2mbit", "reverse": True, "streams": 2},
}


def text(version: str, name: str) -> str:
    return (GOLDEN / version / f"{name}.json").read_text()


def spec_of(**keys: Any) -> Iperf3Spec:
    return Iperf3Spec.model_validate({"from": "client", "to": "server", **keys})


def run_of(version: str, case: str, *, server: bool = True, **keys: Any) -> Run:
    spec = spec_of(**(SPECS.get(case, {}) | keys))
    return Run(
        spec=spec, roles=Roles.of(spec), client=parse(text(version, f"{case}.client")),
        server=parse(text(version, f"{case}.server")) if server else None, start_ns=5, end_ns=9,
    )  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ["tcp", "tcp-reverse", "tcp-streams", "udp-loss", "udp-reverse"])
def test_whole_goodput_is_iperf3s_own_figure(version: str, case: str) -> None:
    run = run_of(version, case)
    theirs = json.loads(text(version, f"{case}.client"))["end"]["sum_received"]["bits_per_second"]
    # the last interval and the total of 3.16 end at moments that differ by up to 12 ms in 2 s
    rel = 1e-3 if version == "3.12" else 1e-2
    assert build_report(run, 0).metrics["app.throughput_bps"] == pytest.approx(theirs, rel=rel)


def test_goodput_leaves_out_what_arrived_before_the_end_of_the_warmup() -> None:
    # the server's intervals: 0-0.5, 0.5-1.0, 1.000..-1.5, 1.5-2.0, 2.0-2.019 s; the last three count
    intervals = json.loads(text("3.12", "tcp.server"))["intervals"]
    kept = [interval["sum"] for interval in intervals[2:]]
    assert 0.999 < kept[0]["start"] < 1.001
    expected = 8 * sum(each["bytes"] for each in kept) / (kept[-1]["end"] - kept[0]["start"])
    report = build_report(run_of("3.12", "tcp"), 1 * S)
    assert report.metrics == {"app.throughput_bps": pytest.approx(expected, rel=1e-9)}
    assert expected == pytest.approx(19.12e6, rel=0.001)
    assert (report.generator, report.start_ns, report.end_ns, report.background) == ("iperf3", 5, 9, False)


@pytest.mark.parametrize("version", VERSIONS)
def test_flow_of_a_forward_test_goes_from_client_to_server(version: str) -> None:
    client, server = (json.loads(text(version, f"tcp.{side}")) for side in ("client", "server"))
    (flow,) = build_report(run_of(version, "tcp"), 0).flows
    (connected,) = client["start"]["connected"]
    assert (flow.sender.host, flow.sender.local, flow.sender.local_port, flow.sender.remote_port) == (
        "client",
        "198.18.3.1",
        connected["local_port"],
        5201,
    )
    assert (flow.receiver.host, flow.receiver.local, flow.receiver.local_port) == ("server", "198.18.3.2", 5201)
    assert (flow.receiver.remote, flow.receiver.remote_port) == ("198.18.3.1", connected["local_port"])
    assert flow.bytes_sent == client["end"]["sum_sent"]["bytes"]
    assert flow.bytes_received == server["end"]["sum_received"]["bytes"] < client["end"]["sum_sent"]["bytes"]
    assert flow.retransmits == client["end"]["sum_sent"]["retransmits"] > 0


@pytest.mark.parametrize("version", VERSIONS)
def test_flow_of_a_reverse_test_goes_from_server_to_client(version: str) -> None:
    client, server = (json.loads(text(version, f"tcp-reverse.{side}")) for side in ("client", "server"))
    (flow,) = build_report(run_of(version, "tcp-reverse"), 0).flows
    assert (flow.sender.host, flow.sender.local, flow.sender.local_port) == ("server", "198.18.3.2", 5201)
    assert (flow.receiver.host, flow.receiver.local) == ("client", "198.18.3.1")
    assert flow.receiver.local_port == client["start"]["connected"][0]["local_port"]
    assert flow.bytes_sent == server["end"]["sum_sent"]["bytes"]
    assert flow.bytes_received == client["end"]["sum_received"]["bytes"]
    assert flow.retransmits == server["end"]["sum_sent"]["retransmits"] > 0


@pytest.mark.parametrize("version", VERSIONS)
def test_each_of_four_streams_is_a_flow_with_its_own_bytes(version: str) -> None:
    client = json.loads(text(version, "tcp-streams.client"))
    flows = build_report(run_of(version, "tcp-streams"), 0).flows
    assert [flow.sender.local_port for flow in flows] == [each["local_port"] for each in client["start"]["connected"]]
    assert len({flow.sender.local_port for flow in flows}) == 4
    assert sum(flow.bytes_sent or 0 for flow in flows) == client["end"]["sum_sent"]["bytes"]
    assert sum(flow.bytes_received or 0 for flow in flows) == client["end"]["sum_received"]["bytes"]
    assert all(flow.receiver.remote_port == flow.sender.local_port for flow in flows)


@pytest.mark.parametrize("version", VERSIONS)
def test_udp_loss_is_iperf3s_own_figure(version: str) -> None:
    report = build_report(run_of(version, "udp-loss"), 0)
    theirs = json.loads(text(version, "udp-loss.server"))["end"]["sum"]
    assert report.metrics["udp.datagrams"] == pytest.approx(theirs["packets"], abs=2)
    assert report.metrics["udp.loss_pct"] == pytest.approx(theirs["lost_percent"], abs=0.1)
    assert report.metrics["udp.throughput_bps"] == report.metrics["app.throughput_bps"]
    assert 100 < report.metrics["udp.jitter_us"] < 2000
    assert set(report.metrics) <= set(CATALOGUE)


def test_udp_figures_after_the_warmup_are_those_of_the_later_intervals() -> None:
    later = json.loads(text("3.12", "udp-loss.server"))["intervals"][2:]
    packets, lost = (sum(each["sum"][key] for each in later) for key in ("packets", "lost_packets"))
    jitters = [each["sum"]["jitter_ms"] for each in later]
    metrics = build_report(run_of("3.12", "udp-loss"), 1 * S).metrics
    assert metrics["udp.datagrams"] == packets
    assert metrics["udp.loss_pct"] == pytest.approx(100 * lost / packets)
    assert metrics["udp.jitter_us"] == pytest.approx(1000 * sum(jitters) / len(jitters))


@pytest.mark.parametrize("version", VERSIONS)
def test_udp_reverse_has_bytes_on_both_sides_of_each_stream(version: str) -> None:
    report = build_report(run_of(version, "udp-reverse"), 0)
    assert [flow.sender.host for flow in report.flows] == ["server", "server"]
    assert [(flow.bytes_sent, flow.bytes_received) for flow in report.flows] == [(501008, 501008)] * 2
    assert [flow.retransmits for flow in report.flows] == [None, None]
    assert report.metrics["udp.loss_pct"] == 0.0


def test_udp_of_which_nothing_arrives_is_a_loss_of_100_pct() -> None:
    run = run_of("3.12", "udp-loss")
    document = json.loads(text("3.12", "udp-loss.server"))
    for interval in document["intervals"]:
        for stream in interval["streams"]:
            stream |= {"bytes": 0, "packets": 0, "lost_packets": 0, "jitter_ms": 0}
    deaf = Run(
        spec=run.spec, roles=run.roles, client=run.client, server=parse(json.dumps(document)), start_ns=0, end_ns=1
    )
    sent = json.loads(text("3.12", "udp-loss.client"))["end"]["sum_sent"]["packets"]
    metrics = build_report(deaf, 0).metrics
    assert (metrics["udp.loss_pct"], metrics["udp.datagrams"], metrics["udp.throughput_bps"]) == (100.0, sent, 0.0)
    assert "udp.jitter_us" not in metrics


def test_late_datagrams_that_outnumber_losses_do_not_make_a_negative_loss() -> None:
    document = json.loads(text("3.12", "udp-reverse.client"))
    for interval in document["intervals"]:
        interval["streams"][0]["lost_packets"] = -3
    run = run_of("3.12", "udp-reverse")
    late = Run(
        spec=run.spec, roles=run.roles, client=parse(json.dumps(document)), server=run.server, start_ns=0, end_ns=1
    )
    assert build_report(late, 0).metrics["udp.loss_pct"] == 0.0


def test_transfer_of_a_size_has_its_duration_by_the_receivers_clock() -> None:
    report = build_report(run_of("3.12", "tcp-bytes"), 0)
    assert report.metrics["app.duration_us"] == pytest.approx(430_516)
    # 1 MiB at a shaped 20 Mbit/s takes 0.44 s at the MTU, less the shaper's burst of 20 kB
    assert report.metrics["app.duration_us"] == pytest.approx(8 * 2**20 * 1514 / 1448 / 20, rel=0.03)
    assert report.flows[0].bytes_received == 2**20
    assert report.cpu_pct is None
    assert report.warnings == ()


def test_iperf3_with_threads_says_that_it_looks_for_the_end_rarely() -> None:
    report = build_report(run_of("3.16", "tcp-bytes"), 0)
    assert any("app.duration_us may be up to 0.1 s too long" in warning for warning in report.warnings)


def test_client_of_a_transfer_of_a_size_is_who_can_tell_that_it_is_through() -> None:
    def roles(**keys: Any) -> tuple[str, str, bool]:
        chosen = Roles.of(spec_of(**keys))
        return chosen.client, chosen.server, chosen.client_sends

    assert roles() == ("client", "server", True)
    assert roles(reverse=True) == ("client", "server", False)
    assert roles(bytes="1mb") == ("server", "client", False)
    assert roles(bytes="1mb", reverse=True) == ("client", "server", False)
    assert roles(bytes="1mb", protocol="udp") == ("client", "server", True)
    assert roles(bytes="1mb", protocol="udp", reverse=True) == ("server", "client", True)


def test_sender_that_ends_early_is_why_the_receiver_is_the_client() -> None:
    document = parse(text("3.12", "tcp-bytes-forward.client"))
    (end,) = document.end.streams
    assert end.sender is not None
    assert end.receiver is not None
    assert (end.sender.size_bytes, end.receiver.size_bytes) == (2**20, 31856)


def test_warmup_longer_than_the_traffic_is_said_and_gives_no_throughput() -> None:
    report = build_report(run_of("3.12", "tcp-bytes"), 1 * S)
    assert set(report.metrics) == {"app.duration_us"}
    assert report.warnings == ("iperf3's traffic ended within the warm-up of 1 s: no throughput was measured",)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ["tcp", "tcp-streams", "udp-reverse"])
def test_arrivals_are_what_the_receiver_got_and_when(version: str, case: str) -> None:
    run = replace(run_of(version, case), start_ns=10 * S, end_ns=13 * S)
    report = build_report(run, S // 2)
    side = "client" if case == "udp-reverse" else "server"
    intervals = json.loads(text(version, f"{case}.{side}"))["intervals"]
    assert [each.size_bytes for each in report.arrivals] == [each["sum"]["bytes"] for each in intervals]
    assert report.measured_ns is not None
    begin_ns, end_ns = report.measured_ns
    arrived = sum(each.size_bytes for each in report.arrivals if each.begin_ns >= begin_ns)
    assert 8e9 * arrived / (end_ns - begin_ns) == pytest.approx(report.metrics["app.throughput_bps"], rel=1e-6)
    # iperf3's clock begins after the client's start, by a share of the time that the client spent without traffic
    assert 10 * S < report.arrivals[0].begin_ns < report.arrivals[-1].end_ns == end_ns < 13 * S


def test_rest_after_the_end_of_the_traffic_is_no_measurement() -> None:
    last = json.loads(text("3.12", "tcp-streams.server"))["intervals"][-1]["sum"]
    assert last["start"] > 0.99
    assert last["bytes"] > 0
    assert build_report(run_of("3.12", "tcp-streams"), 1 * S).metrics == {}


def test_without_the_receivers_output_there_is_no_throughput_and_a_warning_says_so() -> None:
    report = build_report(run_of("3.12", "tcp", server=False), 0)
    assert "app.throughput_bps" not in report.metrics
    assert report.warnings[0] == "the receiving iperf3 gave no interval reports: no throughput was measured"
    assert (report.arrivals, report.measured_ns) == ((), None)
    flow = report.flows[0]
    assert (flow.receiver.host, flow.receiver.local, flow.receiver.remote_port) == (
        "server",
        "198.18.3.2",
        flow.sender.local_port,
    )
    udp = build_report(run_of("3.12", "udp-loss", server=False), 0)
    assert "udp.loss_pct" not in udp.metrics


def test_whole_reads_of_a_newer_version_are_said_when_they_matter() -> None:
    assert "uncertain by 2.8 %: give a smaller length" in build_report(run_of("3.16", "tcp"), 0).warnings[0]
    assert build_report(run_of("3.12", "tcp"), 0).warnings == ()


@pytest.mark.parametrize(
    ("version", "keys", "expected"),
    [("3.12", {}, 97.0), ("3.16", {}, 24.25), ("3.16", {"rate": "1mbit"}, None), ("3.18", {"rate": "1mbit"}, 24.25)],
)
def test_cpu_use_is_that_of_the_busier_side_for_each_thread(
    version: str, keys: dict[str, Any], expected: float | None
) -> None:
    document = json.loads(text("3.12", "tcp-streams.client"))
    document["start"]["version"] = f"iperf {version}"
    document["end"]["cpu_utilization_percent"] |= {"host_total": 12.0, "remote_total": 97.0}
    spec = spec_of(streams=4, **keys)
    run = Run(spec=spec, roles=Roles.of(spec), client=parse(json.dumps(document)), server=None, start_ns=0, end_ns=1)
    report = build_report(run, 0)
    assert report.cpu_pct == expected
    assert any("iperf3 used 97 % of a CPU" in warning for warning in report.warnings) is (expected == 97.0)


def test_another_congestion_control_than_asked_is_an_error() -> None:
    with pytest.raises(TrafficError, match="used the congestion control cubic, not bbr"):
        build_report(run_of("3.12", "tcp", congestion="bbr"), 0)


def test_background_is_passed_on() -> None:
    assert build_report(run_of("3.12", "tcp", background=True), 0).background


def test_addresses_are_plain() -> None:
    document = json.loads(text("3.12", "tcp.client"))
    document["start"]["connected"][0] |= {"local_host": "::ffff:198.18.3.1", "remote_host": "2001:2:0:0::2"}
    spec = spec_of()
    run = Run(spec=spec, roles=Roles.of(spec), client=parse(json.dumps(document)), server=None, start_ns=0, end_ns=1)
    sender = build_report(run, 0).flows[0].sender
    assert (sender.local, sender.remote) == ("198.18.3.1", "2001:2::2")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("error-refused.client", "unable to connect to server"),
        ("error-congestion.client", "unable to set TCP_CONGESTION"),
        ("error-in-use.server", "unable to start listener for connections: Address already in use"),
        ("error-server-ended.client", "control socket has closed unexpectedly"),
        ("error-client-ended.client", "interrupt - the client has terminated"),
        ("error-client-ended.server", "the client has terminated"),
    ],
)
def test_iperf3s_own_message_is_found(version: str, name: str, message: str) -> None:
    found = parse(text(version, name)).message
    assert found is not None
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "wrote no JSON at all"),
        ("iperf3: error - no such option\n", "wrote no JSON: 'iperf3: error - no such option'"),
        (text("3.12", "tcp.client")[:3000], "damaged or cut off"),
        ('{"start": {"connected": 5}}', r"not as expected at start\.connected"),
        ("{" + '"a":[' * 5000, "damaged or cut off"),
        ('{"end": {"streams": [{"sender": {"socket": 1, "bytes": -1}}]}}', r"end\.streams\.0\.sender\.bytes"),
        ('{"intervals": [{"streams": [{"socket": 1, "start": NaN, "end": 1, "bytes": 1}]}]}', r"streams\.0\.start"),
    ],
)
def test_output_that_is_no_document_says_what_is_wrong(written: str, message: str) -> None:
    with pytest.raises(TrafficError, match=message):
        parse(written)


def test_warnings_around_the_document_do_not_matter() -> None:
    plain = parse(text("3.12", "tcp.client"))
    assert parse(f"warning: something\n{text('3.12', 'tcp.client')}iperf3: exiting\n") == plain


def test_document_without_connections_is_no_finished_test() -> None:
    spec = spec_of()
    run = Run(spec=spec, roles=Roles.of(spec), client=parse("{}"), server=None, start_ns=0, end_ns=1)
    with pytest.raises(TrafficError, match="not that of a finished test"):
        build_report(run, 0)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, part in inner for deeper in paths(part, (*path, key)))]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated(draw: st.DrawFn, case: str, side: str, version: str) -> str:
    document = json.loads(text(version, f"{case}.{side}"))
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(paths(document)[1:] or [("start",)]))
        holder = document
        try:
            for key in path[:-1]:
                holder = holder[key]
            if draw(st.booleans()):
                holder[path[-1]] = draw(JSON_VALUES)
            else:
                del holder[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
    written = json.dumps(document)
    return written[: draw(st.integers(0, len(written)))] if draw(st.integers(0, 9)) == 0 else written


@settings(max_examples=150, deadline=None)
@given(data=st.data(), case=st.sampled_from(sorted(SPECS)), version=st.sampled_from(VERSIONS))
def test_mutated_output_gives_a_report_or_a_traffic_error(data: st.DataObject, case: str, version: str) -> None:
    client = data.draw(mutated(case, "client", version))
    server = data.draw(mutated(case, "server", version))
    spec = spec_of(**SPECS[case])
    try:
        run = Run(
            spec=spec, roles=Roles.of(spec), client=parse(client), server=parse(server), start_ns=0, end_ns=1
        )  # fmt: skip
        report = build_report(run, data.draw(st.sampled_from([0, S // 2, S])))
    except TrafficError:
        return
    assert isinstance(report, TrafficReport)
    assert all(math.isfinite(value) and value >= 0 for value in report.metrics.values())
    assert set(report.metrics) <= set(CATALOGUE)
    assert report.metrics.get("udp.loss_pct", 0.0) <= 100.0


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | JSON_VALUES.map(json.dumps))
def test_any_text_is_a_document_or_a_traffic_error(written: str) -> None:
    with contextlib.suppress(TrafficError):
        assert isinstance(parse(written), Document)
