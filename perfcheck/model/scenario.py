"""The scenario file, schema 1, as frozen validated types; field aliases are the file's keys."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from perfcheck.model.bounds import (
    MAX_COMMAND,
    MAX_CPU,
    MAX_CPUS,
    MAX_HOSTS,
    MAX_KEY,
    MAX_NAME,
    MAX_SETUP,
    MAX_SYSCTLS,
    MAX_TEXT,
)  # fmt: skip
from perfcheck.model.impairments import Change, JitterField, Policer
from perfcheck.model.measure import Measure
from perfcheck.model.names import HostName, Name
from perfcheck.model.quantities import (
    MAX_QUEUE,
    Flag,
    Frozen,
    LinkDelayNs,
    LinkRateBps,
    Loss,
    LossField,
    Percent,
    QueueField,
    Whole,
)  # fmt: skip
from perfcheck.model.trace import TraceField
from perfcheck.model.traffic import CommandSpec, Iperf3Spec, ServerSpec, TrafficSpec
from perfcheck.model.units import format_value, parse_size_bytes

_ETHERNET_BYTES: Final = 14
MAX_CHANGES: Final = 1000
MAX_IN_FLIGHT_BYTES: Final = 1_000_000_000


class HostSpec(Frozen):
    """One host of the lab: a network namespace with its settings."""

    sysctl: dict[Annotated[str, Field(max_length=MAX_KEY)], Annotated[str, Field(max_length=MAX_TEXT)] | Whole] = Field(
        default_factory=dict,
        max_length=MAX_SYSCTLS,
        description="net.* settings of this host's own network namespace",
        examples=[{"net.ipv4.tcp_rmem": "4096 131072 6291456"}],
        json_schema_extra={"propertyNames": {"pattern": r"^net\.", "maxLength": MAX_KEY}},
    )
    setup: tuple[Annotated[str, Field(max_length=MAX_COMMAND)], ...] = Field(
        default=(),
        max_length=MAX_SETUP,
        description="commands run in this host before traffic, split as a shell splits words, without a shell",
        examples=[["nft add table inet t"]],
    )
    congestion: str | None = Field(
        default=None,
        description="default TCP congestion control",
        examples=["cubic"],
        min_length=1,
        max_length=MAX_NAME,
    )
    cpus: tuple[Annotated[Whole, Field(ge=0, le=MAX_CPU)], ...] | None = Field(
        default=None,
        max_length=MAX_CPUS,
        description="CPUs that this host's processes are pinned to",
        examples=[[0, 1]],
        min_length=1,
    )
    router: Flag = Field(default=False, description="forward packets between this host's links", examples=[True])
    nat: tuple[HostName, ...] = Field(
        default=(),
        max_length=MAX_HOSTS,
        description="neighbours towards which this router does NAT: packets leave with its own address (masquerade)",
        examples=[["internet"]],
    )
    via: dict[HostName, HostName] = Field(
        default_factory=dict,
        max_length=MAX_HOSTS,
        description="packets to that host leave through this neighbour, not by the path with the fewest links",
        examples=[{"server": "satellite"}],
        json_schema_extra={"additionalProperties": False},
    )


class Impairments(Frozen):
    """What one direction of a link does to packets. None: as the other keys of the link say, or unlimited."""

    delay_ns: LinkDelayNs | None = Field(default=None, alias="delay", examples=["10ms"], description="one-way delay")
    jitter: JitterField | None = Field(
        default=None,
        examples=["1ms", {"spread": "1ms", "distribution": "normal"}],
        description="how far the delay varies, uniformly or by another distribution; packets keep their order",
    )
    rate_bps: LinkRateBps | None = Field(
        default=None, alias="rate", examples=["100mbit"], description="rate of the link; unlimited by default"
    )
    queue: QueueField | None = Field(
        default=None,
        examples=["1bdp", "100p", "256kb", {"size": "1bdp", "discipline": "codel"}],
        description="length of the queue before the rate limit: in BDPs (rate x round-trip time), packets or bytes; "
        "needs rate",
    )
    policer: Policer | None = Field(
        default=None,
        examples=[{"rate": "10mbit", "burst": "64kb"}],
        description="token bucket that drops what exceeds it, without a queue; in front of everything else",
    )
    loss: LossField | None = Field(
        default=None,
        examples=["0.1%", {"model": "gilbert-elliott", "p": "1%", "r": "30%"}],
        description="packets lost: a share, or a model",
    )
    reorder_pct: Percent | None = Field(
        default=None, alias="reorder", examples=["0.5%"], description="packets that overtake the ones before them"
    )
    duplicate_pct: Percent | None = Field(
        default=None, alias="duplicate", examples=["0.1%"], description="packets that arrive twice"
    )
    corrupt_pct: Percent | None = Field(
        default=None, alias="corrupt", examples=["0.01%"], description="packets with a bit flipped"
    )
    ecn: Flag | None = Field(
        default=None, examples=[True], description="mark ECN-capable packets (RFC 3168) instead of dropping them"
    )
    trace: TraceField | None = Field(
        default=None,
        examples=["lte.trace"],
        description="file of rates or delays over time to replay; its path is relative to the scenario file's folder",
    )
    schedule: tuple[Change, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_CHANGES,
        examples=[[{"at": "2s", "rate": "1mbit"}, {"at": "4s", "rate": "10mbit", "loss": "5%"}]],
        description="changes over time: from each given time of the trial on, a new rate, delay or loss",
    )

    @property
    def jitter_ns(self) -> int:
        """The spread of the delay, in ns; 0 without jitter."""
        return 0 if self.jitter is None else self.jitter.spread_ns

    def at_start(self) -> Impairments:
        """Return the values that hold when a trial starts: its own with those of a schedule's entries at 0s."""
        changes = [change for change in self.schedule or () if change.at_ns == 0]
        return self.model_copy(
            update={
                name: value
                for change in changes
                for name in ("rate_bps", "delay_ns", "loss")
                if (value := getattr(change, name)) is not None
            }
        )

    def later(self) -> tuple[Change, ...]:
        """Return the schedule's entries after the start."""
        return tuple(change for change in self.schedule or () if change.at_ns > 0)

    def moments(self) -> Iterator[Impairments]:
        """Return the values of rate and delay as they follow one another in a trial, beside all others."""
        now = self.at_start()
        yield now
        for change in self.later():
            said = {"rate_bps": change.rate_bps, "delay_ns": change.delay_ns}
            now = now.model_copy(update={name: value for name, value in said.items() if value is not None})
            yield now

    def too_early(self) -> str | None:
        """Say why some packet would have to arrive before it was sent, at some moment; None where none has to."""
        return next((text for moment in self.moments() if (text := _too_early(moment)) is not None), None)


def _too_early(now: Impairments) -> str | None:
    delay_ns = now.delay_ns or 0
    if now.jitter is not None and now.jitter.least_delay_ns > delay_ns:
        spread, delay = format_value(now.jitter.spread_ns, "ns"), format_value(delay_ns, "ns")
        if now.jitter.distribution == "uniform":
            return f"jitter {spread} is more than the delay {delay}: a packet would have to arrive before it was sent"
        least = format_value(now.jitter.least_delay_ns, "ns")
        return (
            f"a {now.jitter.distribution} jitter of {spread} needs a delay of at least {least}, not {delay}: packets "
            "would have to arrive before they were sent"
        )
    if now.reorder_pct and not delay_ns:
        return "reorder needs a delay: a packet overtakes by not waiting for it"
    return None


class LinkSpec(Impairments):
    """A link between two hosts; `forward`/`reverse` override a direction (forward: first host to second)."""

    between: tuple[HostName, HostName] = Field(
        examples=[["client", "server"]], description="the two hosts that the link joins"
    )
    forward: Impairments | None = Field(
        default=None,
        examples=[{"rate": "50mbit"}],
        description="overrides for packets from the first host to the second",
    )
    reverse: Impairments | None = Field(
        default=None,
        examples=[{"rate": "5mbit"}],
        description="overrides for packets from the second host to the first",
    )
    seed: Whole = Field(default=1, ge=0, le=2**32 - 1, examples=[7], description="the same seed drops the same packets")
    mtu: Whole = Field(default=1500, ge=1280, le=9000, examples=[1400], description="largest IP packet, in bytes")
    emulator: Literal["auto", "relay", "netem", "none"] = Field(
        default="auto",
        examples=["netem"],
        description="what makes the impairments: the kernel's netem, a user-space relay, or (auto) whichever is "
        "available",
    )

    @model_validator(mode="after")
    def _two_ends(self) -> Self:
        if self.between[0] == self.between[1]:
            raise ValueError(f"expected two different hosts, got {self.between[0]!r} twice")
        for way in ("forward", "reverse"):
            direction = self.direction(way)
            if direction.queue is not None and direction.at_start().rate_bps is None:
                raise ValueError(
                    f"a queue without a rate never fills ({way}): set a rate, such as rate: 100mbit, or remove queue"
                )
            self._check_schedule(way, direction)
            if (early := direction.too_early()) is not None:
                raise ValueError(f"{early} ({way})")
            if (large := self._too_large(way, direction)) is not None:
                raise ValueError(large)
            frame = self.mtu + _ETHERNET_BYTES
            if direction.policer is not None and direction.policer.burst_bytes < frame:
                raise ValueError(
                    f"a policer whose burst is smaller than a full frame ({frame} bytes) lets no full frame pass "
                    f"({way})"
                )
        return self

    def _check_schedule(self, way: str, direction: Impairments) -> None:
        if direction.schedule is None:
            return
        if direction.trace is not None:
            raise ValueError(f"trace and schedule cannot be combined ({way}); give one")
        times = [change.at_ns for change in direction.schedule]
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError(f"expected the times of schedule in ascending order, each once ({way})")
        if direction.at_start().rate_bps == 0:
            raise ValueError(f"a link whose rate begins at 0bit cannot be proved ({way}): begin the outage at 1s")
        if direction.at_start().rate_bps is None and any(change.rate_bps is not None for change in direction.schedule):
            raise ValueError(f"a schedule that changes the rate needs one to begin with ({way}): give rate: 10mbit")

    def _too_large(self, way: str, direction: Impairments) -> str | None:
        """Return why packets that wait or are on their way would take too much of the machine's memory, or None."""
        rate_bps = max((moment.rate_bps or 0 for moment in direction.moments()), default=0)
        delay_ns = max((moment.delay_ns or 0 for moment in direction.moments()), default=0)
        if rate_bps * delay_ns > MAX_IN_FLIGHT_BYTES * 8 * 10**9:
            most = format_value(MAX_IN_FLIGHT_BYTES, "bytes")
            return f"at this rate and delay more than {most} would be in flight ({way}); give a lower rate or delay"
        start_bps = direction.at_start().rate_bps
        if direction.queue is None or start_bps is None:
            return None
        if direction.queue.size.bytes_for(start_bps, self.rtt_ns(), self.mtu) > parse_size_bytes(MAX_QUEUE):
            return f"the queue would hold more than {MAX_QUEUE} ({way}); give a smaller one, such as queue: 1bdp"
        return None

    def direction(self, way: str) -> Impairments:
        """Return one direction with the link's own keys filled in; `way` is `forward` or `reverse`."""
        override = self.forward if way == "forward" else self.reverse
        names = Impairments.model_fields
        merged = {name: getattr(self, name) for name in names}
        if override is not None:
            merged |= {name: value for name in names if (value := getattr(override, name)) is not None}
        return Impairments.model_construct(**merged)

    def rtt_ns(self) -> int:
        """Base round-trip time that the two delays add, in ns."""
        return (self.direction("forward").delay_ns or 0) + (self.direction("reverse").delay_ns or 0)


class Expectation(Frozen):
    """One line of `expect`: a metric, a comparison and a threshold in the metric's own unit."""

    metric: str
    operator: Literal["<=", ">=", "<", ">", "==", "!="]
    threshold: float
    text: str

    def holds(self, actual: float) -> bool:
        """Whether the value satisfies the line."""
        return {
            "<=": actual <= self.threshold,
            ">=": actual >= self.threshold,
            "<": actual < self.threshold,
            ">": actual > self.threshold,
            "==": actual == self.threshold,
            "!=": actual != self.threshold,
        }[self.operator]


class Scenario(Frozen):
    """One runnable scenario: one point of the file's matrix.

    `point` holds the matrix's (key, value) pairs of this point, empty without a matrix; `line`
    and `column` of `expect` entries are kept by the loader, not here. `expected_cause` is the
    cause that `expect: diagnosis:` names (`healthy` for `none`), or None.
    """

    name: Name
    file: str
    title: str = ""
    tags: tuple[str, ...] = ()
    reference: str | None = None
    hosts: dict[HostName, HostSpec]
    links: tuple[LinkSpec, ...]
    traffic: tuple[TrafficSpec, ...]
    measure: Measure = Measure()
    repeat: int = Field(default=5, ge=1, le=1000)
    warmup_ns: int = 0
    point: tuple[tuple[str, str], ...] = ()
    expect: tuple[Expectation, ...] = ()
    expected_cause: str | None = None
    tolerance_pct: dict[str, float] = Field(default_factory=dict)
    digest: str = ""
    workload_digest: str = ""

    @property
    def label(self) -> str:
        """Name with the matrix point, e.g. `wan[congestion=cubic]`; unique within a file."""
        if not self.point:
            return self.name
        values = ",".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in self.point)
        return f"{self.name}[{values}]"


__all__ = [
    "CommandSpec", "Expectation", "HostName", "HostSpec", "Impairments", "Iperf3Spec", "LinkSpec", "Loss", "Measure",
    "Name", "Scenario", "ServerSpec", "TrafficSpec",
]  # fmt: skip
