"""What traffic and collectors pass to the analysis after one trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfcheck.model.detail import DetailFilter, DetailStream
from perfcheck.model.event import EventStream
from perfcheck.model.flow import FlowKey, Histogram, SocketBuffers, TcpSocket

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose packets count in one trial: the network namespaces of the lab and the warm-up to leave out.

    `namespaces` maps a host's name to its namespace's inode number; `netns_paths` to a path that
    setns(2) takes. `warmup_ns` is counted from each connection's establishment, by what knows no
    connection from the trial's begin. `emulator_pids` are the processes that carry links. `detail` says which
    packets detail mode follows, which may take `detail_budget_pct` of one CPU. `phases_ns` says when each phase
    begins, CLOCK_MONOTONIC, in the order of time.
    """

    namespaces: Mapping[str, int]
    netns_paths: Mapping[str, str]
    warmup_ns: int
    emulator_pids: tuple[int, ...] = ()
    detail: DetailFilter = field(default_factory=DetailFilter)
    detail_budget_pct: float = 25.0
    phases_ns: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReport:
    """What a generator says of one of its own flows (one TCP connection, one UDP stream).

    `sender` and `receiver` are the same flow as its two hosts see it. `bytes_sent` and
    `bytes_received` are payload over the whole flow (None where the generator does not say);
    `retransmits` are segments over the whole flow.
    """

    sender: FlowKey
    receiver: FlowKey
    bytes_sent: int | None = None
    bytes_received: int | None = None
    retransmits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What arrived in one stretch of time (CLOCK_MONOTONIC): payload bytes, answers, and connections that
    succeeded.

    Of datagrams: how many were sent and lost by their numbers, a lost one where the next one arrives; and each
    stream's jitter at the end of the stretch.
    """

    begin_ns: int
    end_ns: int
    size_bytes: int = 0
    answers: int = 0
    connections: int = 0
    datagrams: int = 0
    lost: int = 0
    jitter_us: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """Requests of one trial that were answered, warm-up included.

    When each was sent (CLOCK_MONOTONIC), how long its answer took, and the payload bytes of one answer.
    """

    sent_ns: npt.NDArray[np.int64]
    latency_us: npt.NDArray[np.float64]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timings:
    """Every value of one metric of times, warm-up included; `metric` is its name without the stat (`app.connect_us`).

    When each ended (CLOCK_MONOTONIC), and how long it took.
    """

    metric: str
    ended_ns: npt.NDArray[np.int64]
    took_us: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReport:
    """What one generator reports of one trial.

    `metrics` are catalogue metrics that the generator itself measures (`app.*`, `udp.*`), after
    the warm-up. `start_ns`/`end_ns` are CLOCK_MONOTONIC around its traffic. `cpu_pct` is the
    busier side's share of one CPU: near 100 the generator is the bottleneck.

    `arrivals` say when what arrived, warm-up included, so that several reports can be added over one time; the first
    begins where the generator's own clock begins. `measured_ns` are begin and end of the time that the
    metrics cover. A generator that tells neither is taken to have kept its rates from `start_ns` to `end_ns`.
    `zero_ns` is where the generator's own clock begins, where that is not the first arrival's begin. `requests` are
    those of a generator that asks and is answered; `timings` are other times of single events.
    `served` are addresses and ports of its server, where it names no flows: so much is known of whose they are.
    `invalid_reason` says why the trial does not count, where the generator did not report what it was to report.
    """

    generator: str
    flows: tuple[FlowReport, ...]
    metrics: Mapping[str, float]
    start_ns: int
    end_ns: int
    background: bool = False
    cpu_pct: float | None = None
    raw: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    measured_ns: tuple[int, int] | None = None
    zero_ns: int | None = None
    requests: Requests | None = None
    timings: tuple[Timings, ...] = ()
    served: tuple[tuple[str, int], ...] = ()
    invalid_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCost:
    """Run time of one BPF program in one trial, as kernel.bpf_stats_enabled counts it."""

    program: str
    calls: int
    run_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """What measuring itself cost in one trial; `map_bytes` is the kernel's memory for the maps."""

    programs: tuple[ProgramCost, ...] = ()
    user_cpu_s: float = 0.0
    rss_bytes: int = 0
    map_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCounters:
    """Difference over one trial of a host's own counters (/proc/net/snmp, snmp6 and netstat), e.g. `Tcp.RetransSegs`.

    `window` is the same from the end of the warm-up on; empty where the trial ended before.
    """

    host: str
    counters: Mapping[str, int]
    window: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one collector saw in one trial; a collector fills only what is its own.

    `metrics` are values by catalogue name; `distributions` maps a catalogue name without its stat
    (`cpu.runq_delay_us`) to all values of the trial, in the name's unit. `by_host` and `by_interface` (by host and
    interface name) hold metrics of these alone, where the collector can tell them apart. `detail` is detail mode's,
    `events` the events collector's.
    """

    collector: str
    tcp_sockets: tuple[TcpSocket, ...] = ()
    socket_buffers: tuple[SocketBuffers, ...] = ()
    host_counters: tuple[HostCounters, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    distributions: Mapping[str, Histogram] = field(default_factory=dict)
    by_host: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    by_interface: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)
    overhead: Overhead = Overhead()
    lost_events: int = 0
    warnings: tuple[str, ...] = ()
    detail: DetailStream | None = None
    events: EventStream | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReport:
    """What a link's emulator says of one direction in one trial: packets by fate, and how late it was.

    `lateness_us` holds percentiles (`p50`, `p99`, `max`) of release time minus due time.
    """

    link: int
    way: str
    emulator: str
    received: int
    delivered: int
    dropped_loss: int = 0
    dropped_queue: int = 0
    dropped_policer: int = 0
    dropped_other: int = 0
    max_queue_bytes: int = 0
    lateness_us: Mapping[str, float] = field(default_factory=dict)
    invalid_reason: str | None = None
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLook:
    """The queue of one direction of a link at one moment: bytes that wait, and what was dropped since the trial began.

    `losses` are packets that the loss model took, `drops` those that the queue had no room for, `policed` those that
    the policer dropped; `received` counts them all.
    """

    size_bytes: int
    drops: int
    losses: int
    policed: int = 0
    received: int = 0
