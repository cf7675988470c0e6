"""A process on another machine, with the surface of subprocess.Popen that traffic needs."""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import IO, Final

from perfcheck.system.clock import now_ns

_STREAMS: Final = (1, 2)
_Said = tuple[int, bytes]


class RemoteProcess:
    """Its output comes through two pipes; a thread fills them, however slowly they are read."""

    stdin: IO[bytes] | None = None

    def __init__(self, argv: Sequence[str], send_signal: Callable[[int], None], ahead_ns: int = 0) -> None:
        """Take a process that is about to be started; `begun` says that it was.

        Its machine's clock is `ahead_ns` ahead of this one's. Its end may be told before its start.
        """
        self.args = list(argv)
        self.pid = 0
        self.returncode: int | None = None
        self._send_signal = send_signal
        self.ahead_ns = ahead_ns
        self._start_ns = self._end_ns = 0
        self._cpu_s = 0.0
        self._ended = threading.Event()
        self._said: queue.SimpleQueue[_Said | None] = queue.SimpleQueue()
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in _STREAMS]
        self.stdout, self.stderr = (open(reading, "rb", buffering=0) for reading, _ in pipes)  # noqa: SIM115, PTH123
        self._writing = {stream: writing for stream, (_, writing) in zip(_STREAMS, pipes, strict=True)}
        threading.Thread(target=self._fill, name=f"output of {argv[0]}", daemon=True).start()

    def begun(self, pid: int, start_ns: int) -> None:
        """Take its pid, and its start by its machine's clock."""
        self.pid = pid
        self._start_ns = start_ns - self.ahead_ns

    @property
    def start_ns(self) -> int:
        """When it was started, by this machine's clock."""
        return self._start_ns

    @property
    def end_ns(self) -> int:
        """When it ended, by this machine's clock; 0 while it runs."""
        return self._end_ns

    def cpu_s(self) -> float:
        """Return its CPU time, known when it has ended."""
        return self._cpu_s

    def output(self, stream: int, content: bytes) -> None:
        """Take what it wrote."""
        self._said.put((stream, content))

    def ended(self, status: int, ended_ns: int, cpu_s: float) -> None:
        """Take its end: its status, the time by its machine's clock (0: the connection was lost), its CPU time."""
        self._end_ns = ended_ns - self.ahead_ns if ended_ns else now_ns()
        self._cpu_s = cpu_s
        self.returncode = status
        self._said.put(None)
        self._ended.set()

    def poll(self) -> int | None:
        """Return its status, None while it runs."""
        return self.returncode if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; subprocess.TimeoutExpired past the time."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(shlex.join(self.args), timeout or 0.0)
        return self.returncode or 0

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self._send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self._send_signal(signal.SIGKILL)

    def _fill(self) -> None:
        """Write what it wrote into the pipes; one that nobody reads any more is passed over."""
        while (said := self._said.get()) is not None:
            stream, content = said
            rest = memoryview(content)
            with contextlib.suppress(OSError, KeyError):
                while rest:
                    rest = rest[os.write(self._writing[stream], rest) :]
        for writing in self._writing.values():
            os.close(writing)
        self._writing = {}
