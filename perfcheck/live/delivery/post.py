"""POSTs to an HTTP server that may hang, refuse or answer slowly; it follows no redirect and uses no proxy."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from perfcheck.live.delivery.notice import NotDelivered
from perfcheck.live.delivery.target import WebhookTarget

_RETRIED: Final = frozenset({408, 425, 429})
"""Answers of the 400s that ask to try again."""


class Poster:
    """One POST a call, each on a connection of its own."""

    def __init__(self, target: WebhookTarget) -> None:
        """Take the server; nothing is connected before the first POST."""
        self._target = target
        self._tls = ssl.create_default_context() if target.tls else None

    def post(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> None:
        """POST the body and read the answer's status, all within the time; NotDelivered says why it did not work."""
        deadline_s = time.monotonic() + timeout_s
        try:
            status, place = self._posted(body, headers, deadline_s)
        except TimeoutError:
            raise NotDelivered(f"no answer within {timeout_s:.2g} s") from None
        except (OSError, http.client.HTTPException) as problem:
            # After the time, the connection was shut from here: that is the cause of any other error.
            late = time.monotonic() >= deadline_s
            raise NotDelivered(f"no answer within {timeout_s:.2g} s" if late else _words(problem)) from None
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            to = f" to {place}" if place else ""
            raise NotDelivered(f"HTTP {status} redirects{to}; redirects are not followed", final=True)
        raise NotDelivered(f"HTTP {status}", final=400 <= status < 500 and status not in _RETRIED)

    def _posted(self, body: bytes, headers: Mapping[str, str], deadline_s: float) -> tuple[int, str]:
        target = self._target
        with _connected(target.host, target.port, deadline_s) as connected, _shut_at(connected, deadline_s):
            sock = connected
            if self._tls is not None:
                sock = self._tls.wrap_socket(connected, server_hostname=target.host)
            connection = http.client.HTTPConnection(target.host, target.port)
            connection.sock = sock
            try:
                own = {"User-Agent": "perfctl", "Connection": "close"}
                connection.request("POST", target.path, body, {**headers, **own})
                answer = connection.getresponse()
                # Where it redirects to, without the path: that may be secret.
                place = "/".join(answer.getheader("Location", "").split("/")[:3])
                return answer.status, place
            finally:
                connection.close()
                sock.close()


@contextmanager
def _connected(host: str, port: int, deadline_s: float) -> Iterator[socket.socket]:
    left_s = max(deadline_s - time.monotonic(), 0.001)
    with socket.create_connection((host, port), timeout=left_s) as connected:
        connected.settimeout(max(deadline_s - time.monotonic(), 0.001))
        yield connected


@contextmanager
def _shut_at(connected: socket.socket, deadline_s: float) -> Iterator[None]:
    """Shut the connection at the deadline: a socket's own timeout begins anew with each byte that drips in."""
    duplicate = connected.dup()  # TLS takes the socket's descriptor over

    def shut() -> None:
        try:
            duplicate.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    timer = threading.Timer(max(deadline_s - time.monotonic(), 0.001), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        duplicate.close()


def _words(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return f"{type(problem).__name__}: {problem}"
