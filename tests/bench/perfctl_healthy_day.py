"""How many alerts a day of healthy traffic raises: none is expected.

    python tests/bench/perfctl_healthy_day.py [--minutes 10] [--hours 24] [--recording FILE]

`perfctl record` watches both ends of a path of 50 Mbit/s with 20 ms of delay, on which transfers, paced streams,
requests and short connections come and go, with times of nothing. The recording is then replayed through the alert
rules of `perfctl observe` again and again, at later times, until the hours are over. With `--recording` that file is
replayed, or made where there is none. How near each rule came to its bound is told, too.
"""

from __future__ import annotations

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from perfcheck.lab import Lab
from perfcheck.lab.links import emulators
from perfcheck.live.alerts import Alert, AlertState, AlertWatch, UserBounds
from perfcheck.live.alerts.rules import rules_of
from perfcheck.live.recording import open_recording
from perfcheck.model.interval import Interval, LiveRequest
from perfcheck.model.seams import Host, Process
from perfcheck.system import Journal, new_tag
from perfcheck.system.clock import wait_until
from perfcheck.system.programs import LOAD
from perfcheck.testing import make_scenario

PERFCTL: Final = (sys.executable, "-m", "perfcheck.cli.perfctl")
IPERF3_PORT: Final = 5201
LOAD_PORT: Final = 7000
TURN_S: Final = 8
"""So long one mixture of traffic lasts."""
PATH: Final[Mapping[str, Any]] = {
    "hosts": {"client": {"congestion": "cubic"}, "router": {"router": True}, "server": {"congestion": "cubic"}},
    "links": [
        {"between": ["client", "router"], "delay": "5ms", "rate": "50mbit", "queue": "2bdp"},
        {"between": ["router", "server"], "delay": "5ms", "rate": "50mbit", "queue": "2bdp"},
    ],
}
SHOWN: Final = 40


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--recording", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.recording or Path(folder) / "healthy.rec"
        if not path.exists():
            record(path, args.minutes)
        with open_recording(path, LiveRequest()) as opened:
            intervals = list(opened)
    print(f"recorded: {seen(intervals)}")
    print(f"nearest to its bound: {', '.join(nearest(intervals))}", flush=True)
    began, count = time.monotonic(), Counter[str]()
    watch, replayed = AlertWatch(), 0
    for interval in replayed_for(intervals, args.hours * 3600):
        replayed += 1
        for alert in watch.observe(interval):
            if alert.state is AlertState.RAISED:
                count[alert.rule] += 1
                if count.total() <= SHOWN:
                    tell(alert, interval)
    print(f"replayed: {replayed:,} intervals, {args.hours:g} h, in {time.monotonic() - began:.0f} s")
    print(f"alerts: {count.total()}" + "".join(f", {rule}: {number}" for rule, number in count.most_common()))
    return 1 if count else 0


def record(path: Path, minutes: float) -> None:
    """Record traffic that is healthy."""
    scenario = make_scenario(traffic=[], **PATH)
    with Journal.create(new_tag()) as journal, Lab(scenario, journal, emulators()) as lab:
        lab.apply_settings()
        lab.begin_trial(0)
        client, server = lab.hosts["client"], lab.hosts["server"]
        program = client.compiled_program(LOAD)
        serving = [server.popen(["iperf3", "-s"]), server.popen([program, "serve", str(LOAD_PORT)])]
        try:
            assert wait_until(lambda: all(map(server.listening, (IPERF3_PORT, LOAD_PORT))), timeout_s=10)
            where = [word for host in (client, server) for word in ("--netns", host.netns_path)]
            words = ["--layer", "all", "--interval", "1s", "--cpu-ceiling", "100", "--output-file", str(path), *where]
            argv = [*PERFCTL, "record", "--duration", f"{round(minutes * 60)}s", *words]
            with subprocess.Popen(argv) as recording:
                run_traffic(client, server.address_towards("client"), program, recording)
            if recording.returncode:
                raise SystemExit(f"perfctl record ended with status {recording.returncode}")
        finally:
            for one in serving:
                one.kill()
                one.wait()


def run_traffic(client: Host, address: str, program: str, recording: subprocess.Popen[bytes]) -> None:
    """Have mixtures come and go until the recording is over; what they are is the same at each run."""
    chance = random.Random(1)  # noqa: S311 - nothing secret
    iperf3 = ("iperf3", "-c", address, "-t", str(TURN_S - 1))
    kinds: dict[str, Sequence[str]] = {
        "transfer": iperf3,
        "paced": (*iperf3, "-b", "10M"),
        "requests": (program, "drive", "requests", address, str(LOAD_PORT), "250", "1000"),
        "connections": (program, "drive", "connections", address, str(LOAD_PORT), "100", "2000"),
        "nothing": (),
    }
    # Each alone once, then two at a time; the servers serve one peer after the other.
    alone = [(name,) for name in kinds]
    apart = [pair for pair in itertools.combinations(kinds, 2) if pair not in {("transfer", "paced"),
             ("requests", "connections")}]  # fmt: skip
    for number in itertools.count():
        names = alone[number] if number < len(alone) else chance.choice(apart)
        running: list[Process] = [client.popen(list(kinds[name])) for name in names if kinds[name]]
        end = time.monotonic() + TURN_S
        while time.monotonic() < end:
            if recording.poll() is not None:
                break
            time.sleep(0.1)
        for one in running:
            one.kill()
            one.wait()
        if recording.poll() is not None:
            return


def seen(intervals: Sequence[Interval]) -> str:
    """Return what a recording holds."""
    opened = sum(interval.accounting.opened for interval in intervals)
    idle = sum(1 for interval in intervals if not interval.flows["segs_out"].any())
    again = sum(int(interval.flows["retrans_segs"].sum()) for interval in intervals)
    sent = sum(int(interval.flows["data_segs_out"].sum()) for interval in intervals)
    return (
        f"{len(intervals)} intervals, {opened:,} connections opened, {sent:,} data segments, {again:,} of them again, "
        f"{idle} intervals idle"
    )


def nearest(intervals: Sequence[Interval]) -> Iterator[str]:
    """Yield what share of its bound each rule read at most in one interval, where there was enough to judge."""
    for rule in rules_of(UserBounds()):
        readings = [reading for interval in intervals for reading in rule.read(interval)]
        shares = [reading.value / reading.bound for reading in readings if reading.bound]
        counting = [reading.value / reading.bound for reading in readings if reading.bound and reading.enough]
        yield (
            f"{rule.name} {max(shares, default=0):.2f} ({max(counting, default=0):.2f} where it counts, "
            f"{len(readings)} readings)"
        )


def replayed_for(intervals: Sequence[Interval], seconds: float) -> Iterator[Interval]:
    """Yield the intervals again and again as if each followed the one before, until the time is over."""
    first, last = intervals[0].begin_ns, intervals[-1].end_ns
    for turn in itertools.count():
        shift = turn * (last - first)
        for place, interval in enumerate(intervals):
            if interval.begin_ns - first + shift >= seconds * 1e9:
                return
            yield replace(
                interval, number=turn * len(intervals) + place, begin_ns=interval.begin_ns + shift,
                end_ns=interval.end_ns + shift,
            )  # fmt: skip


def tell(alert: Alert, interval: Interval) -> None:
    """Print an alert and what there was in its interval."""
    print(f"interval {interval.number}: {alert.text}")


if __name__ == "__main__":
    sys.exit(main())
