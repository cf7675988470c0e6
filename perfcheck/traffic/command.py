"""Traffic by any command, with an optional server; the command starts when the server's port listens.

`{NAME}` in a command line is replaced by the address (of `family`) under which the host that runs the
command reaches the lab's host NAME; other braces are left alone. Words are split as a shell splits them, and
no shell is run.

Metrics: the time from start to end is `app.duration_us`. A command may report more: if the last line of its standard
output is a JSON object with the key `perfcheck`, that key maps names of the metric catalogue to numbers in the units
of the names:

    {"perfcheck": {"app.throughput_bps": 93500000, "app.errors": 0}}

With `report`, the file says where figures of the application's own stand in the standard output
(traffic/reported.py). If one of them is missing, the trial does not count.

Flows: only the command knows its ports, so a report's `flows` is empty. A report without flows gets all connections
of the lab that no other report claims: the lab's namespaces carry only the scenario's own traffic. The command
handles its warm-up itself; collectors leave it out of each connection as usual.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from perfcheck.errors import TrafficError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.names import Family
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import CommandSpec, TrafficSpec
from perfcheck.model.seams import Host, TrafficSession
from perfcheck.traffic.process import Child, prepared
from perfcheck.traffic.reported import figures

KEY: Final = "perfcheck"
READY_S: Final = 10.0
KEEP_BYTES: Final = 1 << 20
_HOST: Final = re.compile(r"\{([a-z][a-z0-9-]{0,14})\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The generator `command`."""

    name: str = "command"

    def check(self) -> None:
        """Nothing is needed: which program a file names is known only when it is run."""

    def prepare(self, spec: TrafficSpec, hosts: Mapping[str, Host], warmup_ns: int) -> TrafficSession:
        """Start the server, if there is one, and return once it listens."""
        del warmup_ns
        if spec.command is None:
            raise TrafficError(f"the generator command was given traffic of {spec.generator}")
        return prepared(CommandSession(spec=spec.command, hosts=hosts))


class CommandSession:
    """One run of a command."""

    def __init__(self, *, spec: CommandSpec, hosts: Mapping[str, Host]) -> None:
        """Start nothing yet."""
        self._spec = spec
        self._hosts = hosts
        self._server: Child | None = None
        self._command: Child | None = None

    def prepare(self) -> None:
        """Start the server and wait until it listens."""
        server = self._spec.server
        if server is None:
            return
        host = self._hosts[server.host]
        if host.listening(server.port, server.protocol):
            raise TrafficError(
                f"something listens on {server.protocol} port {server.port} of host {server.host} already, so the "
                f"start of `{server.run}` cannot be seen. Give it another port"
            )
        self._server = Child(
            host, words(server.run, server.host, self._hosts, self._spec.family), keep_bytes=KEEP_BYTES
        )
        self._server.await_listening(server.port, server.protocol, READY_S)

    def start(self) -> None:
        """Start the command; returns at once."""
        argv = words(self._spec.run, self._spec.host, self._hosts, self._spec.family)
        self._command = Child(self._hosts[self._spec.host], argv, keep_bytes=KEEP_BYTES)

    def wait(self) -> TrafficReport:
        """Wait for its end, at most as long as the file allows, and report."""
        command = self._command
        if command is None:
            raise TrafficError("a command was waited for before it was started")
        timeout_s = self._spec.timeout_ns / 1e9
        if not command.wait(command.start_ns / 1e9 + timeout_s - time.monotonic()):
            raise TrafficError(
                f"{command} did not end within {timeout_s:g} s{self._servers_word()}. Raise its timeout if it needs "
                "longer"
            )
        if command.status != 0:
            raise TrafficError(f"{command} failed with {command.describe_end()}{self._servers_word()}")
        end_ns = command.end_ns or time.monotonic_ns()
        taken = {"app.duration_us": (end_ns - command.start_ns) / 1e3}
        own, lacking = self._own(command)
        return TrafficReport(
            generator="command",
            flows=(),
            metrics=taken | handed_back(command.stdout, str(command)) | own,
            start_ns=command.start_ns,
            end_ns=end_ns,
            background=self._spec.background,
            raw={"stdout": command.stdout, "stderr": command.stderr},
            served=self._served(),
            invalid_reason=lacking,
        )

    def _own(self, command: Child) -> tuple[dict[str, float], str | None]:
        """Return the application's own figures, or why there are none."""
        report = self._spec.report
        if report is None:
            return {}, None
        if command.cut:
            most = f"{2 * KEEP_BYTES >> 20} MiB"
            return {}, f"{command} wrote more than {most}: its report is not read, as its beginning is not kept"
        try:
            return figures(report, command.stdout), None
        except TrafficError as error:
            return {}, f"{command} did not report its own figures: {error}"

    def _served(self) -> tuple[tuple[str, int], ...]:
        server = self._spec.server
        return () if server is None else tuple((each, server.port) for each in self._hosts[server.host].addresses)

    def stop(self) -> None:
        """End the command and its server; safe to call twice and at any time."""
        for child in (self._command, self._server):
            if child is not None:
                child.stop()

    def _servers_word(self) -> str:
        if self._server is None:
            return ""
        if self._server.ended():
            return f"; {self._server} had ended with {self._server.describe_end()}"
        said = self._server.stderr.strip().splitlines()[-1:]
        return f"; its server said: {said[0]}" if said else ""


def words(run: str, host: str, hosts: Mapping[str, Host], family: Family = "ipv4") -> tuple[str, ...]:
    """Split a command line and put in the addresses, as `host` reaches them; TrafficError on unbalanced quotes."""

    def address(match: re.Match[str]) -> str:
        target = hosts.get(match[1])
        if target is None:
            return match[0]
        if match[1] == host:
            return next(address for address in target.addresses if (":" in address) == (family == "ipv6"))
        return target.address_towards(host, family)

    try:
        split = shlex.split(run)
    except ValueError as error:
        raise TrafficError(f"cannot split the command {run!r} into words: {error}") from None
    if not split:
        raise TrafficError(f"the command {run!r} has no words")
    return tuple(_HOST.sub(address, word) for word in split)


def handed_back(stdout: str, command: str) -> dict[str, float]:
    """Read the metrics in the last line of a command's output; none where it is not meant for us."""
    line = stdout.rstrip().rpartition("\n")[2].strip()
    if not line.startswith("{") or f'"{KEY}"' not in line:
        return {}
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TrafficError(
            f"the last line of {command} names {KEY!r} but is not JSON ({error}): {line[:200]}"
        ) from None
    if not isinstance(said, dict) or KEY not in said:
        return {}
    metrics = said[KEY]
    if not isinstance(metrics, dict):
        raise TrafficError(f"{KEY!r} in the last line of {command} must map metrics to numbers, got {metrics!r:.200}")
    return {name: _checked(name, value, command) for name, value in metrics.items()}


def _checked(name: str, value: object, command: str) -> float:
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name[:100], CATALOGUE, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`perfcheck metrics` lists them"
        raise TrafficError(f"{command} returned {name!r}, which is not a metric: {hint}")
    try:
        number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    most = CATALOGUE[name].most
    if not math.isfinite(number) or number < 0 or (most is not None and number > most):
        expected = "expected a finite number, 0 or more" if most is None else f"expected a number from 0 to {most:g}"
        raise TrafficError(f"{command} returned {name} = {value!r:.200}: {expected}")
    return number
