"""The generator `load`: an exact amount of work by a small C program, one thing after the other.

The program (system/programs/load.c) is compiled once on this machine and kept; other machines are sent it. What it
measures, by kind:

- stream: `app.throughput_bps`, from the begin until the last byte had arrived at the server
- requests: `app.requests_per_s`, `app.latency_us`
- connections: `app.connections_per_s`, `app.connect_us`, `app.first_byte_us`
- datagrams: `app.throughput_bps`, `udp.throughput_bps`, `udp.datagrams`. Each 32nd is answered

`app.duration_us` is the time of the load alone, without the start of its processes. The first failure ends a run, which
then does not count: a load that lost something is not the amount that the file asks for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from perfcheck.errors import TrafficError
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.seams import Host, TrafficSession
from perfcheck.model.traffic import LoadSpec
from perfcheck.system.programs import LOAD, require
from perfcheck.traffic.http import READY_S, free_port
from perfcheck.traffic.load_report import Ran, build_report
from perfcheck.traffic.process import Child, prepared

FIRST_PORT: Final = 7000
LONGEST_S: Final = 3600.0
"""No load is waited for longer; where nothing moves, the program itself gives up after 20 s."""
KEEP_BYTES: Final = 1 << 22
"""A server says ten times a second how much has arrived: more than an hour of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The generator `load`."""

    name: str = "load"

    def check(self) -> None:
        """Raise Unavailable where the program is not there and cannot be compiled."""
        require(LOAD)

    def prepare(self, spec: TrafficSpec, hosts: Mapping[str, Host], warmup_ns: int) -> TrafficSession:
        """Start the server and return once it listens; an amount of work has no warm-up."""
        if spec.load is None:
            raise TrafficError(f"the generator load was given traffic of {spec.generator}")
        if warmup_ns and not spec.background:
            raise TrafficError("load does an exact amount of work, without a warm-up: set warmup: 0s")
        return prepared(LoadSession(spec=spec.load, hosts=hosts))


class LoadSession:
    """One run of the client against the server."""

    def __init__(self, *, spec: LoadSpec, hosts: Mapping[str, Host]) -> None:
        """Start nothing yet."""
        self._spec = spec
        self._hosts = hosts
        self._address = hosts[spec.to_host].address_towards(spec.from_host, spec.family)
        self._port = FIRST_PORT
        self._program = ""
        self._log = hosts[spec.from_host].file("load")
        self._server: Child | None = None
        self._client: Child | None = None

    def prepare(self) -> None:
        """Start the server on a free port of its host and wait until it listens, over TCP and UDP."""
        host = self._hosts[self._spec.to_host]
        program = host.compiled_program(LOAD)
        # The client's machine, too, has it before anything is measured.
        self._program = self._hosts[self._spec.from_host].compiled_program(LOAD)
        self._port = free_port(host, FIRST_PORT, self._spec.protocol)
        argv = (program, "serve", str(self._port), self._address)
        self._server = Child(host, argv, keep_bytes=KEEP_BYTES)
        # It listens for connections last.
        self._server.await_listening(self._port, "tcp", READY_S)

    def start(self) -> None:
        """Start the client; returns at once."""
        spec = self._spec
        argv = (
            self._program, "drive", spec.kind, self._address, str(self._port), str(spec.count), str(spec.size_bytes),
            str(self._log.path),
        )  # fmt: skip
        self._client = Child(self._hosts[spec.from_host], argv, keep_bytes=KEEP_BYTES)

    def wait(self) -> TrafficReport:
        """Wait for its end and report."""
        client, server = self._client, self._server
        if client is None or server is None:
            raise TrafficError("load was waited for before it was started")
        if not client.wait(client.start_ns / 1e9 + LONGEST_S - time.monotonic()):
            raise TrafficError(f"{client} did not end within {LONGEST_S:.0f} s")
        if client.status != 0:
            raise TrafficError(f"{client} failed with {client.describe_end()}")
        if server.ended():
            raise TrafficError(f"{server} ended before its client, with {server.describe_end()}")
        # What it has written is all there once it has ended.
        server.stop()
        ran = Ran(
            spec=self._spec, client=client.stdout, server=server.stdout, log=self._log.content(),
            served=(self._address, self._port), start_ns=client.start_ns, end_ns=client.end_ns or time.monotonic_ns(),
            cpu_s=max(client.cpu_s(), server.cpu_s()), ahead_ns=(client.ahead_ns, server.ahead_ns),
        )  # fmt: skip
        return build_report(ran)

    def stop(self) -> None:
        """End client and server; safe to call twice and at any time."""
        for child in (self._client, self._server):
            if child is not None:
                child.stop()
        self._log.close()
