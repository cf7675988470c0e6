"""The scenario file's traffic: one model a generator; field aliases are the file's keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from perfcheck.model.bounds import MAX_COMMAND, MAX_NAME, MAX_OPENED
from perfcheck.model.names import EntryName, Family, HostName
from perfcheck.model.own_metric import ReportSpec
from perfcheck.model.quantities import (
    AnswerBytes,
    Flag,
    Frozen,
    OfferedBps,
    SizeBytes,
    TimeNs,
    TransferBytes,
    Whole,
    WindowBytes,
    WriteBytes,
)  # fmt: skip

Background = Annotated[Flag, Field(examples=[True], description="cross traffic: its flows are not part of the metrics")]


MAX_DATAGRAM: Final = 65_507
"""Payload of the largest UDP datagram over IPv4 (RFC 768, RFC 791)."""


class _BetweenHosts(Frozen):
    """Traffic from one host to another."""

    from_host: HostName
    to_host: HostName

    @model_validator(mode="after")
    def _two_hosts(self) -> Self:
        if self.from_host == self.to_host:
            raise ValueError(f"expected two different hosts, got {self.from_host!r} twice")
        return self


class Iperf3Spec(_BetweenHosts):
    """Traffic by iperf3 between two hosts."""

    from_host: HostName = Field(alias="from", examples=["client"], description="the host that connects")
    to_host: HostName = Field(alias="to", examples=["server"], description="the host that listens")
    protocol: Literal["tcp", "udp"] = Field(default="tcp", examples=["udp"], description="transport protocol")
    family: Family = Field(default="ipv4", examples=["ipv6"], description="addresses that it uses")
    duration_ns: TimeNs | None = Field(
        default=None,
        alias="duration",
        examples=["3s"],
        description="time of the traffic, warm-up included, in whole seconds; default: 5s, or none with bytes",
    )
    size_bytes: TransferBytes | None = Field(
        default=None, alias="bytes", gt=0, examples=["20mb"], description="end after this many bytes instead"
    )
    streams: Whole = Field(default=1, ge=1, le=128, examples=[4], description="connections at a time")
    reverse: Flag = Field(default=False, examples=[True], description="the host of `to` sends (a download)")
    congestion: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_NAME,
        examples=["bbr"],
        description="TCP congestion control of these connections",
    )
    rate_bps: OfferedBps | None = Field(
        default=None,
        alias="rate",
        gt=0,
        examples=["5mbit"],
        description="rate at which each stream sends; default: unlimited for TCP, 1mbit for UDP",
    )
    length_bytes: WriteBytes | None = Field(
        default=None, alias="length", gt=0, examples=["160b"], description="size of a write or datagram"
    )
    window_bytes: WindowBytes | None = Field(
        default=None, alias="window", gt=0, examples=["256kb"], description="socket buffers (SO_SNDBUF, SO_RCVBUF)"
    )
    mss: Whole | None = Field(default=None, ge=88, le=9000, examples=[1200], description="TCP segment size, in bytes")
    nodelay: Flag = Field(default=False, examples=[True], description="TCP_NODELAY: small writes are sent at once")
    start_ns: TimeNs = Field(
        default=0, alias="start", examples=["1s"], description="how long after the other traffic it starts"
    )
    background: Background = False

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.duration_ns is not None and self.size_bytes is not None:
            raise ValueError("duration and bytes cannot be combined; give one")
        if self.duration_ns is not None and self.duration_ns < 10**8:
            raise ValueError("a duration below 100ms cannot be measured")
        if self.protocol == "udp" and self.congestion is not None:
            raise ValueError("congestion needs protocol: tcp")
        return self


class ServerSpec(Frozen):
    """The other end of a `command`: started first, waited for until its port listens, ended afterwards."""

    host: HostName = Field(examples=["server"], description="the host on which it runs")
    run: str = Field(
        min_length=1,
        max_length=MAX_COMMAND,
        examples=["python3 -m http.server 8000"],
        description="the command, run without a shell",
    )
    port: Whole = Field(
        ge=1, le=65535, examples=[8000], description="the traffic waits until something listens on this port"
    )
    protocol: Literal["tcp", "udp"] = Field(default="tcp", examples=["udp"], description="protocol of that port")


class CommandSpec(Frozen):
    """Traffic by any command: split as a shell splits words, run without a shell, exit status 0 expected.

    `{HOST}` in a command is replaced by the address of that host of the lab.
    """

    host: HostName = Field(examples=["client"], description="the host on which it runs")
    run: str = Field(
        min_length=1,
        max_length=MAX_COMMAND,
        examples=["curl -sSf -o /dev/null http://{server}:8000/"],
        description="the command, run without a shell; {HOST} becomes that host's address",
    )
    family: Family = Field(default="ipv4", examples=["ipv6"], description="addresses that {HOST} stands for")
    timeout_ns: TimeNs = Field(
        default=30 * 10**9,
        alias="timeout",
        examples=["10s"],
        description="time after which the command counts as failed",
    )
    server: ServerSpec | None = Field(
        default=None,
        examples=[{"host": "server", "run": "python3 -m http.server 8000", "port": 8000}],
        description="the server side, started first and ended last",
    )
    report: ReportSpec | None = Field(
        default=None,
        examples=[
            {"format": "json", "metrics": {"app.get_us.p99": {"at": "get.p99", "unit": "us", "better": "lower"}}}
        ],
        description="metrics of its own that the command writes to its standard output (docs/applications.md)",
    )
    background: Background = False


class HttpSpec(_BetweenHosts):
    """Requests over HTTP/2 (cleartext) by h2load, answered by nghttpd: one at a time on each connection."""

    from_host: HostName = Field(alias="from", examples=["client"], description="the host that sends requests")
    to_host: HostName = Field(alias="to", examples=["server"], description="the host that answers them")
    family: Family = Field(default="ipv4", examples=["ipv6"], description="addresses that it uses")
    duration_ns: TimeNs = Field(
        default=5 * 10**9,
        alias="duration",
        ge=10**8,
        examples=["3s"],
        description="time of the traffic, warm-up included",
    )
    connections: Whole = Field(default=1, ge=1, le=1000, examples=[10], description="connections at a time")
    rate_per_s: Whole | None = Field(
        default=None,
        alias="rate",
        ge=1,
        le=1_000_000,
        examples=[200],
        description="requests per second of all connections together; default: as fast as answers arrive",
    )
    size_bytes: SizeBytes = Field(
        default=1000, alias="size", ge=1, le=1 << 30, examples=["10kb"], description="size of an answer's body"
    )
    timeout_ns: TimeNs = Field(
        default=10 * 10**9,
        alias="timeout",
        ge=10**6,
        examples=["2s"],
        description="an answer that takes longer counts as timed out",
    )
    background: Background = False


class SockperfSpec(_BetweenHosts):
    """Messages by sockperf, each answered: one after the other, or at a rate whatever the answers."""

    from_host: HostName = Field(alias="from", examples=["client"], description="the host that sends")
    to_host: HostName = Field(alias="to", examples=["server"], description="the host that answers them")
    protocol: Literal["tcp", "udp"] = Field(default="udp", examples=["tcp"], description="transport protocol")
    duration_ns: TimeNs = Field(
        default=5 * 10**9,
        alias="duration",
        ge=10**9,
        examples=["3s"],
        description="time of the traffic, warm-up included, in whole seconds",
    )
    rate_per_s: Whole | None = Field(
        default=None,
        alias="rate",
        ge=1,
        le=1_000_000,
        examples=[1000],
        description="messages per second, sent without waiting for answers; default: each message waits for the "
        "answer to the one before",
    )
    length_bytes: SizeBytes = Field(
        default=64, alias="length", ge=14, le=65_000, examples=["160b"], description="size of a message"
    )
    background: Background = False


class ConnectionsSpec(_BetweenHosts):
    """Short TCP connections, each for one request and its answer (connect, request, response, close)."""

    from_host: HostName = Field(alias="from", examples=["client"], description="the host that connects")
    to_host: HostName = Field(alias="to", examples=["server"], description="the host that accepts and answers")
    family: Family = Field(default="ipv4", examples=["ipv6"], description="addresses that it uses")
    duration_ns: TimeNs = Field(
        default=5 * 10**9,
        alias="duration",
        ge=10**8,
        examples=["3s"],
        description="time in which connections are opened, warm-up included",
    )
    rate_per_s: Whole | None = Field(
        default=None,
        alias="rate",
        ge=1,
        le=1_000_000,
        examples=[200],
        description="connections opened per second; default: as fast as those before are closed",
    )
    concurrency: Whole = Field(
        default=100,
        ge=1,
        le=2000,
        examples=[16],
        description="connections at a time; where so many are open, the next waits for one to end",
    )
    size_bytes: AnswerBytes = Field(
        default=100, alias="size", gt=0, examples=["10kb"], description="size of an answer; a request has 64 bytes"
    )
    timeout_ns: TimeNs = Field(
        default=5 * 10**9,
        alias="timeout",
        ge=10**6,
        examples=["2s"],
        description="a connection that takes longer from its begin to its end is given up and counts as timed out",
    )
    backlog: Whole = Field(
        default=4096,
        ge=1,
        le=65535,
        examples=[128],
        description="length of the server's accept queue (listen(2)); the kernel caps it at net.core.somaxconn",
    )
    accept_per_s: Whole | None = Field(
        default=None,
        alias="accept",
        ge=1,
        le=10_000,
        examples=[50],
        description="connections that the server accepts per second; default: as they come",
    )
    background: Background = False

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        opened = (self.rate_per_s or 0) * self.duration_ns / 1e9
        if opened > MAX_OPENED:
            raise ValueError(f"expected at most {MAX_OPENED} connections in a run, got {opened:.0f} (rate x duration)")
        return self


class LoadSpec(_BetweenHosts):
    """An exact amount of work by a small program of perfcheck's own, as short as it can be in user space."""

    from_host: HostName = Field(alias="from", examples=["client"], description="the host that sends")
    to_host: HostName = Field(alias="to", examples=["server"], description="the host that answers")
    kind: Literal["stream", "requests", "connections", "datagrams"] = Field(
        examples=["requests"],
        description="stream: writes over one TCP connection; requests: each answered before the next; connections: "
        "each for one request and its answer; datagrams: UDP, 32 at a time",
    )
    count: Whole = Field(
        ge=64, le=10_000_000, examples=[4000], description="writes, requests, connections or datagrams of one run"
    )
    size_bytes: WriteBytes = Field(
        alias="size", gt=0, le=1 << 20, examples=["100b"], description="size of each, and of an answer"
    )
    family: Family = Field(default="ipv4", examples=["ipv6"], description="addresses that it uses")
    background: Background = False

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if self.kind == "datagrams" and self.size_bytes > MAX_DATAGRAM:
            raise ValueError(f"a datagram has at most {MAX_DATAGRAM} bytes, got {self.size_bytes}")
        if self.kind == "connections" and self.count > MAX_OPENED:
            raise ValueError(f"expected at most {MAX_OPENED} connections in a run, got {self.count}")
        return self

    @property
    def protocol(self) -> Literal["tcp", "udp"]:
        """The transport protocol."""
        return "udp" if self.kind == "datagrams" else "tcp"

    @property
    def answered(self) -> bool:
        """Whether as much comes back as is sent."""
        return self.kind in ("requests", "connections")


AnySpec = Iperf3Spec | CommandSpec | HttpSpec | SockperfSpec | ConnectionsSpec | LoadSpec


class TrafficSpec(Frozen):
    """One entry of `traffic`: exactly one generator's key, and the entry's name."""

    name: EntryName | None = Field(
        default=None,
        examples=["rpc"],
        description="what metrics of this entry alone are asked by, as in app.latency_us.p99@rpc; generator and "
        "position, such as iperf3-1, where nothing is said",
    )
    iperf3: Iperf3Spec | None = Field(
        default=None, examples=[{"from": "client", "to": "server", "duration": "3s"}], description="traffic by iperf3"
    )
    http: HttpSpec | None = Field(
        default=None,
        examples=[{"from": "client", "to": "server", "rate": 200}],
        description="requests over HTTP/2 by h2load, answered by nghttpd (Debian: nghttp2-client, nghttp2-server)",
    )
    sockperf: SockperfSpec | None = Field(
        default=None,
        examples=[{"from": "client", "to": "server", "protocol": "tcp"}],
        description="messages and their answers by sockperf (Debian: sockperf)",
    )
    connections: ConnectionsSpec | None = Field(
        default=None,
        examples=[{"from": "client", "to": "server", "rate": 200}],
        description="short TCP connections, each for one request and its answer",
    )
    load: LoadSpec | None = Field(
        default=None,
        examples=[{"from": "client", "to": "server", "kind": "requests", "count": 4000, "size": "100b"}],
        description="an exact amount of work, for the cost of a kernel's path (docs/kernels.md)",
    )
    command: CommandSpec | None = Field(
        default=None,
        examples=[{"host": "client", "run": "curl -sSf -o /dev/null http://{server}:8000/"}],
        description="traffic by any command",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self._given()) != 1:
            raise ValueError(f"expected exactly one generator: {', '.join(GENERATORS)}")
        return self

    def _given(self) -> dict[str, AnySpec]:
        return {name: spec for name in GENERATORS if (spec := getattr(self, name)) is not None}

    @property
    def generator(self) -> str:
        """The generator's name."""
        return next(iter(self._given()))

    @property
    def spec(self) -> AnySpec:
        """What the file says under the generator's name."""
        return next(iter(self._given().values()))

    @property
    def background(self) -> bool:
        """Whether its flows are not part of the metrics."""
        return self.spec.background

    @property
    def protocol(self) -> Literal["tcp", "udp"]:
        """The transport protocol of its flows; a command's is taken for TCP."""
        spec = self.iperf3 or self.sockperf or self.load
        return spec.protocol if spec is not None else "tcp"


GENERATORS: Final = tuple(name for name in TrafficSpec.model_fields if name != "name")
"""The keys of an entry that name a generator."""


def entry_names(entries: Sequence[TrafficSpec]) -> tuple[str, ...]:
    """Return each entry's name: its own, or its generator's with its position in the file, counted from 1."""
    return tuple(entry.name or f"{entry.generator}-{place}" for place, entry in enumerate(entries, start=1))
