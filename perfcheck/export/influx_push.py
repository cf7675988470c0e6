"""Pushes lines to InfluxDB beside measuring: a bounded queue, tried again after pauses, never in measuring's way."""

from __future__ import annotations

import ipaddress
import time
from typing import Final

from perfcheck.live.delivery.channel import PATIENCE, Channel, ChannelReport, Patience
from perfcheck.live.delivery.notice import Notice
from perfcheck.live.delivery.post import Poster
from perfcheck.live.delivery.target import WebhookTarget, server_of
from perfcheck.model.printable import printable

MOST_WAITING: Final = 120
"""Intervals that wait for the server; later ones are dropped, and counted."""
END_S: Final = 5.0
_EXPECTED: Final = "expected a URL such as https://host:8086/api/v2/write?org=O&bucket=B"


def influx_server(url: str) -> WebhookTarget:
    """Parse the URL of a server; ValueError says what was expected."""
    return server_of(url, kind="influx", expected=_EXPECTED)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its address or by the name `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _InfluxSender:
    """One POST an interval; the token is in no message."""

    def __init__(self, server: WebhookTarget, token: str | None) -> None:
        self._server = server
        self._poster = Poster(server)
        self._headers = {"Content-Type": "text/plain; charset=utf-8"}
        if token is not None:
            self._headers["Authorization"] = f"Token {token}"

    @property
    def label(self) -> str:
        return self._server.label

    def send(self, notice: Notice, timeout_s: float) -> None:
        self._poster.post(notice.body.encode(), self._headers, timeout_s)


class InfluxPush:
    """Takes an interval's lines and returns at once."""

    def __init__(
        self, server: WebhookTarget, token: str | None = None, *, most_waiting: int = MOST_WAITING,
        patience: Patience = PATIENCE,
    ) -> None:  # fmt: skip
        """Start the thread."""
        sender = _InfluxSender(server, token)
        self._channel = Channel(sender, most_waiting=most_waiting, patience=patience, what="interval")

    def put(self, number: int, lines: str) -> None:
        """Queue the lines of an interval."""
        self._channel.put(Notice(key=f"number {number}", body=lines, text="", urgent=False))

    def news(self) -> tuple[str, ...]:
        """Return outages and recoveries since the last call."""
        return tuple(printable(text) for text in self._channel.news())

    def close(self, within_s: float = END_S) -> ChannelReport:
        """Let the server have some time for what waits, and return what became of all."""
        self._channel.finish_by(time.monotonic() + within_s)
        return self._channel.report()


def told(report: ChannelReport) -> str:
    """Return what became of all intervals in one line."""
    if not report.undelivered:
        return printable(f"{report.label}: {report.delivered} of {report.put} intervals delivered")
    return printable(
        f"{report.label}: {report.delivered} of {report.put} intervals delivered, {report.undelivered} dropped "
        f"({report.why or 'no time was left'})"
    )
