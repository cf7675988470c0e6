"""The endpoint that Prometheus scrapes: one thread, a bounded number of connections, a bounded time for each.

It hands out what the thread that measures made ready, and never waits for it, nor lets it wait. A slow client holds
a connection until its time is over, or until others need the place.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

from perfcheck.errors import UsageError
from perfcheck.export.rendering import Rendered
from perfcheck.export.request import BadRequest, answer, error, read_request

MOST_CONNECTIONS: Final = 128
_BACKLOG: Final = 128
_READ_S: Final = 5.0
"""For the request's head."""
_WRITE_S: Final = 10.0
"""For the answer."""
_DRAIN_S: Final = 1.0
"""For the other side to close: with bytes unread here, closing would tear its answer away."""
_CHUNK: Final = 65536
_END_S: Final = 2.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Connection:
    """One client; `left` is what it has not been sent yet, None: its request is not complete."""

    sock: socket.socket
    deadline_s: float
    received: bytearray = field(default_factory=bytearray)
    left: memoryview | None = None
    is_answered: bool = False


class MetricsServer:
    """Serves what `show` was last given, from a thread of its own, for the length of a `with` block."""

    def __init__(self, host: str, port: int) -> None:
        """Listen; UsageError where that cannot be."""
        self._listener = _listening(host, port)
        self.host, self.port = self._listener.getsockname()[:2]
        self._current: Rendered | None = None
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._connections: dict[_Connection, None] = {}
        self._is_over = False
        self._thread = threading.Thread(target=self._serve, name="perfctl metrics", daemon=True)

    @property
    def url(self) -> str:
        """Where it is scraped."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"

    def show(self, rendered: Rendered) -> None:
        """Let this be what scrapers get from now on."""
        self._current = rendered

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        self._is_over = True
        with contextlib.suppress(OSError):
            self._wake_out.send(b"x")
        self._thread.join(_END_S)

    def _serve(self) -> None:
        with self._selector, self._listener, self._wake_in, self._wake_out:
            self._listener.setblocking(False)
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._selector.register(self._wake_in, selectors.EVENT_READ)
            while not self._is_over:
                for key, _ in self._selector.select(self._wait_s()):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.data, _Connection):
                        self._go_on(key.data)
                self._end_late()
            for connection in list(self._connections):
                self._close(connection)

    def _wait_s(self) -> float | None:
        if not self._connections:
            return None
        soonest = min(each.deadline_s for each in self._connections)
        return max(soonest - time.monotonic(), 0.0)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as lacking:
            if lacking.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._make_room()
            return
        if len(self._connections) >= MOST_CONNECTIONS:
            self._make_room()
        sock.setblocking(False)
        connection = _Connection(sock=sock, deadline_s=time.monotonic() + _READ_S)
        self._connections[connection] = None
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _make_room(self) -> None:
        """Close the connection that has been here longest; where there is none, wait a moment."""
        oldest = next(iter(self._connections), None)
        if oldest is None:
            time.sleep(0.05)
        else:
            self._close(oldest)

    def _end_late(self) -> None:
        now_s = time.monotonic()
        for connection in [each for each in self._connections if each.deadline_s <= now_s]:
            self._close(connection)

    def _go_on(self, connection: _Connection) -> None:
        if connection not in self._connections:
            return  # it made room for another one
        try:
            if connection.is_answered:
                self._drain(connection)
            elif connection.left is None:
                self._read(connection)
            else:
                self._write(connection)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        got = connection.sock.recv(_CHUNK)
        if not got:
            self._close(connection)
            return
        connection.received += got
        try:
            request = read_request(bytes(connection.received))
            if request is None:
                return
            reply = answer(request, lambda: self._current)
        except BadRequest as bad:
            reply = error(bad.status)
        except Exception:  # noqa: BLE001 - one answer's defect must not end the endpoint
            reply = error(HTTPStatus.INTERNAL_SERVER_ERROR)
        connection.received.clear()
        connection.left = memoryview(reply)
        connection.deadline_s = time.monotonic() + _WRITE_S
        self._selector.modify(connection.sock, selectors.EVENT_WRITE, connection)
        self._write(connection)

    def _write(self, connection: _Connection) -> None:
        left = connection.left
        assert left is not None, "an answer is under way"  # noqa: S101 - told apart by the caller
        connection.left = left[connection.sock.send(left) :]
        if connection.left:
            return
        connection.sock.shutdown(socket.SHUT_WR)
        connection.is_answered = True
        connection.deadline_s = time.monotonic() + _DRAIN_S
        self._selector.modify(connection.sock, selectors.EVENT_READ, connection)

    def _drain(self, connection: _Connection) -> None:
        if not connection.sock.recv(_CHUNK):
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        del self._connections[connection]
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.sock)
        connection.sock.close()


def _listening(host: str, port: int) -> socket.socket:
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as problem:
        listener.close()
        words = {
            errno.EADDRINUSE: "is in use; name another port",
            errno.EADDRNOTAVAIL: "is no address of this machine; `ip address` lists them",
            errno.EACCES: "is not allowed to this user; name a port above 1023",
        }.get(problem.errno or 0, f"cannot be listened on: {problem.strerror}")
        raise UsageError(f"--listen: {shown} {words}") from None
    return listener
