"""The generator `connections`: short TCP connections, each for one request and its answer.

Client and server are small programs of perfcheck's own (client.py, server.py), one process each, started in their
hosts without the packages around them. The server closes first. Netperf calls this load CRR.

- `app.connections_per_s`: connections that were opened, answered and closed, of those opened after the warm-up
- `app.connect_us`: from connect() to the established connection, a lost SYN's time-out included
- `app.first_byte_us`: from connect() to the first byte of the answer
- `app.refused`, `app.timeouts`, `app.resets`: failures by kind; `app.errors`: all of them. All cover the whole traffic

At its end no connection is opened any more, and those that are open are waited for, at most for `timeout`. Their
flows are too many to be named: the report says where the server listens (`served`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from perfcheck.errors import TrafficError
from perfcheck.model.bounds import MAX_OPENED
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.seams import Host, TrafficSession
from perfcheck.model.traffic import ConnectionsSpec
from perfcheck.traffic.connections.log import (
    ConnectionLog,
    connection_arrivals,
    connection_metrics,
    connection_timings,
    read_log,
)
from perfcheck.traffic.http import KEEP_BYTES, READY_S, free_port
from perfcheck.traffic.process import Child, prepared

FIRST_PORT: Final = 9000
GRACE_S: Final = 10.0
"""Beyond the traffic and the last connections' time: starting, and writing the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """The generator `connections`."""

    name: str = "connections"

    def check(self) -> None:
        """Nothing is needed but the interpreter that runs perfcheck."""

    def prepare(self, spec: TrafficSpec, hosts: Mapping[str, Host], warmup_ns: int) -> TrafficSession:
        """Start the server and return once it listens."""
        if spec.connections is None:
            raise TrafficError(f"the generator connections was given traffic of {spec.generator}")
        return prepared(ConnectionsSession(spec=spec.connections, hosts=hosts, warmup_ns=warmup_ns))


class ConnectionsSession:
    """One run of the client against the server."""

    def __init__(self, *, spec: ConnectionsSpec, hosts: Mapping[str, Host], warmup_ns: int) -> None:
        """Start nothing yet."""
        self._spec = spec
        self._hosts = hosts
        self._warmup_ns = 0 if spec.background else warmup_ns
        self._address = hosts[spec.to_host].address_towards(spec.from_host, spec.family)
        self._port = FIRST_PORT
        self._log = hosts[spec.from_host].file("connections")
        self._server: Child | None = None
        self._client: Child | None = None

    def prepare(self) -> None:
        """Start the server on a free port of its host and wait until it listens."""
        if self._warmup_ns >= self._spec.duration_ns:
            raise TrafficError(
                f"the warm-up leaves nothing to measure of the {self._spec.duration_ns / 1e9:g} s of connections: "
                "shorten warmup or lengthen duration"
            )
        host = self._hosts[self._spec.to_host]
        self._port = free_port(host, FIRST_PORT, "tcp")
        spec = self._spec
        asked = {"backlog": spec.backlog, "accept_per_s": spec.accept_per_s}
        self._server = Child(host, self._argv(host, "server", asked), keep_bytes=KEEP_BYTES)
        self._server.await_listening(self._port, "tcp", READY_S)

    def _argv(self, host: Host, program: str, asked: Mapping[str, int | str | None]) -> tuple[str, ...]:
        common = {"address": self._address, "port": self._port, "size": self._spec.size_bytes}
        words = host.own_program(f"traffic/connections/{program}.py")
        return (*words, json.dumps({**common, **asked}))

    def start(self) -> None:
        """Start the client; returns at once."""
        spec = self._spec
        asked = {
            "rate_per_s": spec.rate_per_s, "duration_ns": spec.duration_ns, "concurrency": spec.concurrency,
            "timeout_ns": spec.timeout_ns, "most": MAX_OPENED, "log": str(self._log.path),
        }  # fmt: skip
        host = self._hosts[spec.from_host]
        self._client = Child(host, self._argv(host, "client", asked), keep_bytes=KEEP_BYTES)

    def wait(self) -> TrafficReport:
        """Wait for its end and report."""
        asking, serving = self._client, self._server
        if asking is None or serving is None:
            raise TrafficError("connections were waited for before they were started")
        limit_s = (self._spec.duration_ns + self._spec.timeout_ns) / 1e9 + GRACE_S
        if not asking.wait(asking.start_ns / 1e9 + limit_s - time.monotonic()):
            raise TrafficError(f"{asking} did not end within {limit_s:.0f} s")
        if asking.status != 0:
            raise TrafficError(f"{asking} failed with {asking.describe_end()}")
        if serving.ended():
            raise TrafficError(f"{serving} ended before its clients, with {serving.describe_end()}")
        end_ns = asking.end_ns or time.monotonic_ns()
        log = read_log(self._log.content(), ahead_ns=asking.ahead_ns)
        arrived, measured_ns = connection_arrivals(log, self._warmup_ns)
        opening_ns = _opening_ns(log, self._spec.duration_ns)
        return TrafficReport(
            generator="connections",
            flows=(),
            metrics={
                "app.duration_us": (end_ns - asking.start_ns) / 1e3,
                **connection_metrics(log, self._warmup_ns, opening_ns),
            },
            start_ns=asking.start_ns,
            end_ns=end_ns,
            background=self._spec.background,
            cpu_pct=100 * max(asking.cpu_s(), serving.cpu_s()) / ((end_ns - asking.start_ns) / 1e9),
            raw={"counts": log.counts(), "stderr": asking.stderr},
            warnings=_warnings(log),
            arrivals=arrived,
            measured_ns=measured_ns,
            timings=connection_timings(log),
            served=((self._address, self._port),),
        )

    def stop(self) -> None:
        """End client and server; safe to call twice and at any time."""
        for child in (self._client, self._server):
            if child is not None:
                child.stop()
        self._log.close()


def _opening_ns(log: ConnectionLog, duration_ns: int) -> int:
    """Return the time in which connections were opened: the file's, unless the bound on their number ended it."""
    if len(log.begin_ns) < MAX_OPENED:
        return duration_ns
    return min(duration_ns, int(log.begin_ns.max() - log.begin_ns.min()))


def _warnings(log: ConnectionLog) -> tuple[str, ...]:
    found = []
    if len(log.begin_ns) >= MAX_OPENED:
        found.append(f"connections: no more than {MAX_OPENED} are opened in a run; set a rate, or a shorter duration")
    other = log.counts()["other"]
    if other:
        found.append(
            f"connections: {other} of {len(log.begin_ns)} ended otherwise than by a refusal, a time-out or a reset, "
            "such as without a free local port (EADDRNOTAVAIL) or before the whole answer"
        )
    return tuple(found)
