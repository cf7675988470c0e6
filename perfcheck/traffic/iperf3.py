"""Traffic by iperf3: a server and a client in their hosts, one test a session.

Times, sizes and ends, where iperf3 may surprise:

- The server's own output is read on its host. `--get-server-output` would send it over the measured path after the
  test, as extra traffic.
- `-t` takes whole seconds: another duration is rounded up, and the report warns.
- `rate` is for each stream, as in iperf3. `-b` on TCP paces in the application.
- A UDP stream starts with one datagram in each direction that is not repeated. If the path loses it, iperf3 gives up
  after 30 s. Such a start is tried again, because it says nothing about the traffic.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.errors import PerfcheckError, TrafficError
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import Iperf3Spec, TrafficSpec
from perfcheck.model.seams import Host, TrafficSession
from perfcheck.system import commands
from perfcheck.traffic.iperf3_json import Document, parse
from perfcheck.traffic.iperf3_report import Roles, Run, build_report
from perfcheck.traffic.process import Child, prepared

FIRST_PORT: Final = 5201
PORTS: Final = 200
DEFAULT_S: Final = 5
INTERVAL_S: Final = 0.1
READY_S: Final = 10.0
CONNECT_MS: Final = 20_000
GRACE_S: Final = 45.0
"""Beyond the traffic: connection set-up and the exchange of results, over a slow path with a full queue."""
LONGEST_S: Final = 3600.0
"""No transfer is waited for longer, whatever its size."""
SLOWEST_BPS: Final = 10**6
"""A transfer that is limited by size, not time, may take as long as this rate needs."""
SERVER_S: Final = 10.0
_SERVERS_LAST_WORD_S: Final = 0.5
DEFAULT_UDP_BPS: Final = 10**6
TCP_LENGTH_BYTES: Final = 1 << 15
"""iperf3's own 128 KiB makes slow paths bursty, and newer versions count what arrives in units of it."""
UDP_STARTS: Final = 3
_LOST_HELLO: Final = "unable to read from stream socket"
_CONGESTIONS: Final = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Iperf3:
    """The generator `iperf3`; `program` is the command to run."""

    name: str = "iperf3"
    program: str = "iperf3"

    def check(self) -> None:
        """Raise Unavailable where the program is not installed."""
        commands.find(self.program)

    def prepare(self, spec: TrafficSpec, hosts: Mapping[str, Host], warmup_ns: int) -> TrafficSession:
        """Start the server and return once it listens."""
        if spec.iperf3 is None:
            raise TrafficError(f"the generator iperf3 was given traffic of {spec.generator}")
        for host in (spec.iperf3.from_host, spec.iperf3.to_host):
            hosts[host].require(self.program)
        _check_warmup(spec.iperf3, warmup_ns)
        return prepared(Iperf3Session(program=self.program, spec=spec.iperf3, hosts=hosts, warmup_ns=warmup_ns))


class LostHelloError(TrafficError):
    """The datagram that opens a UDP stream, or its answer, was lost."""


class Iperf3Session:
    """One iperf3 test: the server runs from `prepare` on, the client from `start` on."""

    def __init__(self, *, program: str, spec: Iperf3Spec, hosts: Mapping[str, Host], warmup_ns: int) -> None:
        """Start nothing yet."""
        self._program = program
        self._spec = spec
        self._roles = Roles.of(spec)
        self._hosts = hosts
        self._warmup_ns = warmup_ns
        self._server: Child | None = None
        self._client: Child | None = None
        self._port = FIRST_PORT
        self._starter: threading.Thread | None = None
        self._start_error: Exception | None = None
        self._stopped = threading.Event()

    def prepare(self) -> None:
        """Start the server on a free port of its host and wait until it listens."""
        host = self._hosts[self._roles.server]
        self._port = _free_port(host, self._spec.protocol)
        argv = (self._program, "-s", "-1", "-J", "-i", f"{INTERVAL_S:g}", "-p", str(self._port))
        self._server = Child(host, argv)
        try:
            self._server.await_listening(self._port, "tcp", READY_S)
        except TrafficError:
            if message := _own_message(self._server):
                raise TrafficError(f"{self._server} failed: {message}") from None
            raise

    def start(self) -> None:
        """Start the client, now or after the spec's start offset; returns at once."""
        if not self._spec.start_ns:
            self._start_client()
            return
        self._starter = threading.Thread(target=self._start_later, daemon=True)
        self._starter.start()

    def wait(self) -> TrafficReport:
        """Wait for the end of the test, no longer than it may take, and report."""
        warnings = _spec_warnings(self._spec)
        for _ in range(UDP_STARTS - 1):
            try:
                return self._finish(warnings)
            except LostHelloError:
                warnings.append("the path lost the datagram that opens a UDP stream: the traffic was started again")
                self._end_processes()
                self.prepare()
                self._start_client()
        return self._finish(warnings)

    def stop(self) -> None:
        """End client and server; safe to call twice and at any time."""
        self._stopped.set()
        if self._starter is not None:
            self._starter.join()
        self._end_processes()

    def _start_client(self) -> None:
        self._client = Child(self._hosts[self._roles.client], self._client_argv())

    def _start_later(self) -> None:
        if self._stopped.wait(self._spec.start_ns / 1e9):
            return
        try:
            self._start_client()
        except PerfcheckError as error:
            self._start_error = error

    def _client_argv(self) -> tuple[str, ...]:
        server = self._hosts[self._roles.server].address_towards(self._roles.client, self._spec.family)
        argv = (self._program, "-c", server, "-p", str(self._port), "-J", "-i", f"{INTERVAL_S:g}")
        return (*argv, "--connect-timeout", str(CONNECT_MS), *_options(self._spec, self._roles))

    def _finish(self, warnings: list[str]) -> TrafficReport:
        client = self._started_client()
        limit_s = _limit_s(self._spec)
        if not client.wait(client.start_ns / 1e9 + limit_s - time.monotonic()):
            raise TrafficError(f"{client} did not end within {limit_s:.0f} s{self._servers_word()}")
        document = self._client_document(client)
        run = Run(
            spec=self._spec, roles=self._roles, client=document, server=self._server_document(),
            start_ns=client.start_ns, end_ns=client.end_ns or time.monotonic_ns(),
        )  # fmt: skip
        return build_report(run, self._warmup_ns, warnings=warnings)

    def _started_client(self) -> Child:
        if self._starter is not None:
            self._starter.join()
        if self._start_error is not None:
            raise self._start_error
        if self._client is None:
            raise TrafficError("iperf3 was waited for before it was started, or after it was stopped")
        return self._client

    def _client_document(self, client: Child) -> Document:
        status = client.status or 0
        if status < 0:
            raise TrafficError(f"{client} was ended by signal {-status}{self._servers_word()}")
        try:
            document = parse(client.stdout)
        except TrafficError as error:
            raise TrafficError(f"{client} ended with {client.describe_end()}{self._servers_word()} ({error})") from None
        if document.message is None and status == 0:
            return document
        message = document.message or client.describe_end()
        kind = LostHelloError if message.startswith(_LOST_HELLO) and self._spec.protocol == "udp" else TrafficError
        raise kind(f"{client} failed: {message}{_advice(message)}{self._servers_word()}")

    def _server_document(self) -> Document | None:
        """Return the server's output; None where it is missing, which the report then says."""
        if self._server is None or not self._server.wait(SERVER_S):
            return None
        try:
            return parse(self._server.stdout)
        except TrafficError:
            return None

    def _servers_word(self) -> str:
        """Return what the server says of a failure; it is told to end, since its client has."""
        if self._server is None:
            return ""
        self._server.ended(_SERVERS_LAST_WORD_S)
        gone = self._server.status
        self._server.stop()
        if message := _own_message(self._server):
            return f"; the server in host {self._server.host.name} said: {message}"
        return f"; the server in host {self._server.host.name} was ended by signal {-gone}" if gone and gone < 0 else ""

    def _end_processes(self) -> None:
        for child in (self._client, self._server):
            if child is not None:
                child.stop()


def _free_port(host: Host, protocol: str) -> int:
    """Find a port on which nothing listens: each session of a host has its own."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        if not any(host.listening(port, each) for each in {"tcp", protocol}):
            return port
    raise TrafficError(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free in host {host.name} for iperf3")


def _options(spec: Iperf3Spec, roles: Roles) -> tuple[str, ...]:
    """Return the client's options for what the spec asks."""
    rate_bps = spec.rate_bps or (DEFAULT_UDP_BPS if spec.protocol == "udp" else None)
    length = spec.length_bytes or (TCP_LENGTH_BYTES if spec.protocol == "tcp" else None)
    limit = ("-t", str(_whole_seconds(spec))) if spec.size_bytes is None else ("-n", str(spec.size_bytes))
    options: list[tuple[str, ...]] = [limit]
    options += [(flag,) for flag, on in _flags(spec, roles) if on]
    valued = (
        ("-P", spec.streams), ("-b", rate_bps), ("-C", spec.congestion), ("-l", length),
        ("-w", spec.window_bytes), ("-M", spec.mss),
    )  # fmt: skip
    options += [(flag, str(value)) for flag, value in valued if value is not None]
    return tuple(word for option in options for word in option)


def _flags(spec: Iperf3Spec, roles: Roles) -> tuple[tuple[str, bool], ...]:
    return ("-u", spec.protocol == "udp"), ("-R", not roles.client_sends), ("-N", spec.nodelay)


def _whole_seconds(spec: Iperf3Spec) -> int:
    """Round up to what `-t` takes; 0 would mean without end."""
    return DEFAULT_S if spec.duration_ns is None else math.ceil(spec.duration_ns / 1e9)


def _limit_s(spec: Iperf3Spec) -> float:
    """Return the longest time that the client may take, from its start."""
    if spec.size_bytes is None:
        return _whole_seconds(spec) + GRACE_S
    rate_bps = min(SLOWEST_BPS, spec.streams * (spec.rate_bps or SLOWEST_BPS))
    return min(8 * spec.size_bytes / rate_bps, LONGEST_S) + GRACE_S


def _spec_warnings(spec: Iperf3Spec) -> list[str]:
    if spec.duration_ns is None or spec.duration_ns % 10**9 == 0:
        return []
    whole_s, asked_s = _whole_seconds(spec), spec.duration_ns / 1e9
    return [f"iperf3 counts in whole seconds: it ran {whole_s} s instead of {asked_s:g} s. Write duration: {whole_s}s"]


def _check_warmup(spec: Iperf3Spec, warmup_ns: int) -> None:
    whole_s = _whole_seconds(spec)
    if spec.size_bytes is None and not spec.background and warmup_ns >= whole_s * 10**9:
        raise TrafficError(
            f"the warm-up of {warmup_ns / 1e9:g} s takes all of the {whole_s} s that iperf3 runs: "
            "shorten warmup or lengthen duration"
        )


def _own_message(child: Child) -> str | None:
    """Return iperf3's own error message, from its JSON or its standard error."""
    try:
        message = parse(child.stdout).message
    except TrafficError:
        message = None
    return message or child.stderr.strip().removeprefix("iperf3: ").removeprefix("error - ") or None


def _advice(message: str) -> str:
    """Say how to mend what iperf3 complains of, where that is known."""
    if "TCP_CONGESTION" in message:
        available = _CONGESTIONS.read_text().split() if _CONGESTIONS.exists() else []
        return f". This kernel has: {', '.join(available)}; others may come with modprobe tcp_NAME"
    if "socket buffer size not set correctly" in message:
        return ". Raise net.core.rmem_max and net.core.wmem_max, or ask for a smaller window"
    return ""
