"""How perfctl bears connections that come and go: memory, CPU, and whether each one is accounted for.

    python tests/bench/perfctl_soak.py [--minutes 60] [--rate 2000]

Two hosts of a lab; a client opens `rate` connections a second, each with one request and answer, while `perfctl tcp`
watches both ends. The kernel's own counters (nstat: ActiveOpens, PassiveOpens) say how many ends there were. Prints a
line each minute, and at the end what was told and what was not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from perfcheck.lab import Lab
from perfcheck.lab.links.veth import VethEmulator
from perfcheck.model.seams import Host
from perfcheck.system import Journal, new_tag
from perfcheck.system.clock import wait_until
from perfcheck.system.programs import LOAD
from perfcheck.testing import make_scenario

PORT: Final = 7000
TURNS_PER_S: Final = 10
PAGE: Final = os.sysconf("SC_PAGESIZE")
TICKS: Final = os.sysconf("SC_CLK_TCK")
_TOTALS: Final = re.compile(r"(\d[\d,]*) opened, (\d[\d,]*) closed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=2000)
    args = parser.parse_args()
    scenario = make_scenario(links=[{"between": ["client", "server"]}], traffic=[])
    with Journal.create(new_tag()) as journal, Lab(scenario, journal, {"veth": VethEmulator()}) as lab:
        lab.apply_settings()
        client, server = lab.hosts["client"], lab.hosts["server"]
        program = client.compiled_program(LOAD)
        serving = server.popen([program, "serve", str(PORT)])
        assert wait_until(lambda: server.listening(PORT), timeout_s=5)
        with tempfile.TemporaryDirectory() as folder, watching((client, server), Path(folder) / "told") as perfctl:
            before = opens(client) + opens(server)
            memory = soak(client, program, server.address_towards("client"), args, perfctl)
            time.sleep(3)
            ends = opens(client) + opens(server) - before
            perfctl.terminate()  # SIGINT is ignored by what a shell starts in the background
            perfctl.wait(timeout=30)
            report((Path(folder) / "told").read_text(), ends, memory)
        serving.kill()
        serving.wait()
    return 0


@contextlib.contextmanager
def watching(hosts: tuple[Host, ...], told: Path) -> Iterator[subprocess.Popen[bytes]]:
    where = [word for host in hosts for word in ("--netns", host.netns_path)]
    command = [sys.executable, "-m", "perfcheck.cli.perfctl", "tcp", "--output-file", str(told), *where]
    with subprocess.Popen(command) as perfctl:
        assert wait_until(lambda: told.is_file() and told.stat().st_size > 0, timeout_s=20)
        try:
            yield perfctl
        finally:
            if perfctl.poll() is None:
                perfctl.kill()


def soak(
    client: Host, program: str, address: str, args: argparse.Namespace, perfctl: subprocess.Popen[bytes]
) -> list[float]:
    """Drive the load, and return perfctl's resident memory in MB at the end of each minute."""
    count, memory = args.rate // TURNS_PER_S, list[float]()
    begun, turns = time.monotonic(), 0
    pid = perfctl.pid
    used = cpu_s(pid)
    while time.monotonic() - begun < args.minutes * 60:
        turns += 1
        assert perfctl.poll() is None, "perfctl has ended"
        client.run([program, "drive", "connections", address, str(PORT), str(count), "10"])
        time.sleep(max(0.0, begun + turns / TURNS_PER_S - time.monotonic()))
        if time.monotonic() - begun >= 60 * (len(memory) + 1):
            now = cpu_s(pid)
            memory.append(resident_mb(pid))
            rate = turns * count / (time.monotonic() - begun)
            print(f"minute {len(memory):3}  {memory[-1]:7.1f} MB  {100 * (now - used) / 60:5.2f} % of one CPU  "
                  f"{rate:7.0f} connections/s", flush=True)  # fmt: skip
            used = now
    return memory


def report(told: str, ends: int, memory: list[float]) -> None:
    last = told[told.rindex("watched ") :]
    print(last)
    found = _TOTALS.search(last)
    opened, ended = (int(word.replace(",", "")) for word in found.groups()) if found else (0, 0)
    print(f"ends by nstat: {ends:,}; told as opened: {opened:,}, as ended: {ended:,}; "
          f"not accounted for: {ends - ended:,}")  # fmt: skip
    if len(memory) > 10:
        print(f"memory at the end / at minute 10: {memory[-1] / memory[9]:.3f}")


def opens(host: Host) -> int:
    """Return how many connections the host's kernel has opened, at either end."""
    said = host.run(["nstat", "-az", "TcpActiveOpens", "TcpPassiveOpens"]).stdout.decode()
    return sum(int(float(line.split()[1])) for line in said.splitlines() if line.startswith("Tcp"))


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


if __name__ == "__main__":
    sys.exit(main())
