"""One process in a host: drains its output while it runs, notes when it ends, and makes sure that it ends."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

from perfcheck.errors import TrafficError
from perfcheck.model.seams import Host, Told

LINGER_S: Final = 0.5
"""How long output is still read after the end: a child of the process may hold the pipe open for ever."""
TERM_S: Final = 1.0
"""How long a process may take to end after SIGTERM before SIGKILL."""
POLL_S: Final = 0.002
_CHUNK: Final = 1 << 16


class Child:
    """A running process; two threads of its own wait for its end and read its output.

    `start_ns` and `end_ns` are CLOCK_MONOTONIC of this machine; that of the host's machine is `ahead_ns` ahead. With
    `keep_bytes` only so much of the end of each stream is kept, so that a chatty command cannot fill the memory.
    """

    def __init__(self, host: Host, argv: Sequence[str], *, keep_bytes: int | None = None) -> None:
        """Start it; TrafficError when it cannot even be started."""
        self.host = host
        self.argv = tuple(argv)
        self.end_ns: int | None = None
        self._cpu_s = 0.0
        self.start_ns = time.monotonic_ns()
        try:
            self._process = host.popen(self.argv)
        except OSError as error:
            raise TrafficError(f"cannot start {self}: {error.strerror}: {argv[0]!r}. Is it installed?") from error
        self.ahead_ns = 0
        if isinstance(self._process, Told):
            self.start_ns, self.ahead_ns = self._process.start_ns, self._process.ahead_ns
        self._keep_bytes = keep_bytes
        self._cut = False
        self._sinks = (bytearray(), bytearray())
        self._linger_s = LINGER_S
        self._ended = threading.Event()
        self._exit_read, self._exit_write = os.pipe()
        self._threads = (
            threading.Thread(target=self._await_end, daemon=True),
            threading.Thread(target=self._drain, daemon=True),
        )
        for thread in self._threads:
            thread.start()
        self._closed = False
        self._stopping = threading.Lock()

    def __str__(self) -> str:
        """Name the command and the host, for messages."""
        return f"`{shlex.join(self.argv)}` in host {self.host.name}"

    @property
    def status(self) -> int | None:
        """Its exit status, minus the signal's number where a signal ended it, None while it runs."""
        return self._process.poll() if self._ended.is_set() else None

    @property
    def stdout(self) -> str:
        """What it wrote so far; complete once `wait` gave True."""
        return self._sinks[0].decode(errors="replace")

    @property
    def stderr(self) -> str:
        """As stdout."""
        return self._sinks[1].decode(errors="replace")

    @property
    def cut(self) -> bool:
        """Whether it wrote more than is kept, so that the beginning of a stream is missing."""
        return self._cut

    def ended(self, timeout_s: float = 0.0) -> bool:
        """Wait at most so long for its end, woken by it; the output may still be on its way."""
        return self._ended.wait(max(0.0, timeout_s))

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end and its last output; False when it is still running after that time."""
        if not self.ended(timeout_s):
            return False
        self._threads[1].join()
        return True

    def await_listening(self, port: int, protocol: str, timeout_s: float) -> None:
        """Return once something listens on the port in its host; TrafficError if it ends before, or is too slow."""
        deadline = time.monotonic() + timeout_s
        while not self.host.listening(port, protocol):
            if self.ended(POLL_S):
                self.wait(LINGER_S)
                raise TrafficError(f"{self} ended with {self.describe_end()} before it listened on port {port}")
            if time.monotonic() > deadline:
                where = f"{protocol} port {port}"
                raise TrafficError(
                    f"{self} does not listen on {where} after {timeout_s:g} s. Is that the port it uses?"
                )

    def describe_end(self, lines: int = 5) -> str:
        """Say how it ended, with the last lines that it wrote (standard error, else standard output)."""
        status = self.status
        how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        said = self.stderr.strip() or self.stdout.strip()
        return f"{how}: {' | '.join(said.splitlines()[-lines:])}" if said else how

    def cpu_s(self) -> float:
        """CPU time that it used so far, without its children; 0 where that cannot be told."""
        if self._ended.is_set() or isinstance(self._process, Told):
            return self._cpu_s
        return _cpu_s(self._process.pid)

    def stop(self) -> None:
        """End the process (SIGTERM, then SIGKILL), reap it and close the pipes; safe to call twice, by any thread."""
        with self._stopping:
            if not self._closed:
                self._stop()

    def _stop(self) -> None:
        if not isinstance(self._process, Told):
            # What a process of another machine wrote is still on its way here, and its streams end by themselves.
            self._linger_s = 0.0
        if not self._ended.is_set():
            self._process.terminate()
            if not self.ended(TERM_S):
                self._process.kill()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdout, self._process.stderr, self._process.stdin):
            if stream is not None:
                stream.close()
        os.close(self._exit_read)
        self._closed = True

    def _await_end(self) -> None:
        if isinstance(self._process, Told):
            self._process.wait()
            self._cpu_s, self.end_ns = self._process.cpu_s(), self._process.end_ns
        else:
            self._await_own()
        self._ended.set()
        os.close(self._exit_write)

    def _await_own(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self._cpu_s = _cpu_s(self._process.pid)
        self._process.wait()
        self.end_ns = time.monotonic_ns()

    def _drain(self) -> None:
        deadline: float | None = None
        with selectors.PollSelector() as selector:
            for stream, sink in zip((self._process.stdout, self._process.stderr), self._sinks, strict=True):
                if stream is not None:
                    selector.register(stream.fileno(), selectors.EVENT_READ, sink)
            selector.register(self._exit_read, selectors.EVENT_READ)
            while any(key.data is not None for key in selector.get_map().values()):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left < 0:
                    break
                for key, _ in selector.select(left):
                    if key.data is None:
                        deadline = time.monotonic() + self._linger_s
                        selector.unregister(key.fd)
                    elif chunk := os.read(key.fd, _CHUNK):
                        self._keep(key.data, chunk)
                    else:
                        selector.unregister(key.fd)

    def _keep(self, sink: bytearray, chunk: bytes) -> None:
        sink.extend(chunk)
        if self._keep_bytes is not None and len(sink) > 2 * self._keep_bytes:
            del sink[: -self._keep_bytes]
            self._cut = True


def _cpu_s(pid: int) -> float:
    """User and system time of a process that runs, or has ended and was not waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Preparing(Protocol):
    """A session whose processes have to be started before its traffic."""

    def prepare(self) -> None:
        """Start the server and return once it listens."""

    def stop(self) -> None:
        """End every process of it; safe to call at any time."""


S = TypeVar("S", bound=Preparing)


def prepared(session: S) -> S:
    """Prepare the session and give it back; what it has started is ended where that fails."""
    try:
        session.prepare()
    except BaseException:
        session.stop()
        raise
    return session
