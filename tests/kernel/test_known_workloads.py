"""The whole path on workloads whose answer is known beforehand; independent sources judge."""

from __future__ import annotations

import pytest
from measured import measured

from perfcheck.runner import Runner

pytestmark = pytest.mark.kernel


def scenario_text(name: str, link: str, traffic: str, warmup: str = "0s") -> str:
    return f"""
scenario: {name}
hosts: {{client: {{congestion: cubic}}, server: {{congestion: cubic}}}}
links: [{{between: [client, server], {link}}}]
traffic: [{{iperf3: {{from: client, to: server, {traffic}}}}}]
repeat: 1
warmup: {warmup}
"""


def test_a_round_trip_of_20_ms_reads_20_ms(runner: Runner) -> None:
    record = measured(runner, scenario_text("known-rtt", "delay: 10ms", "duration: 1s, rate: 4mbit"))
    assert record.metrics["tcp.rtt_us.p50"].value == pytest.approx(20_000, rel=0.05)
    assert record.metrics["tcp.min_rtt_us"].value == pytest.approx(20_000, rel=0.05)
    assert record.metrics["tcp.handshake_us.p50"].value == pytest.approx(20_000, rel=0.05)


def test_dropped_segments_are_counted_as_retransmissions(runner: Runner) -> None:
    record = measured(
        runner, scenario_text("known-loss", "delay: 2ms, rate: 50mbit, forward: {loss: 2%}", "duration: 3s")
    )
    retransmitted = record.metrics["tcp.retrans_segs"].value
    assert retransmitted > 50
    by_source = {check.source: check for check in record.cross_checks if "retrans" in check.name}
    assert len(by_source) >= 2, "iperf3's report and the host's netstat both have to be there"
    for check in by_source.values():
        assert check.ours == pytest.approx(check.theirs, rel=0.02, abs=2), check


def test_lost_datagrams_are_those_of_iperf3_and_of_the_kernel(runner: Runner) -> None:
    traffic = "protocol: udp, rate: 12mbit, length: 1000b, duration: 2s"
    record = measured(runner, scenario_text("known-udp-loss", "delay: 1ms, seed: 5, forward: {loss: 10%}", traffic))
    value = {name: metric.value for name, metric in record.metrics.items()}
    lost = value["udp.datagrams"] * value["udp.loss_pct"] / 100
    assert value["udp.datagrams"] == pytest.approx(2 * 12e6 / 8000, rel=0.02)
    assert lost > 200
    # What the hosts' kernels sent and did not hand on: iperf3's own count is the other source.
    assert value["udp.datagrams_out"] == pytest.approx(value["udp.datagrams"], rel=0.02)
    assert value["udp.datagrams_out"] - value["udp.datagrams_in"] == pytest.approx(lost, rel=0.02, abs=3)
    (delivered,) = [check for check in record.cross_checks if check.name == "udp.delivered_pct"]
    assert delivered.agrees, delivered


@pytest.mark.parametrize("reverse", ["false", "true"])
def test_bytes_agree_with_iperf3(runner: Runner, reverse: str) -> None:
    record = measured(
        runner,
        scenario_text("known-bytes", "delay: 5ms, rate: 50mbit", f"duration: 2s, streams: 2, reverse: {reverse}"),
    )
    # Segments under way at the end are written but not yet acknowledged; iperf3's two counts bound ours.
    (acked,) = [check for check in record.cross_checks if check.name == "tcp.bytes_acked" and "iperf3" in check.source]
    assert acked.agrees, acked
    assert acked.tolerance_pct == 1.0
    # 50 Mbit/s on the wire carry 1448 of 1514 bytes of payload.
    assert record.metrics["app.throughput_bps"].value == pytest.approx(50e6 * 1448 / 1514, rel=0.05)


def test_warm_up_is_left_out_of_every_metric_alike(runner: Runner) -> None:
    record = measured(runner, scenario_text("known-warmup", "delay: 10ms, rate: 20mbit", "duration: 2s", warmup="1s"))
    core = record.metrics["tcp.delivery_rate_bps"].value
    assert core == pytest.approx(record.metrics["app.throughput_bps"].value, rel=0.02)


def test_traffic_of_others_is_not_counted(runner: Runner) -> None:
    text = scenario_text("known-scope", "delay: 2ms, rate: 20mbit", "duration: 1s").replace(
        "traffic: [", "traffic: [{iperf3: {from: server, to: client, duration: 1s, streams: 4, background: true}}, "
    )
    record = measured(runner, text)
    assert record.metrics["tcp.connections"].value == 1


def test_bytes_of_a_transfer_with_an_end_are_the_same_everywhere(runner: Runner) -> None:
    record = measured(runner, scenario_text("known-transfer", "delay: 2ms, rate: 50mbit", "bytes: 4mb"))
    (acked,) = [check for check in record.cross_checks if check.name == "tcp.bytes_acked" and "iperf3" in check.source]
    assert acked.ours == pytest.approx(4_000_000, rel=0.01)
    assert acked.theirs == pytest.approx(4_000_000, rel=0.01)
