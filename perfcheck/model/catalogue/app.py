"""Metrics that the traffic generators report of the application and of UDP."""

from __future__ import annotations

from typing import Final

from perfcheck.model.metric import DecidedBy, Direction, Layer, MetricSpec, Phased

_COUNTING: Final = ("iperf3", "http", "sockperf", "connections", "command")
"""Generators that count what went wrong. A load ends at the first failure."""
_GENERATORS: Final = (*_COUNTING, "load")
_ASKING: Final = ("http", "sockperf")
_CONNECTING: Final = ("connections", "load")
_TOGETHER: Final = (
    "the time in which at least one of them was measured (after its warm-up, before its end), divided by that time"
)
_STATS: Final = {"p50": "median", "p90": "90th percentile", "p99": "99th percentile", "p999": "99.9th percentile",
                 "mean": "mean", "max": "largest"}  # fmt: skip

APP: Final[tuple[MetricSpec, ...]] = (
    MetricSpec(
        name="app.throughput_bps", unit="bps", layer=Layer.APP, direction=Direction.HIGHER, decided_by=DecidedBy.RATE,
        meaning="goodput at the receiver after the warm-up, all measured flows",
        computed=f"bytes received by all of them in {_TOGETHER}; opposite directions are added",
        source_text="iperf3: the receiver's interval reports; h2load: bodies of answers; load: what its server counts",
        needs=("iperf3", "http", "load"), margin_pct=2.0, compared=True,
    ),
    *(
        MetricSpec(
            name=f"app.latency_us.{stat}", unit="us", layer=Layer.APP, direction=Direction.LOWER,
            decided_by=DecidedBy.DELAY, meaning=f"time from a request to the end of its answer, {word}",
            source_text="h2load, sockperf, load: one time per request", needs=(*_ASKING, "load"), margin_pct=5.0,
            floor=200.0, compared=stat in {"p50", "p99"},
        )
        for stat, word in _STATS.items()
    ),
    MetricSpec(
        name="app.requests_per_s", unit="per_s", layer=Layer.APP, direction=Direction.HIGHER,
        decided_by=DecidedBy.DELAY, meaning="requests that were answered per second",
        computed=f"requests sent after the warm-up; with several generators: all requests answered in {_TOGETHER}",
        source_text="h2load, sockperf, load: one time per request", needs=(*_ASKING, "load"), margin_pct=5.0,
        compared=True,
    ),
    MetricSpec(
        name="app.achieved_pct", unit="pct", layer=Layer.APP, direction=Direction.HIGHER,
        decided_by=DecidedBy.RATE, meaning="share of the asked rate (of requests or of data) that was achieved",
        computed="after the warm-up, at most 100; of several entries that ask for a rate the smallest",
        source_text="the generator's report over the `rate` of the file",
        needs=("iperf3", "http", "sockperf", "connections"), floor=1.0,
    ),
    MetricSpec(
        name="app.recovery_ms", unit="ms", layer=Layer.APP, direction=Direction.LOWER, decided_by=DecidedBy.PATH,
        meaning="time from the begin of a phase until the traffic is again as it was in the first phase",
        computed="goodput (of requests: latency) within 10 % of the first phase's, and so on average over the next "
        "0.5 s; of several entries the longest; absent where one of them does not recover",
        source_text="iperf3, load: what arrived by the receiver; h2load, sockperf, load: one time per request",
        needs=("iperf3", "http", "sockperf", "load"), margin_pct=10.0, floor=50.0, phased=Phased.ONLY,
    ),
    MetricSpec(
        name="app.duration_us", unit="us", layer=Layer.APP, direction=Direction.LOWER, decided_by=DecidedBy.RATE,
        meaning="duration of the transfer or the command",
        computed="warm-up included; the longest if there are several",
        source_text="CLOCK_MONOTONIC around it; iperf3 with bytes, load: until the last byte arrived",
        needs=_GENERATORS, margin_pct=5.0, floor=20_000.0, phased=Phased.NEVER,
    ),
    MetricSpec(
        name="app.errors", unit="count", layer=Layer.APP, direction=Direction.LOWER, decided_by=DecidedBy.PATH,
        meaning="errors counted by the generators, warm-up included", source_text="the generator's report",
        needs=_COUNTING, margin_pct=0.0, floor=0.5, phased=Phased.NEVER,
    ),
    MetricSpec(
        name="app.timeouts", unit="count", layer=Layer.APP, direction=Direction.LOWER, decided_by=DecidedBy.PATH,
        meaning="requests that were not answered, and connections that did not end, in time, warm-up included",
        source_text="h2load: one log line per request; sockperf: dropped messages; connections: its client",
        needs=(*_ASKING, "connections"), margin_pct=0.0, floor=0.5,
        phased=Phased.NEVER,
    ),
    MetricSpec(
        name="app.resets", unit="count", layer=Layer.APP, direction=Direction.LOWER, decided_by=DecidedBy.PATH,
        meaning="requests aborted by the end of their connection, warm-up included",
        source_text="h2load: errored; connections: its client (RST)", needs=("http", "connections"), margin_pct=0.0,
        floor=0.5, phased=Phased.NEVER,
    ),
    MetricSpec(
        name="app.refused", unit="count", layer=Layer.APP, direction=Direction.LOWER, decided_by=DecidedBy.PATH,
        meaning="connections that the server's host or a host on the way refused, warm-up included",
        source_text="connections: its client (ECONNREFUSED, EHOSTUNREACH, ENETUNREACH)", needs=("connections",),
        margin_pct=0.0, floor=0.5, phased=Phased.NEVER,
    ),
    MetricSpec(
        name="app.connections_per_s", unit="per_s", layer=Layer.APP, direction=Direction.HIGHER,
        decided_by=DecidedBy.DELAY, meaning="connections that were opened, answered and closed, a second",
        computed=f"those opened after the warm-up; of several generators: all in {_TOGETHER}",
        source_text="connections, load: the client", needs=_CONNECTING, margin_pct=5.0, compared=True,
        phased=Phased.NEVER,
    ),
    *(
        MetricSpec(
            name=f"app.{name}_us.{stat}", unit="us", layer=Layer.APP, direction=Direction.LOWER,
            decided_by=DecidedBy.DELAY, meaning=f"{meaning}, {word}",
            source_text="connections, load: the client, CLOCK_MONOTONIC", needs=_CONNECTING, margin_pct=5.0,
            floor=200.0, compared=stat in {"p50", "p99"}, phased=Phased.NEVER,
        )
        for name, meaning in (
            ("connect", "time from connect() to the established connection"),
            ("first_byte", "time from connect() to the first byte of the answer"),
        )
        for stat, word in _STATS.items()
    ),
)  # fmt: skip

UDP: Final[tuple[MetricSpec, ...]] = (
    MetricSpec(
        name="udp.datagrams", unit="count", layer=Layer.UDP, direction=Direction.NEITHER, decided_by=DecidedBy.PATH,
        meaning="datagrams sent after the warm-up, by their sequence numbers at the receiver",
        source_text="iperf3: the receiver's report; load: what the server counts", needs=("iperf3", "load"),
    ),
    MetricSpec(
        name="udp.loss_pct", unit="pct", layer=Layer.UDP, direction=Direction.LOWER, decided_by=DecidedBy.PATH,
        meaning="datagrams lost over datagrams sent after the warm-up, all measured flows together",
        source_text="iperf3: the receiver's report", needs=("iperf3",),
        margin_pct=30.0, floor=0.1, compared=True,
    ),
    MetricSpec(
        name="udp.jitter_us", unit="us", layer=Layer.UDP, direction=Direction.LOWER, decided_by=DecidedBy.MACHINE,
        meaning="interarrival jitter (RFC 3550, section 6.4.1), including the wait behind the test's other streams",
        computed="mean of the streams; with several generators the largest of them",
        source_text="iperf3: the receiver's report", needs=("iperf3",), margin_pct=25.0, floor=200.0, compared=True,
    ),
    MetricSpec(
        name="udp.self_jitter_us", unit="us", layer=Layer.UDP, direction=Direction.NEITHER, decided_by=DecidedBy.PATH,
        meaning="largest jitter that the test's own streams can cause each other; computed, not measured",
        computed="as if all streams of a link sent at once, in changing order; largest over the links",
        source_text="the scenario: streams, size of a datagram, rate of the slowest link", needs=("iperf3",),
    ),
    MetricSpec(
        name="udp.throughput_bps", unit="bps", layer=Layer.UDP, direction=Direction.HIGHER, decided_by=DecidedBy.RATE,
        meaning="goodput at the receiver after the warm-up",
        computed="as app.throughput_bps, for UDP flows",
        source_text="iperf3: the receiver's report; load: what the server counts", needs=("iperf3", "load"),
        margin_pct=2.0,
    ),
)  # fmt: skip
