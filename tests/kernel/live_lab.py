"""A lab with traffic that goes on while perfctl looks at it, and faults that come into it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from perfcheck.lab import Lab
from perfcheck.lab.links import emulators
from perfcheck.model.seams import Host, Process
from perfcheck.system import Journal, new_tag
from perfcheck.system.clock import wait_until
from perfcheck.testing import make_scenario

PERFCTL = (sys.executable, "-m", "perfcheck.cli.perfctl")
ROUTED = {
    "hosts": {"client": {"congestion": "cubic"}, "router": {"router": True}, "server": {"congestion": "cubic"}},
    "links": [
        {"between": ["client", "router"], "delay": "5ms", "rate": "50mbit", "queue": "2bdp"},
        {"between": ["router", "server"], "delay": "5ms", "rate": "50mbit", "queue": "2bdp"},
    ],
}
FORWARDED = ("nft add table ip t", "nft add chain ip t f '{ type filter hook forward priority 0 ; }'")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLab:
    """Hosts that are up; what is started in them ends with the lab."""

    lab: Lab
    stack: ExitStack

    def host(self, name: str) -> Host:
        return self.lab.hosts[name]

    def start(self, name: str, *argv: str) -> Process:
        process = self.host(name).popen(argv)
        self.stack.callback(_end, process)
        return process

    def serve(self, name: str, port: int, *argv: str) -> Process:
        process = self.start(name, *argv)
        assert wait_until(lambda: self.host(name).listening(port), timeout_s=5), f"nothing listens on {port}"
        return process

    def setup(self, name: str, *commands: str) -> None:
        import shlex

        for command in commands:
            done = self.host(name).run(shlex.split(command))
            assert done.returncode == 0, (command, done.stderr)

    def iperf3(self, *options: str, seconds: int = 30) -> None:
        """Start a server and a client that sends; returns when the connection is there."""
        self.serve("server", 5201, "iperf3", "-s")
        to = self.host("server").address_towards("client")
        self.start("client", "iperf3", "-c", to, "-t", str(seconds), *options)
        assert wait_until(lambda: b"ESTAB" in _ss(self.host("client")), timeout_s=5)

    def perfctl(self, *argv: str, hosts: Sequence[str] = ("client",)) -> subprocess.CompletedProcess[str]:
        """Run perfctl on these hosts' namespaces."""
        where = [word for name in hosts for word in ("--netns", self.host(name).netns_path)]
        return subprocess.run([*PERFCTL, *argv, *where], capture_output=True, text=True, timeout=60, check=False)

    def diagnosis(self, *argv: str, hosts: Sequence[str] = ("client",)) -> Mapping[str, Any]:
        done = self.perfctl("diagnose", "--json", *argv, hosts=hosts)
        assert done.returncode == 0, done.stderr
        found: Mapping[str, Any] = json.loads(done.stdout)
        return found


def _ss(host: Host) -> bytes:
    return host.run(["ss", "-Htn"]).stdout


def _end(process: Process) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(timeout=5)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


@contextmanager
def live_lab(**fields: Any) -> Iterator[LiveLab]:
    """Build a lab from Scenario's fields, whose links are up and whose traffic is started by the test."""
    scenario = make_scenario(**{"traffic": [], **ROUTED, **fields})
    with Journal.create(new_tag()) as journal, Lab(scenario, journal, emulators()) as lab:
        lab.apply_settings()
        lab.begin_trial(0)
        with ExitStack() as stack:
            yield LiveLab(lab=lab, stack=stack)
