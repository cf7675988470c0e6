"""The client of `connections`, as a program: `python -I -S client.py JSON`.

It opens connections at a rate, or as fast as those before end, sends a request on each and reads the answer up to
the server's FIN. Each connection is a line of five numbers in the log: when it began, and how long after that it was
established, its first byte came, and it ended (CLOCK_MONOTONIC, ns; -1: it did not come so far), and how it ended.
"""

from __future__ import annotations

import errno
import json
import resource
import select
import socket
import sys
import time
from array import array
from collections import OrderedDict

REQUEST = 64
COLUMNS = 5
DONE, REFUSED, TIMED_OUT, RESET, OTHER = range(5)
"""How a connection ended."""
OUTCOMES = {
    errno.ECONNREFUSED: REFUSED, errno.EHOSTUNREACH: REFUSED, errno.ENETUNREACH: REFUSED, errno.ETIMEDOUT: TIMED_OUT,
    errno.ECONNRESET: RESET, errno.EPIPE: RESET,
}  # fmt: skip
CHUNK = 1 << 16
LATE_NS = 100_000_000
"""How long after the end connections are still opened that were due before it, while this process got no CPU."""


class Connection:
    """One connection that has not ended."""

    __slots__ = ("begin_ns", "connected_ns", "first_ns", "left", "socket")

    def __init__(self, made: socket.socket, begin_ns: int, size: int) -> None:
        """Begin; an answer of so many bytes is expected."""
        self.socket = made
        self.begin_ns = begin_ns
        self.connected_ns = -1
        self.first_ns = -1
        self.left = size


class Client:
    """All connections of one run."""

    def __init__(self, config: dict[str, int | str | None]) -> None:
        """Open nothing yet."""
        self._target = (str(config["address"]), int(config["port"] or 0))
        self._family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
        rate = config["rate_per_s"]
        self._per_s = int(rate) if rate else 0
        self._duration_ns = int(config["duration_ns"] or 0)
        self._concurrency = int(config["concurrency"] or 1)
        self._timeout_ns = int(config["timeout_ns"] or 0)
        self._size = int(config["size"] or 0)
        self._most = int(config["most"] or 0)
        self._opened = 0
        self._log = array("q")
        self._poll = select.epoll()
        self._open: OrderedDict[int, Connection] = OrderedDict()
        """By file descriptor, the oldest first."""
        self._begin_ns = 0

    def run(self) -> array[int]:
        """Open connections for the duration, wait for the last to end, and return the log."""
        self._begin_ns = time.monotonic_ns()
        end_ns = self._begin_ns + self._duration_ns
        while True:
            now_ns = time.monotonic_ns()
            while self._may_open(now_ns, end_ns):
                self._open_one()
                now_ns = time.monotonic_ns()
            self._give_up(now_ns)
            if not self._open and (now_ns >= end_ns or self._opened >= self._most):
                return self._log
            for fd, _ in self._poll.poll(self._wait_s(now_ns, end_ns)):
                self._go_on(fd)

    def _may_open(self, now_ns: int, end_ns: int) -> bool:
        if len(self._open) >= self._concurrency or self._opened >= self._most:
            return False
        if not self._per_s:
            return now_ns < end_ns
        return self._due_ns() <= now_ns and self._due_ns() < end_ns and now_ns < end_ns + LATE_NS

    def _due_ns(self) -> int:
        return self._begin_ns + self._opened * 10**9 // self._per_s

    def _wait_s(self, now_ns: int, end_ns: int) -> float:
        """Return how long nothing is to be done but to wait for an event."""
        moments = []
        if self._open:
            moments.append(next(iter(self._open.values())).begin_ns + self._timeout_ns)
        if now_ns < end_ns and self._opened < self._most and len(self._open) < self._concurrency:
            moments.append(min(self._due_ns() if self._per_s else now_ns, end_ns))
        elif now_ns < end_ns:
            moments.append(end_ns)
        return max(0, min(moments) - now_ns) / 1e9

    def _open_one(self) -> None:
        self._opened += 1
        made = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection = Connection(made, time.monotonic_ns(), self._size)
        failed = made.connect_ex(self._target)
        fd = made.fileno()
        self._open[fd] = connection
        if failed not in (0, errno.EINPROGRESS):
            self._end(fd, OUTCOMES.get(failed, OTHER))
            return
        self._poll.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def _go_on(self, fd: int) -> None:
        connection = self._open[fd]
        try:
            if connection.connected_ns < 0:
                failed = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failed:
                    self._end(fd, OUTCOMES.get(failed, OTHER))
                    return
                connection.connected_ns = time.monotonic_ns()
                connection.socket.send(bytes(REQUEST))
            while received := len(connection.socket.recv(CHUNK)):
                if connection.first_ns < 0:
                    connection.first_ns = time.monotonic_ns()
                connection.left -= received
            self._end(fd, DONE if connection.left == 0 else OTHER)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(fd, OUTCOMES.get(error.errno or 0, OTHER))

    def _give_up(self, now_ns: int) -> None:
        while self._open:
            fd, oldest = next(iter(self._open.items()))
            if oldest.begin_ns + self._timeout_ns > now_ns:
                return
            self._end(fd, TIMED_OUT)

    def _end(self, fd: int, outcome: int) -> None:
        connection = self._open.pop(fd)
        connection.socket.close()
        begin_ns = connection.begin_ns
        since = [at - begin_ns if at >= 0 else -1 for at in (connection.connected_ns, connection.first_ns)]
        self._log.extend((begin_ns, *since, time.monotonic_ns() - begin_ns, outcome))


def main() -> int:
    """Run, and write the log in one go: nothing but the connections takes time while they last."""
    config = json.loads(sys.argv[1])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    log = Client(config).run()
    with open(config["log"], "wb") as file:  # noqa: PTH123 - pathlib takes long to import
        log.tofile(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
