"""A screen in a pseudo-terminal on connections that are made up: what `screen_cost.py` and `screen_soak.py` share."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from perfcheck.live.grouping import GroupBy
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Accounting, Interval
from perfcheck.screen.app import TopApp
from perfcheck.screen.feed import LiveFeed
from perfcheck.screen.filtering import parse_filter
from perfcheck.screen.frame import Frame
from perfcheck.screen.framing import FrameMaker
from perfcheck.screen.look import Look
from perfcheck.screen.request import ScreenRequest

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGESIZE")
SECOND_NS: Final = 1_000_000_000
COMMS: Final = np.array([b"nginx", b"postgres", b"rsync", b"envoy", b"curl"], "S16")
WARM_UP: Final = 8
"""Intervals: starting, and loading the rules of the diagnosis."""
EPOCH_NS: Final = time.time_ns() - time.monotonic_ns()
EDGES: Final = tuple(10.0 * 2 ** (step / 4) for step in range(64))


class MadeUp:
    """Intervals of a second each, in real time; in each of them, `churn` connections end and as many begin."""

    def __init__(self, flows: int, churn: int) -> None:
        self._random = np.random.default_rng(7)
        self._churn = churn
        self._over = threading.Event()
        self._next = flows + 1
        self._kind = self._random.integers(0, 6, flows)
        self._base_us = np.exp(self._random.uniform(np.log(100), np.log(2e5), flows))
        self._rate = np.exp(self._random.uniform(np.log(1e3), np.log(2e7), flows))
        table = FlowTable.empty(flows, {1: ""})
        fixed: dict[str, Any] = {
            "cookie": np.arange(1, flows + 1), "netns": 1, "family": 2, "pid": 1000 + np.arange(flows) // 8,
            "comm": COMMS[np.arange(flows) // 8 % len(COMMS)], "congestion": b"cubic", "remote_port": 443,
            "local_port": 1024 + np.arange(flows) % 60000, "elapsed_us": 1_000_000, "mss_bytes": 1448.0,
            "established_ns": 1, "local": b"\x0a\0\0\x01" + bytes(12), "sndbuf_bytes": 4e6, "rcvbuf_bytes": 4e6,
        }  # fmt: skip
        for name, value in fixed.items():
            column = table.columns[name]
            column[:] = np.asarray(value, column.dtype) if isinstance(value, bytes) else value
        remote = table.columns["remote"].view("u1").reshape(flows, 16)
        numbers = np.arange(flows)
        remote[:, 0], remote[:, 1], remote[:, 2], remote[:, 3] = 203, 0, numbers // 250 % 250, numbers % 250 + 1
        self._table = table

    def stop(self) -> None:
        self._over.set()

    def __iter__(self) -> Iterator[Interval]:
        begin_ns, number = time.monotonic_ns(), 0
        while not self._over.wait(max(begin_ns + SECOND_NS - time.monotonic_ns(), 0) / 1e9):
            yield self._interval(number, begin_ns)
            number, begin_ns = number + 1, begin_ns + SECOND_NS

    def _interval(self, number: int, begin_ns: int) -> Interval:
        random, kind, rows = self._random, self._kind, len(self._table)
        gone = random.choice(rows, min(self._churn, rows), replace=False)
        columns = {name: column.copy() for name, column in self._table.columns.items()}
        rtt = self._base_us * random.uniform(1, 1.2, rows) * np.where(kind == 1, 3, 1)
        sent = self._rate * random.uniform(0.8, 1.2, rows)
        made: dict[str, Any] = {
            "bytes_acked": sent, "bytes_received": sent / 40, "rtt_p50_us": rtt, "rtt_p99_us": rtt * 1.5,
            "srtt_us": rtt, "min_rtt_us": self._base_us, "rtt_mean_us": rtt, "rtt_count": 100,
            "cwnd_segs": np.maximum(10, sent / 50_000), "inflight_segs": np.maximum(5, sent / 80_000),
            "data_segs_out": np.maximum(1, sent / 1448), "busy_us": np.where(kind == 4, 100_000, 990_000),
            "retrans_segs": random.poisson(np.where(kind == 2, 4, 0.02)),
            "rwnd_limited_us": np.where(kind == 5, 800_000, 0), "sendq_bytes": sent / 30,
        }  # fmt: skip
        for name, value in made.items():
            columns[name][:] = value
        columns["closed"][gone] = True
        # Others take their places from the next interval on.
        self._table.columns["cookie"][gone] = np.arange(self._next, self._next + len(gone))
        self._next += len(gone)
        counts = tuple(np.histogram(rtt, EDGES)[0].tolist())
        return Interval(
            number=number, begin_ns=begin_ns, end_ns=begin_ns + SECOND_NS, epoch_ns=EPOCH_NS,
            flows=FlowTable(columns=columns, hosts=self._table.hosts),
            histograms={"tcp.rtt_us": Histogram(unit="us", edges=EDGES, counts=counts, minimum=10.0, maximum=1e6)},
            accounting=Accounting(opened=len(gone), ended=len(gone)),
        )  # fmt: skip


@dataclass(slots=True)
class Times:
    """How long each interval took, in ms: the frame in the reader's thread, and the screen's own update."""

    frames: list[float] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)


class TimedMaker(FrameMaker):
    """Makes frames, and notes how long each takes."""

    def __init__(self, times: Times, ready: Path) -> None:
        super().__init__()
        self._times = times
        self._ready = ready

    def frame(self, interval: Interval) -> Frame:
        begun = time.thread_time()
        made = super().frame(interval)
        self._times.frames.append(1e3 * (time.thread_time() - begun))
        if len(self._times.frames) == WARM_UP:
            self._ready.touch()
        return made


class TimedApp(TopApp):
    """Notes how long updates take, up to the lines; Textual's writing is not in it."""

    times: Times

    def _show(self) -> None:
        begun = time.thread_time()
        super()._show()
        self.times.updates.append(1e3 * (time.thread_time() - begun))


def run_screen(args: argparse.Namespace) -> int:
    """Show the screen, in the process that the pseudo-terminal belongs to, and leave the times."""
    times = Times()
    intervals = MadeUp(args.flows, args.churn)
    feed = LiveFeed(intervals, TimedMaker(times, ready_file(args.times)))
    request = ScreenRequest(
        title="made up", is_recorded=False, look=Look(), by=GroupBy(args.group_by), filter=parse_filter(args.filter)
    )
    app = TimedApp(feed, request)
    app.times = times
    app.run()
    feed.stop()
    if app.failure or app.defect:
        raise SystemExit(repr(app.failure or app.defect))
    Path(args.times).write_text(json.dumps({"frames": times.frames, "updates": times.updates}))
    return 0


def ready_file(times: Path) -> Path:
    """Return the file that is there once the screen has started and the diagnosis is loaded."""
    return times.with_suffix(".ready")


@dataclass(slots=True)
class Terminal:
    """A screen that runs in a pseudo-terminal; `written` counts the bytes that came."""

    process: subprocess.Popen[bytes]
    main: int
    written: int = 0

    def press(self, keys: str) -> None:
        os.write(self.main, keys.encode())

    def cpu_s(self) -> float:
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / TICKS

    def resident_mb(self) -> float:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE / 1e6


@contextlib.contextmanager
def in_terminal(argv: list[str], size: tuple[int, int]) -> Iterator[Terminal]:
    """Start a program in a pseudo-terminal whose output is read and dropped."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        argv, stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True
    )  # fmt: skip
    os.close(other)
    terminal = Terminal(process, main)

    def read() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(main, 1 << 16):
                terminal.written += len(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(5)
        os.close(main)


def screen_argv(times: Path, *, flows: int, churn: int, group_by: str = "connection", filter_: str = "") -> list[str]:
    """Return what starts a screen in a process of its own."""
    return [sys.executable, __file__, "--flows", str(flows), "--churn", str(churn), "--times", str(times),
            "--group-by", group_by, "--filter", filter_]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--churn", type=int, default=10)
    parser.add_argument("--times", type=Path, required=True)
    parser.add_argument("--group-by", default="connection")
    parser.add_argument("--filter", default="")
    return run_screen(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
