"""Builders of model values with sensible defaults; a test can change each field."""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import FlowKey, Histogram, Protocol, TcpSocket
from perfcheck.model.observation import FlowReport, TrafficReport
from perfcheck.model.own_metric import OwnMetricRecord, with_own
from perfcheck.model.record import DiagnosisRecord, MetricRecord, RunRecord, ScenarioRef, TrialRecord
from perfcheck.model.scenario import Expectation, Scenario, TrafficSpec
from perfcheck.model.seams import Host
from perfcheck.model.units import parse_in_unit
from perfcheck.model.verdict import Verdict

EDGES: Final = tuple((8 + step) * 2.0**octave / 8 for octave in range(24) for step in range(8))
"""Bucket edges of `make_histogram`: eight linear steps an octave, from 1 to 15 * 2**20."""


def make_expectation(metric: str, text: str) -> Expectation:
    """Read one line of `expect`, e.g. `("tcp.rtt_us.p50", "<= 60ms")`, into the metric's own unit."""
    operator, _, threshold = text.partition(" ")
    value = parse_in_unit(threshold, CATALOGUE[metric].unit)
    return Expectation.model_validate({"metric": metric, "operator": operator, "threshold": value, "text": text})


def make_scenario(name: str = "example", *, expect: Mapping[str, str] | None = None, **changes: Any) -> Scenario:
    """Make a scenario of two hosts (client, server), a 10 ms link and one iperf3; `changes` are Scenario's fields.

    `links` and `traffic` are taken as in a file (`{"between": [...], "delay": "10ms"}`).
    """
    fields: dict[str, Any] = {
        "file": f"scenarios/{name}.yaml",
        "hosts": {"client": {}, "server": {}},
        "links": [{"between": ["client", "server"], "delay": "10ms", "rate": "100mbit", "queue": "1bdp"}],
        "traffic": [{"iperf3": {"from": "client", "to": "server", "duration": "1s"}}],
        "repeat": 2,
        "digest": f"digest-{name}",
        "workload_digest": f"workload-{name}",
        "expect": tuple(make_expectation(metric, text) for metric, text in (expect or {}).items()),
    }
    return Scenario.model_validate({"name": name, **fields, **changes})


def make_flow_report(
    sender: str = "client", receiver: str = "server", *, sender_address: str = "198.18.0.1",
    receiver_address: str = "198.18.0.2", sender_port: int = 40000, receiver_port: int = 5201,
    protocol: Protocol = Protocol.TCP, bytes_sent: int | None = 10_000_000, bytes_received: int | None = 10_000_000,
    retransmits: int | None = 0,
) -> FlowReport:  # fmt: skip
    """Make one flow as both hosts see it."""
    here = FlowKey(protocol=protocol, host=sender, local=sender_address, local_port=sender_port,
                   remote=receiver_address, remote_port=receiver_port)  # fmt: skip
    there = FlowKey(protocol=protocol, host=receiver, local=receiver_address, local_port=receiver_port,
                    remote=sender_address, remote_port=sender_port)  # fmt: skip
    return FlowReport(
        sender=here, receiver=there, bytes_sent=bytes_sent, bytes_received=bytes_received, retransmits=retransmits
    )


def make_traffic_report(
    spec: TrafficSpec, hosts: Mapping[str, Host], metrics: Mapping[str, float] | None = None, **changes: Any
) -> TrafficReport:
    """Make the report of an undisturbed second of traffic; a `command` has no flows, as the real one."""
    flows: tuple[FlowReport, ...] = ()
    if spec.iperf3 is not None:
        ends = (spec.iperf3.from_host, spec.iperf3.to_host)
        here, there = reversed(ends) if spec.iperf3.reverse else ends
        flows = (
            make_flow_report(here, there, sender_address=hosts[here].address_towards(there),
                             receiver_address=hosts[there].address_towards(here),
                             protocol=Protocol(spec.iperf3.protocol)),
        )  # fmt: skip
    fields: dict[str, Any] = {
        "generator": spec.generator,
        "flows": flows,
        "metrics": metrics if metrics is not None else {"app.throughput_bps": 80e6},
        "start_ns": 10**9,
        "end_ns": 2 * 10**9,
        "background": spec.background,
    }
    return TrafficReport(**(fields | changes))


def make_histogram(values: Iterable[float], unit: str = "us", edges: Sequence[float] = EDGES) -> Histogram:
    """Count values into buckets; a value on an edge falls into the bucket above it."""
    kept = sorted(values)
    counts = [0] * (len(edges) - 1)
    below = bisect.bisect_left(kept, edges[0])
    above = len(kept) - bisect.bisect_left(kept, edges[-1])
    for value in kept[below : len(kept) - above]:
        counts[bisect.bisect_right(edges, value) - 1] += 1
    return Histogram(
        unit=unit, edges=tuple(edges), counts=tuple(counts), below=below, above=above,
        minimum=kept[0] if kept else 0.0, maximum=kept[-1] if kept else 0.0, total=float(sum(kept)),
    )  # fmt: skip


def make_tcp_socket(
    key: FlowKey | None = None, *, rtt_us: Iterable[float] = (20_000.0,) * 100, cwnd: Iterable[float] = (10.0,) * 100,
    **changes: Any,
) -> TcpSocket:  # fmt: skip
    """Make a sender's socket that lived from 1 s to 2 s and delivered 10 MB without loss; `changes` are its fields."""
    segments = list(cwnd)
    fields: dict[str, Any] = {
        "key": key or make_flow_report().sender,
        "cookie": 1,
        "established_ns": 10**9,
        "first_ns": 10**9,
        "last_ns": 2 * 10**9,
        "closed": True,
        "congestion": "cubic",
        "rtt_us": make_histogram(rtt_us),
        "srtt_us": make_histogram(rtt_us),
        "cwnd": make_histogram(segments, "segs"),
        "inflight": make_histogram(segments, "segs"),
        "counters": {},
        "gauges": {},
        "whole_bytes_acked": 10_000_000,
        "whole_bytes_received": 0,
        "whole_retrans_segs": 0,
        "whole_segs_out": 6_907,
    }
    return TcpSocket(**(fields | changes))


def make_record(
    metrics: Mapping[str, Sequence[float]] | None = None, *, name: str = "example", verdict: Verdict = Verdict.PASS,
    own: Mapping[str, OwnMetricRecord] | None = None, **changes: Any,
) -> RunRecord:  # fmt: skip
    """Make a run record from values per trial by metric name; `changes` are RunRecord's fields.

    `own` are the metrics that the scenario's commands report of themselves.
    """
    known = with_own(own or {})
    values = metrics if metrics is not None else {"app.throughput_bps": (80e6, 81e6, 79e6)}
    trials = max((len(each) for each in values.values()), default=1)
    fields: dict[str, Any] = {
        "run_id": f"run-{name}",
        "scenario": ScenarioRef(
            name=name,
            digest=f"digest-{name}",
            file=f"scenarios/{name}.yaml",
            workload=f"workload-{name}",
            own_metrics=own or {},
        ),
        "started_at": "2024-01-02T03:04:05Z",
        "environment": {"kernel": "6.1.0"},
        "emulators": {"0": "fake"},
        "trials": tuple(
            TrialRecord(index=index, metrics={key: each[index] for key, each in values.items() if index < len(each)})
            for index in range(trials)
        ),
        "metrics": {
            key: MetricRecord(value=statistics.median(each), unit=known[key].unit, per_trial=tuple(each))
            for key, each in values.items()
        },
        # Empty, but there: a record without them is taken for an older one's.
        "subjects": {},
        "phases": {},
        "diagnosis": (DiagnosisRecord(cause="healthy", confidence=0.9),),
        "verdict": verdict,
    }
    return RunRecord(**(fields | changes))


def make_unmeasured_record(reason: str, *, name: str = "example", **changes: Any) -> RunRecord:
    """Make the record of a scenario that could not be measured."""
    nothing: dict[str, Any] = {"trials": (), "verdict": Verdict.INVALID, "invalid_reason": reason}
    return make_record({}, name=name, **(nothing | changes))
