"""`perfctl top` in a pseudo-terminal on a live transfer: what it shows, its keys, and what is left however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from leftovers import held_bpf, lasting_bpf
from live_lab import LiveLab, live_lab

from perfcheck.system.clock import wait_until

pytestmark = pytest.mark.kernel

PERFCTL: Final = (sys.executable, "-m", "perfcheck.cli.perfctl")
SIZE: Final = (160, 40)
PATIENCE_S: Final = 60.0
_CONTROL: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")
WRITE: Final = {"1", "64"}
"""Number of write(2) on x86 and ARM."""
LATEST: Final = 40_000
"""Bytes that are looked at: some screens full."""
ALTERNATE: Final = "\x1b[?1049h"
USUAL: Final = "\x1b[?1049l"


@dataclass(slots=True)
class Terminal:
    """A pseudo-terminal, the program in it, and all that this wrote."""

    process: subprocess.Popen[bytes]
    main: int
    other: int
    before: list[Any]
    raw: bytearray = field(default_factory=bytearray)

    def read(self, for_s: float = 0.1) -> int:
        """Read what is there, and return how many bytes that was."""
        before = len(self.raw)
        if select.select([self.main], [], [], for_s)[0]:
            with contextlib.suppress(OSError):
                self.raw += os.read(self.main, 1 << 16)
        return len(self.raw) - before

    @property
    def written(self) -> str:
        return self.raw.decode(errors="replace")

    def texts(self, since: int = 0) -> str:
        """Return what was written, without what moves the cursor or colours."""
        return _CONTROL.sub("\0", self.raw[max(since, len(self.raw) - LATEST) :].decode(errors="replace"))

    def until(self, is_there: Callable[[str], object], since: int = 0) -> str:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.read()
            if is_there(self.texts(since)):
                return self.texts(since)
            assert self.process.poll() is None, self.texts(since)[-2000:]
        raise AssertionError(self.texts(since)[-2000:])

    def press(self, keys: str, awaited: str) -> None:
        """Press keys, and wait for a text that is written after them."""
        since = len(self.raw)
        os.write(self.main, keys.encode())
        self.until(lambda text: awaited in text, since)

    def ended(self) -> int:
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
        while self.read():
            pass
        return self.process.wait(1)

    def is_restored(self) -> bool:
        return (
            termios.tcgetattr(self.other) == self.before
            and self.written.rindex(USUAL) > self.written.rindex(ALTERNATE)
            and self.written.rindex("\x1b[?25h") > self.written.rindex("\x1b[?25l")
        )


@contextmanager
def terminal(*words: str) -> Iterator[Terminal]:
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    before = termios.tcgetattr(other)
    process = subprocess.Popen(
        [*PERFCTL, *words], stdin=other, stdout=other, stderr=other, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"},
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no other thread runs here
    )  # fmt: skip
    try:
        yield Terminal(process, main, other, before)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for descriptor in (main, other):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@pytest.fixture(scope="module")
def lab() -> Iterator[LiveLab]:
    with live_lab(hosts={"client": {}, "server": {}}, links=[{"between": ["client", "server"]}]) as made:
        made.iperf3("-b", "5M", seconds=120)
        yield made


def test_it_shows_a_transfer_and_leaves_the_terminal_as_it_was(lab: LiveLab) -> None:
    with terminal(
        "top", "--netns", lab.host("client").netns_path, "--interval", "200ms", "--cpu-ceiling", "100"
    ) as shown:
        text = shown.until(lambda text: "iperf3" in text and re.search(r"diagnosis \0*\w+ \d+ %", text))
        for word in ("perfctl top", "RTT p50", "alerts", "BOTTLENECK", ":5201", "LIVE"):
            assert word in text, word
        shown.press("g", "process")
        shown.press("g", "app")
        shown.press("gg", "connection")
        shown.press("/5201\r", "5201")
        shown.press(" ", "behind")
        shown.press("\r", "rests on")
        shown.press("\x1b", "BOTTLENECK")
        held = held_bpf(shown.process.pid)
        assert held
        os.write(shown.main, b"q")
        assert shown.ended() == 0
        assert shown.is_restored()
        assert "watched " in shown.texts(shown.raw.rindex(USUAL.encode())), "a summary is told in the usual screen"
        assert not lasting_bpf(held)


def test_signals_and_a_lost_terminal_end_it_cleanly(lab: LiveLab) -> None:
    where = ("--netns", lab.host("client").netns_path, "--interval", "200ms", "--cpu-ceiling", "100")
    with ExitStack() as stack:
        told, lost, cut = (
            stack.enter_context(terminal(*words, *where))
            for words in (("tcp", "--tui"), ("observe", "--tui"), ("top",))
        )
        for one in (told, lost, cut):
            one.until(lambda text: "iperf3" in text)
        held = frozenset().union(*(held_bpf(one.process.pid) for one in (told, lost, cut)))
        assert held
        told.process.send_signal(signal.SIGTERM)
        os.close(lost.main)
        os.write(cut.main, b"\x03")
        assert told.ended() == 3
        assert told.is_restored()
        assert "perfctl tcp: stopped by SIGTERM" in told.texts()
        assert lost.process.wait(PATIENCE_S) == 3
        assert cut.ended() == 0
        assert cut.is_restored()
        assert not lasting_bpf(held)


def test_a_terminal_that_stands_still_does_not_keep_it(lab: LiveLab) -> None:
    where = ("--netns", lab.host("client").netns_path, "--interval", "20ms", "--cpu-ceiling", "100")
    with terminal("top", *where) as stalled:
        stalled.until(lambda text: "iperf3" in text)
        held = held_bpf(stalled.process.pid)
        assert held
        # Nobody reads any more: it writes until there is no room, and then waits.
        assert wait_until(lambda: waits_to_write(stalled.process.pid), timeout_s=PATIENCE_S)
        stalled.process.send_signal(signal.SIGTERM)
        assert stalled.process.wait(PATIENCE_S) == 3
        assert not lasting_bpf(held)


def waits_to_write(pid: int) -> bool:
    """Return whether a thread of the process stays in write(2) to the terminal for some time."""
    for _ in range(5):
        calls = [path.read_text().split()[:2] for path in Path(f"/proc/{pid}/task").glob("*/syscall")]
        if not any(len(call) == 2 and call[0] in WRITE and call[1] == "0x2" for call in calls):
            return False
        time.sleep(0.1)
    return True
