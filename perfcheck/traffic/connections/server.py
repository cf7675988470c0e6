"""The server of `connections`, as a program: `python -I -S server.py JSON`.

It accepts what waits, several connections at a wake-up, reads a request of REQUEST bytes from each, answers and
closes. It closes first, so that the ports in TIME-WAIT are its own single one and not the client's. `accept_per_s`
slows accepting down, for a server that does not keep up.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time

REQUEST = 64
BATCH = 64
"""Connections accepted at one wake-up; those that are open get their turn in between."""


class Server:
    """One listening socket and the connections that are not answered yet."""

    def __init__(self, config: dict[str, int | str | None]) -> None:
        """Listen."""
        family = socket.AF_INET6 if ":" in str(config["address"]) else socket.AF_INET
        self._listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Connections of an earlier run may still be in TIME-WAIT.
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind((str(config["address"]), int(config["port"] or 0)))
        self._listening.listen(int(config["backlog"] or 1))
        self._answer = bytes(int(config["size"] or 0))
        rate = config["accept_per_s"]
        self._between_ns = 10**9 // int(rate) if rate else 0
        self._next_ns = time.monotonic_ns()
        self._open: dict[int, tuple[socket.socket, int]] = {}
        """By file descriptor: the connection, and how many bytes are still to read (below 0: have been sent)."""
        self._poll = select.epoll()
        if not self._between_ns:
            self._poll.register(self._listening.fileno(), select.EPOLLIN)

    def serve(self) -> None:
        """Serve until the process is ended."""
        listening = self._listening.fileno()
        while True:
            wait_s = max(0.0, (self._next_ns - time.monotonic_ns()) / 1e9) if self._between_ns else None
            for fd, _ in self._poll.poll(wait_s):
                if fd == listening:
                    self._accept(BATCH)
                else:
                    self._go_on(fd)
            if self._between_ns and time.monotonic_ns() >= self._next_ns:
                self._accept(1)
                self._next_ns = max(self._next_ns + self._between_ns, time.monotonic_ns() - self._between_ns)

    def _accept(self, most: int) -> None:
        for _ in range(most):
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            connection.setblocking(False)
            self._open[connection.fileno()] = (connection, REQUEST)
            self._poll.register(connection.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def _go_on(self, fd: int) -> None:
        connection, left = self._open[fd]
        try:
            while left > 0:
                received = len(connection.recv(left))
                if not received:
                    self._close(fd)
                    return
                left -= received
            while -left < len(self._answer):
                left -= connection.send(self._answer[-left:])
        except BlockingIOError:
            self._open[fd] = (connection, left)
            return
        except OSError:
            pass  # reset
        self._close(fd)

    def _close(self, fd: int) -> None:
        self._open.pop(fd)[0].close()


def allow_open_files() -> None:
    """Allow this process as many open files as it may allow itself; the default is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    allow_open_files()
    Server(json.loads(sys.argv[1])).serve()
