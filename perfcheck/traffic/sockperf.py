"""Messages and their answers by sockperf: one after the other (ping-pong), or at a rate (under-load).

The client writes a line for each answered message, so latencies are exact. The client leaves out its first 400 ms,
which count towards the warm-up. (`--no-rdtsc` is not used: in 3.7 its clock is wrong.)

- `app.latency_us`: from sending a message to its answer, so both directions (sockperf calls it round trip)
- `app.requests_per_s`: answers a second, to messages sent after the warm-up
- `app.timeouts`: messages without an answer (sockperf's dropped messages), over the whole traffic
- `app.errors`: answers that came twice or out of order

Flows: sockperf does not tell its ports, so the report's `flows` is empty (traffic/command.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from perfcheck.errors import TrafficError
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.seams import Host, TrafficSession
from perfcheck.model.traffic import SockperfSpec
from perfcheck.system import commands
from perfcheck.traffic.http import GRACE_S, KEEP_BYTES, READY_S, free_port
from perfcheck.traffic.process import Child, prepared
from perfcheck.traffic.requests import Answered, arrivals, columns, request_metrics, timed

FIRST_PORT: Final = 11111
OWN_WARMUP_NS: Final = 400_000_000
_HEADER: Final = "packet, txTime(sec), rxTime(sec)"
_LOST: Final = re.compile(
    r"# dropped messages = (\d+); # duplicated messages = (\d+); # out-of-order messages = (\d+)"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockperf:
    """The generator `sockperf`."""

    name: str = "sockperf"

    def check(self) -> None:
        """Raise Unavailable where the program is not installed."""
        commands.find("sockperf")

    def prepare(self, spec: TrafficSpec, hosts: Mapping[str, Host], warmup_ns: int) -> TrafficSession:
        """Start the server and return once it listens."""
        if spec.sockperf is None:
            raise TrafficError(f"the generator sockperf was given traffic of {spec.generator}")
        for host in (spec.sockperf.from_host, spec.sockperf.to_host):
            hosts[host].require("sockperf")
        return prepared(SockperfSession(spec=spec.sockperf, hosts=hosts, warmup_ns=warmup_ns))


class SockperfSession:
    """One run of a sockperf client against a sockperf server."""

    def __init__(self, *, spec: SockperfSpec, hosts: Mapping[str, Host], warmup_ns: int) -> None:
        """Start nothing yet."""
        self._spec = spec
        self._hosts = hosts
        self._warmup_ns = 0 if spec.background else max(0, warmup_ns - OWN_WARMUP_NS)
        self._duration_s = -(-spec.duration_ns // 10**9)
        self._port = FIRST_PORT
        self._log = hosts[spec.from_host].file("messages")
        self._server: Child | None = None
        self._client: Child | None = None

    def prepare(self) -> None:
        """Start the server on a free port of its host and wait until it listens."""
        if self._warmup_ns + OWN_WARMUP_NS >= self._duration_s * 10**9:
            raise TrafficError(
                f"the warm-up takes all of the {self._duration_s} s of messages: shorten warmup or lengthen duration"
            )
        host = self._hosts[self._spec.to_host]
        self._port = free_port(host, FIRST_PORT, self._spec.protocol)
        self._server = Child(host, ("sockperf", "server", *self._endpoint()), keep_bytes=KEEP_BYTES)
        self._server.await_listening(self._port, self._spec.protocol, READY_S)

    def _endpoint(self) -> tuple[str, ...]:
        protocol = ("--tcp",) if self._spec.protocol == "tcp" else ()
        return "-i", self._address(), "-p", str(self._port), *protocol

    def _address(self) -> str:
        return self._hosts[self._spec.to_host].address_towards(self._spec.from_host)

    def start(self) -> None:
        """Start the client; returns at once."""
        spec = self._spec
        how = (
            ("ping-pong",)
            if spec.rate_per_s is None
            else ("under-load", "--mps", str(spec.rate_per_s), "--reply-every", "1")
        )
        argv = (
            "sockperf", *how, *self._endpoint(), "-t", str(self._duration_s), "-m", str(spec.length_bytes),
            "--full-rtt", "--full-log", str(self._log.path),
        )  # fmt: skip
        self._client = Child(self._hosts[spec.from_host], argv, keep_bytes=KEEP_BYTES)

    def wait(self) -> TrafficReport:
        """Wait for its end and report."""
        client, server = self._client, self._server
        if client is None or server is None:
            raise TrafficError("sockperf was waited for before it was started")
        limit_s = self._duration_s + GRACE_S
        if not client.wait(client.start_ns / 1e9 + limit_s - time.monotonic()):
            raise TrafficError(f"{client} did not end within {limit_s:.0f} s")
        if client.status != 0:
            raise TrafficError(f"{client} failed with {client.describe_end()}")
        end_ns = client.end_ns or time.monotonic_ns()
        messages = answered(self._log.content().decode(errors="replace"))
        # The log's times are its own clock's; it begins after the messages that sockperf leaves out.
        first_ns = client.start_ns + OWN_WARMUP_NS
        arrived, measured_ns = arrivals(messages, self._warmup_ns / 1e3, first_ns)
        return TrafficReport(
            generator="sockperf",
            flows=(),
            metrics={
                "app.duration_us": (end_ns - client.start_ns) / 1e3,
                **request_metrics(messages, self._warmup_ns / 1e3),
                **failures(client.stdout, str(client)),
            },
            start_ns=client.start_ns,
            end_ns=end_ns,
            background=self._spec.background,
            cpu_pct=100 * max(client.cpu_s(), server.cpu_s()) / ((end_ns - client.start_ns) / 1e9),
            raw={"stdout": client.stdout, "stderr": client.stderr},
            warnings=self._warnings(),
            arrivals=arrived,
            measured_ns=measured_ns,
            requests=timed(messages, first_ns),
            served=((self._address(), self._port),),
        )

    def _warnings(self) -> tuple[str, ...]:
        asked_s = self._spec.duration_ns / 1e9
        if asked_s == self._duration_s:
            return ()
        return (f"sockperf counts in whole seconds: it ran {self._duration_s} s instead of {asked_s:g} s",)

    def stop(self) -> None:
        """End client and server; safe to call twice and at any time."""
        for child in (self._client, self._server):
            if child is not None:
                child.stop()
        self._log.close()


def answered(log: str) -> Answered:
    """Read sockperf's log, a line a message that was answered, after a heading that repeats its report."""
    _, header, rest = log.partition(_HEADER)
    if not header:
        raise TrafficError(f"sockperf wrote no log of messages: {log.strip()[-300:] or 'it is empty'}")
    lines, _, _ = rest.partition("\n")[2].partition("---")
    table = columns(lines, ",", 3)
    return Answered(sent_us=table[:, 1] * 1e6, latency_us=(table[:, 2] - table[:, 1]) * 1e6)


def failures(stdout: str, command: str) -> dict[str, float]:
    """Read the messages without an answer, and the answers too many or out of order, from sockperf's report."""
    found = _LOST.search(stdout)
    if found is None:
        raise TrafficError(f"{command} printed no totals: {stdout.strip()[-300:] or 'it printed nothing'}")
    dropped, duplicated, disordered = (float(value) for value in found.groups())
    return {"app.timeouts": dropped, "app.errors": duplicated + disordered}
