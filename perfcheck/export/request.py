"""Reads the head of an HTTP request and makes the answer to it; no sockets here."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from perfcheck.export.rendering import Rendered
from perfcheck.version import VERSION

MOST_BYTES: Final = 8192
"""Of a request's head."""
METRICS: Final = "/metrics"
_END: Final = b"\r\n\r\n"
_METHODS: Final = ("GET", "HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request line and those headers that matter here, by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]


class BadRequest(Exception):  # noqa: N818 - a state of the other side
    """What came is not a request that is answered; `status` says why."""

    def __init__(self, status: HTTPStatus) -> None:
        """Keep the status."""
        super().__init__(status.phrase)
        self.status = status


def read_request(received: bytes) -> Request | None:
    """Return the request whose head was received, or None where it is not complete; BadRequest for what is none."""
    head, end, _ = received.partition(_END)
    if len(head) > MOST_BYTES:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    if not end:
        return None
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        before = headers.get(name.lower())
        headers[name.lower()] = value.strip() if before is None else f"{before}, {value.strip()}"
    return Request(method=words[0], path=words[1].partition("?")[0], headers=headers)


def answer(request: Request, current: Callable[[], Rendered | None]) -> bytes:
    """Return the whole answer: the metrics, a short page at `/`, or why there is none."""
    if request.path not in (METRICS, "/"):
        return error(HTTPStatus.NOT_FOUND)
    if request.method not in _METHODS:
        return error(HTTPStatus.METHOD_NOT_ALLOWED, f"Allow: {', '.join(_METHODS)}\r\n")
    rendered = current()
    if request.path == "/":
        return _answer(HTTPStatus.OK, "text/html; charset=utf-8", _PAGE, request.method)
    if rendered is None:
        return error(HTTPStatus.SERVICE_UNAVAILABLE, "Retry-After: 1\r\n")
    body = rendered.body(request.headers.get("accept", ""), request.headers.get("accept-encoding", ""))
    more = "Vary: Accept, Accept-Encoding\r\n" + ("Content-Encoding: gzip\r\n" if body.is_compressed else "")
    return _answer(HTTPStatus.OK, body.content_type, body.content, request.method, more)


def error(status: HTTPStatus, more: str = "") -> bytes:
    """Return an answer that says what is the matter."""
    return _answer(status, "text/plain; charset=utf-8", f"{status.value} {status.phrase}\n".encode(), "GET", more)


def _answer(status: HTTPStatus, content_type: str, content: bytes, method: str, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(content)}\r\n{more}Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if method == "HEAD" else content)


_PAGE: Final = (
    '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><title>perfctl</title>'
    f"<h1>perfctl {html.escape(VERSION)}</h1>"
    f'<p>Figures of this machine\'s network, for Prometheus: <a href="{METRICS}">{METRICS}</a></p></html>\n'
).encode()
