"""Requests over HTTP/2 by h2load, answered by nghttpd: both of the nghttp2 project, both in C++.

HTTP/2 in cleartext, one request at a time on each connection, for one file in memory. Connections stay open. h2load
writes a line for each request, so latencies are exact. Its own warm-up option is not used, for the same reason as
iperf3's (traffic/iperf3_report.py).

- `app.latency_us`: from the request's first byte written to the answer's end
- `app.requests_per_s`, `app.throughput_bps`: answers with status 200 to requests sent after the
  warm-up, and the bodies in them, over that time
- `app.errors`: requests that failed, whatever the reason; of these `app.resets` were cut off by the end of
  their connection
- `app.timeouts`: answers that took longer than `timeout`; and requests still without one at the end, where
  the last answer of all came longer than `timeout` before (else they are those that the end cut off)

Both cover the whole traffic. h2load's own time-outs are not used: 1.52 aborts at them (libev: invalid fd).
Flows: h2load does not tell its ports, so the report's `flows` is empty (traffic/command.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.errors import TrafficError
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.seams import Host, TrafficSession
from perfcheck.model.traffic import HttpSpec
from perfcheck.system import commands
from perfcheck.traffic.process import Child, prepared
from perfcheck.traffic.requests import Answered, arrivals, columns, request_metrics, timed

FIRST_PORT: Final = 8080
PORTS: Final = 200
READY_S: Final = 10.0
GRACE_S: Final = 30.0
"""Beyond the traffic: connections over a slow path, the last answers, h2load's own report."""
KEEP_BYTES: Final = 1 << 16
_OK: Final = 200
_TOTALS: Final = re.compile(r"^requests:.*?(\d+) failed, (\d+) errored", re.MULTILINE)
_UNANSWERED: Final = re.compile(r"^requests:.*?(\d+) started, (\d+) done", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """The generator `http`."""

    name: str = "http"

    def check(self) -> None:
        """Raise Unavailable where h2load or nghttpd is not installed."""
        commands.find("h2load")
        commands.find("nghttpd")

    def prepare(self, spec: TrafficSpec, hosts: Mapping[str, Host], warmup_ns: int) -> TrafficSession:
        """Start the server and return once it listens."""
        if spec.http is None:
            raise TrafficError(f"the generator http was given traffic of {spec.generator}")
        hosts[spec.http.from_host].require("h2load")
        hosts[spec.http.to_host].require("nghttpd")
        return prepared(HttpSession(spec=spec.http, hosts=hosts, warmup_ns=warmup_ns))


class HttpSession:
    """One run of h2load against one nghttpd."""

    def __init__(self, *, spec: HttpSpec, hosts: Mapping[str, Host], warmup_ns: int) -> None:
        """Start nothing yet."""
        self._spec = spec
        self._hosts = hosts
        self._warmup_us = 0.0 if spec.background else warmup_ns / 1e3
        self._port = FIRST_PORT
        self._served: tuple[tuple[str, int], ...] = ()
        self._body = hosts[spec.to_host].file("body", bytes(spec.size_bytes))
        self._log = hosts[spec.from_host].file("requests")
        self._server: Child | None = None
        self._client: Child | None = None

    def prepare(self) -> None:
        """Start the server on a free port of its host and wait until it listens."""
        if self._warmup_us >= self._spec.duration_ns / 1e3:
            raise TrafficError(
                f"the warm-up takes all of the {self._spec.duration_ns / 1e9:g} s of requests: "
                "shorten warmup or lengthen duration"
            )
        host = self._hosts[self._spec.to_host]
        self._port = free_port(host, FIRST_PORT, "tcp")
        address = host.address_towards(self._spec.from_host, self._spec.family)
        self._served = ((address, self._port),)
        argv = ("nghttpd", "--no-tls", "-a", address, "-d", self._body.folder, str(self._port))
        self._server = Child(host, argv, keep_bytes=KEEP_BYTES)
        self._server.await_listening(self._port, "tcp", READY_S)

    def start(self) -> None:
        """Start the client; returns at once."""
        self._client = Child(self._hosts[self._spec.from_host], self._argv(), keep_bytes=KEEP_BYTES)

    def _argv(self) -> tuple[str, ...]:
        spec = self._spec
        address = self._hosts[spec.to_host].address_towards(spec.from_host, spec.family)
        where = f"[{address}]" if ":" in address else address
        rate = () if spec.rate_per_s is None else (f"--rps={spec.rate_per_s / spec.connections:g}",)
        return (
            "h2load", "-t", "1", "-m", "1", "-c", str(spec.connections), "-D", f"{spec.duration_ns // 10**6}ms",
            *rate, f"--log-file={self._log.path}",
            f"http://{where}:{self._port}/{self._body.name}",
        )  # fmt: skip

    def wait(self) -> TrafficReport:
        """Wait for its end and report."""
        client, server = self._client, self._server
        if client is None or server is None:
            raise TrafficError("h2load was waited for before it was started")
        limit_s = self._spec.duration_ns / 1e9 + GRACE_S
        if not client.wait(client.start_ns / 1e9 + limit_s - time.monotonic()):
            raise TrafficError(f"{client} did not end within {limit_s:.0f} s")
        if client.status != 0:
            raise TrafficError(f"{client} failed with {client.describe_end()}")
        end_ns = client.end_ns or time.monotonic_ns()
        log = columns(self._log.content().decode(errors="replace"), "\t", 3)
        good = succeeded(log)
        first_ns = first_sent_ns(good, client.start_ns, end_ns)
        arrived, measured_ns = arrivals(good, self._warmup_us, first_ns, self._spec.size_bytes)
        return TrafficReport(
            generator="http",
            flows=(),
            metrics={
                "app.duration_us": (end_ns - client.start_ns) / 1e3,
                **measured(good, self._warmup_us, self._spec.size_bytes),
                **failures(client.stdout, str(client)),
                "app.timeouts": self._timeouts(log, client),
            },
            start_ns=client.start_ns,
            end_ns=end_ns,
            background=self._spec.background,
            cpu_pct=100 * max(client.cpu_s(), server.cpu_s()) / ((end_ns - client.start_ns) / 1e9),
            raw={"stdout": client.stdout, "stderr": client.stderr},
            arrivals=arrived,
            measured_ns=measured_ns,
            requests=timed(good, first_ns, self._spec.size_bytes),
            served=self._served,
        )

    def _timeouts(self, log: npt.NDArray[np.float64], client: Child) -> float:
        """Count late answers, and what nobody answered at all."""
        limit_us = self._spec.timeout_ns / 1e3
        late = float((log[:, 2] > limit_us).sum())
        last_us = float((log[:, 0] + log[:, 2]).max() - log[:, 0].min()) if len(log) else 0.0
        return late + (unanswered(client.stdout) if self._spec.duration_ns / 1e3 - last_us > limit_us else 0.0)

    def stop(self) -> None:
        """End client and server; safe to call twice and at any time."""
        for child in (self._client, self._server):
            if child is not None:
                child.stop()
        self._body.close()
        self._log.close()


def succeeded(log: npt.NDArray[np.float64]) -> Answered:
    """Return the requests of h2load's log that were answered with status 200."""
    good = log[log[:, 1] == _OK]
    return Answered(sent_us=good[:, 0], latency_us=good[:, 2])


def measured(good: Answered, warmup_us: float, size_bytes: int) -> dict[str, float]:
    """Return rate, latency and goodput of the requests that were sent after the warm-up."""
    found = request_metrics(good, warmup_us)
    return found | {"app.throughput_bps": 8 * size_bytes * found["app.requests_per_s"]}


def first_sent_ns(good: Answered, start_ns: int, end_ns: int) -> int:
    """Return when the first request was sent, CLOCK_MONOTONIC: the log has the time of day, in us.

    Another machine may have another time of day: then it is the start of the client.
    """
    if not len(good.sent_us):
        return start_ns
    wall_ns = round(1000 * float(good.sent_us.min())) - (time.time_ns() - time.monotonic_ns())
    return wall_ns if start_ns <= wall_ns <= end_ns else start_ns


def failures(stdout: str, command: str) -> dict[str, float]:
    """Read the totals of h2load's report: failed requests include errored ones."""
    found = _TOTALS.search(stdout)
    if found is None:
        raise TrafficError(f"{command} printed no totals: {stdout.strip()[-300:] or 'it printed nothing'}")
    failed, errored = (float(value) for value in found.groups())
    return {"app.errors": failed, "app.resets": errored}


def unanswered(stdout: str) -> float:
    """Read from h2load's report how many requests were under way when the time was over."""
    found = _UNANSWERED.search(stdout)
    return float(int(found[1]) - int(found[2])) if found else 0.0


def free_port(host: Host, first: int, protocol: str) -> int:
    """Find a port of the host on which nothing listens; TrafficError where there is none."""
    for port in range(first, first + PORTS):
        if not host.listening(port, protocol):
            return port
    raise TrafficError(f"no {protocol} port from {first} to {first + PORTS - 1} is free in host {host.name}")
