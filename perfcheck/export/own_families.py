"""Families that no metric of the catalogue makes: what was found, how alerts stand, what watching cost; pure."""

from __future__ import annotations

from typing import Final

from perfcheck.export.family import LIVE, RECORDS, Family, Kind


def _gauge(name: str, meaning: str, unit: str = "", *labels: str) -> Family:
    return Family(name=f"{LIVE}{name}", kind=Kind.GAUGE, help=meaning, unit=unit, labels=labels)


def _counter(name: str, meaning: str, unit: str = "", *labels: str) -> Family:
    return Family(name=f"{LIVE}{name}_total", kind=Kind.COUNTER, help=meaning, unit=unit, labels=labels)


def _histogram(name: str, meaning: str, unit: str) -> Family:
    return Family(name=f"{LIVE}{name}", kind=Kind.HISTOGRAM, help=meaning, unit=unit)


UP: Final = _gauge("up", "1 while perfctl measures, 0 before the first interval and after the last one")
BUILD_INFO: Final = _gauge("build_info", "Always 1; the version of perfctl", "", "version")
INTERVAL_SECONDS: Final = _gauge("interval_seconds", "Length of the last interval", "seconds")
LAST_INTERVAL: Final = _gauge("last_interval_timestamp_seconds", "End of the last interval, as Unix time", "seconds")
INTERVALS: Final = _counter("intervals", "Intervals that are over")

ACKED_BYTES: Final = _counter("tcp_acked_bytes", "Payload that was sent and acknowledged", "bytes")
RECEIVED_BYTES: Final = _counter("tcp_received_bytes", "Payload that was received", "bytes")
OPENED: Final = _counter("connections_opened", "Connections that were first seen")
CLOSED: Final = _counter("connections_closed", "Connections that were last seen")
BOTTLENECK: Final = _gauge(
    "bottleneck_connections", "Connections of the last interval by what limits them", "", "bottleneck"
)
CAUSE: Final = _gauge("cause_probability_ratio", "Probability of each cause, by the last diagnosis", "ratio", "cause")
DIAGNOSED: Final = _gauge(
    "diagnosis_timestamp_seconds", "End of the last interval that was diagnosed, as Unix time; 0: none was", "seconds"
)  # fmt: skip
ALERT_ACTIVE: Final = _gauge("alert_active", "Alerts that are raised and not cleared, by rule", "", "rule")
ALERTS: Final = _counter("alerts", "Alerts that were raised, by rule", "", "rule")

SEND_SRTT: Final = _histogram("tcp_send_srtt_seconds", "Smoothed RTT when segments left", "seconds")
SEND_CWND: Final = _histogram("tcp_send_cwnd_segments", "Congestion window when segments left", "segments")
SEND_INFLIGHT: Final = _histogram("tcp_send_inflight_segments", "Segments in flight when segments left", "segments")

CPU: Final = _gauge(
    "cpu_ratio", "Share of one CPU that perfctl used in the last interval, BPF programs included", "ratio"
)
BPF_CPU: Final = _gauge(
    "bpf_cpu_ratio", "Share of one CPU that perfctl's BPF programs used in the last interval", "ratio"
)
LOST: Final = _counter("lost_events", "Events that happened and were not counted")
REFUSED: Final = _counter("refused_connections", "Connections that had no room among the records")
LEFT_OUT: Final = _gauge(
    "series_left_out",
    "Label sets of the last interval beyond --max-series: their sum is in the series whose labels are other",
)
SHED: Final = _gauge("shed", "1 for what is left out to keep to --cpu-ceiling", "", "what")
NOT_MEASURED: Final = _gauge("not_measured", "1 for what cannot be measured on this machine", "", "what")

SELF: Final = (UP, BUILD_INFO, INTERVAL_SECONDS, LAST_INTERVAL, INTERVALS, CPU, BPF_CPU, LOST, REFUSED, LEFT_OUT, SHED,
               NOT_MEASURED)  # fmt: skip
"""What perfctl says of itself."""
TRAFFIC: Final = (ACKED_BYTES, RECEIVED_BYTES, OPENED, CLOSED, BOTTLENECK)
"""Of every command that exports."""
OBSERVED: Final = (CAUSE, DIAGNOSED, ALERT_ACTIVE, ALERTS)
"""Of `perfctl observe` alone."""
SEND_SIDE: Final = {
    "tcp.send_srtt_us": SEND_SRTT,
    "tcp.send_cwnd_segs": SEND_CWND,
    "tcp.send_inflight_segs": SEND_INFLIGHT,
}
"""By the names of a live interval's histograms: with `LiveRequest.send_side` alone."""

FLOW_ACKED: Final = _counter("flow_acked_bytes", "Payload that was sent and acknowledged, of each label set", "bytes")
FLOW_RECEIVED: Final = _counter("flow_received_bytes", "Payload that was received, of each label set", "bytes")
FLOW_RETRANS: Final = _counter("flow_retrans_segments", "Segments retransmitted, of each label set", "segments")
FLOW_RTT: Final = _gauge(
    "flow_rtt_seconds", "RTT in the last interval: median over the connections of a label set", "seconds"
)
FLOW_CWND: Final = _gauge(
    "flow_cwnd_segments", "Congestion window: median over the connections of a label set", "segments"
)
FLOW_CONNECTIONS: Final = _gauge("flow_connections", "Connections of a label set in the last interval")
FLOW_BOTTLENECK: Final = _gauge(
    "flow_bottleneck_connections", "Connections of a label set by what limits them", "", "bottleneck"
)
FLOWS: Final = (FLOW_ACKED, FLOW_RECEIVED, FLOW_RETRANS, FLOW_RTT, FLOW_CWND, FLOW_CONNECTIONS, FLOW_BOTTLENECK)
"""With `--labels` alone, which adds the labels asked for: process, app, cgroup, or the ends of a connection."""
CONNECTION_LABELS: Final = ("local_address", "local_port", "remote_address", "remote_port")
OTHER: Final = "other"
"""Value of each asked label in the series that sums up what --max-series leaves out."""


def _of_run(name: str, meaning: str, unit: str = "", *labels: str) -> Family:
    return Family(name=f"{RECORDS}{name}", kind=Kind.GAUGE, help=meaning, unit=unit, labels=("scenario", *labels))


VERDICT: Final = _of_run("verdict", "1 for the verdict of a scenario's last run, 0 for all others", "", "verdict")
CASE_FAILED: Final = _of_run("case_failed", "1 where the case failed or could not be measured, 0 where it did not")
DIAGNOSIS: Final = _of_run(
    "diagnosis_probability_ratio", "Probability of each cause, by the diagnosis", "ratio", "cause"
)
RUN_TIMESTAMP: Final = _of_run("run_timestamp_seconds", "When the run began, as Unix time", "seconds")
CHANGE: Final = _of_run("change_ratio", "Change against the baseline, as a share of it", "ratio", "metric")
DETECTABLE: Final = _of_run(
    "detectable_change_ratio", "Smallest change that the comparison could have shown", "ratio", "metric"
)
COMPARISON: Final = _of_run(
    "comparison_verdict", "1: the verdict of a metric's comparison with the baseline", "", "metric", "verdict"
)
RECORD_SERIES_LEFT_OUT: Final = Family(
    name=f"{RECORDS}series_left_out", kind=Kind.GAUGE, help="Series beyond what one file takes, which are not in it"
)
RUN: Final = (VERDICT, CASE_FAILED, DIAGNOSIS, RUN_TIMESTAMP, CHANGE, DETECTABLE, COMPARISON)
"""Of each record; metrics of the catalogue have the labels `scenario` and `subject`, and `stat`, `kind` or the like."""
